"""The real program with keys: mail is stored encrypted on disk and in S3, rotated while it serves, read back, and shredded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from aws_server import CREDENTIALS, aws_server, without_real_aws
from gateway_process import GatewayProcess, Start

RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - name: keep
      actions:
        - disk: {path: mail, object_key_prefix: "{recipient.local_part}/", kms_key_arn: alias/mail}
        - s3: {bucket_name: sealed-mail, object_key_prefix: "in/{date:%Y}/", kms_key_arn: alias/mail}
"""
MAIL = b"From: Alice <a@b.example>\r\nTo: support@example.com\r\nSubject: Secret\r\n\r\nNobody else may read this.\r\n"


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    without_real_aws(monkeypatch)
    with aws_server() as found:
        s3 = boto3.client("s3", endpoint_url=found, region_name="us-east-1")
        # moto's buckets belong to the process: another file's tests may have made this one.
        if "sealed-mail" not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(Bucket="sealed-mail")
        yield found


@pytest.fixture
def serving(gateway: Start, url: str, tmp_path: Path) -> GatewayProcess:
    settings = tmp_path / "gatepost.yaml"
    settings.write_text(
        f"version: 1\nrelay: {{host: 127.0.0.1, port: 9}}\ns3: {{endpoint: '{url}', setup_notification: true}}\n"
    )
    made = gateway(rules=RULES, config=settings, start=False, variables=dict(CREDENTIALS))
    made.data.mkdir(mode=0o700)
    assert made.cli("keys", "create", "mail").returncode == 0
    return made.start()


def test_mail_is_encrypted_wherever_it_lies_and_read_by_whoever_has_the_key(serving: GatewayProcess, url: str) -> None:
    message_id = serving.deliver(MAIL, rcpt_to=["a@example.com", "b@example.com"])
    serving.wait_done(message_id)
    s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="sealed-mail")["Contents"]]
    assert sorted(key.rpartition("/")[2] for key in keys) == sorted(["AMAZON_SES_SETUP_NOTIFICATION", message_id])
    key = next(each for each in keys if each.endswith(message_id))
    files = [serving.data / "mail" / name / message_id for name in ("a", "b")]
    assert all(b"Nobody else" not in path.read_bytes() for path in files)
    assert b"Nobody else" not in s3.get_object(Bucket="sealed-mail", Key=key)["Body"].read()

    def read(*places: str | Path) -> list[bytes]:
        done = [serving.cli("decrypt", place) for place in places]
        assert [each.returncode for each in done] == [0] * len(done), done
        return [each.stdout for each in done]

    places = [*files, f"s3://sealed-mail/{key}", message_id]
    first = read(*places)
    assert all(plain.endswith(MAIL) for plain in first)
    rotated = serving.cli("keys", "rotate", "mail", serving.data / "mail", "s3://sealed-mail/in/")
    assert rotated.returncode == 0, rotated.stderr
    assert rotated.stdout.count(b"put under the new version") == 2
    assert serving.cli("keys", "shred", "mail", "--version", "1", "--yes").returncode == 0
    assert read(*places) == first
    later = serving.deliver(MAIL, rcpt_to=["a@example.com"])
    serving.wait_done(later)
    assert read(later)[0].endswith(MAIL)
    assert serving.cli("keys", "shred", "mail", "--yes").returncode == 0
    refused = serving.cli("decrypt", message_id)
    assert refused.returncode == 3
    assert b"shredded" in refused.stderr
    assert refused.stdout == b""
