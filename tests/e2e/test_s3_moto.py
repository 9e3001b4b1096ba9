"""s3 against a server that speaks S3, KMS and STS: what is stored, how it is read back, and what each refusal means."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_server import CREDENTIALS, aws_server, without_real_aws
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actions.envelope_encryption import unseal_object
from actions.protocol import Parked
from actions.s3 import S3
from actions.setup_notification import write_setup_notifications
from gatepost.settings import Settings
from gatepost.storage import Storage, storage_of
from mail.errors import Permanent, Temporary
from mail.outcome import Result
from rules.load import load_text

sys.path.append(str(Path(__file__).parents[1] / "actions"))
from acting import ID, NOW, RAW, context_of

INTEROP = str(Path(__file__).parents[2] / ".cache/interop/bin/python")
CONTENT = b"X-Ours: yes\r\n" + RAW
REGION = "eu-west-1"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with aws_server() as found:
        yield found


@pytest.fixture
def client(url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    without_real_aws(monkeypatch)

    def make(service: str) -> Any:
        return boto3.client(service, endpoint_url=url, region_name=REGION)

    s3 = make("s3")
    if "mail" not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket="mail", CreateBucketConfiguration={"LocationConstraint": REGION})
        kms = make("kms")
        kms.create_alias(AliasName="alias/mail", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    return make


@pytest.fixture
async def storage(client: Any, url: str, tmp_path: Path) -> AsyncIterator[Storage]:
    made = storage_of(settings(url, tmp_path))
    yield made
    await made.clients.close()


def settings(url: str, data: Path, **more: Any) -> Settings:
    return Settings(
        data=data,
        aws_endpoint=url,
        aws_region=REGION,
        s3_addressing="path",
        keys_provider="aws",
        aws_account_id="123456789012",
        **more,
    )


def s3_of(storage: Storage, **rest: Any) -> S3:
    return S3(storage.buckets, storage.encryption, **rest)


async def test_object_is_what_disk_stores_under_the_key_of_ses(storage: Storage, client: Any) -> None:
    parameters = {"bucket_name": "mail", "object_key_prefix": "emails", "metadata": {"spam": "{spam}"}}
    outcome = await s3_of(storage).run(context_of("s3", parameters))
    assert (outcome.result, outcome.detail) == (Result.DONE, f"stored as s3://mail/emails/{ID}")
    assert outcome.data == {"object_key": f"emails/{ID}", "object_key_prefix": "emails", "bucket": "mail"}
    found = client("s3").get_object(Bucket="mail", Key=f"emails/{ID}")
    assert found["Body"].read() == CONTENT
    assert found["Metadata"] == {"spam": "DISABLED"}


async def test_large_message_goes_up_in_parts(storage: Storage, client: Any) -> None:
    raw = RAW + b"x" * (20 << 20)
    await s3_of(storage).run(context_of("s3", {"bucket_name": "mail", "object_key_prefix": "big"}, raw=raw))
    found = client("s3").get_object(Bucket="mail", Key=f"big/{ID}")
    assert found["Body"].read() == b"X-Ours: yes\r\n" + raw
    assert found["ETag"].strip('"').endswith("-3")


async def test_message_beyond_the_limit_is_given_up(storage: Storage) -> None:
    with pytest.raises(Permanent, match=r"s3\.size_limit"):
        await s3_of(storage, size_limit=100).run(context_of("s3", {"bucket_name": "mail"}))


@pytest.mark.parametrize("wrapping", ["kms", "kms+context"])
async def test_object_opens_with_the_documented_metadata_and_nothing_of_ours(
    client: Any, url: str, tmp_path: Path, wrapping: str
) -> None:
    storage = storage_of(settings(url, tmp_path, keys_wrapping=wrapping))
    parameters = {"bucket_name": "mail", "object_key_prefix": wrapping, "kms_key_arn": "alias/mail"}
    await s3_of(storage).run(context_of("s3", parameters))
    found = client("s3").get_object(Bucket="mail", Key=f"{wrapping}/{ID}")
    metadata = found["Metadata"]
    # From here on as a decryptor of SES's objects is written from AWS's documentation.
    context = json.loads(metadata["x-amz-matdesc"])
    key = client("kms").decrypt(CiphertextBlob=base64.b64decode(metadata["x-amz-key-v2"]), EncryptionContext=context)[
        "Plaintext"
    ]
    body = found["Body"].read()
    assert AESGCM(key).decrypt(base64.b64decode(metadata["x-amz-iv"]), body, None) == CONTENT
    assert {name: context[name] for name in sorted(context) if name.startswith("aws:ses:") or name == "kms_cmk_id"} == {
        "aws:ses:message-id": ID,
        "aws:ses:rule-name": "support",
        "aws:ses:source-account": "123456789012",
        "kms_cmk_id": "alias/mail",
    }
    assert metadata["x-amz-wrap-alg"] == wrapping
    assert await unseal_object(body, metadata, storage.keys) == CONTENT
    await storage.clients.close()


async def test_kms_refuses_a_changed_context(storage: Storage, client: Any) -> None:
    sealed = await storage.encryption.seal(CONTENT, key="alias/mail", message_id=ID, rule="a")
    metadata = {**sealed.metadata, "x-amz-matdesc": sealed.metadata["x-amz-matdesc"].replace("alias/mail", "alias/b")}
    with pytest.raises(Permanent, match="InvalidCiphertext"):
        await unseal_object(sealed.body, metadata, storage.keys)


@pytest.mark.parametrize(
    ("parameters", "error", "said"),
    [
        ({"bucket_name": "nobody"}, Temporary, "NoSuchBucket"),
        ({"bucket_name": "mail", "kms_key_arn": "alias/nobody"}, Temporary, "NotFoundException"),
        ({"bucket_name": "Not a bucket"}, Permanent, "Invalid bucket name"),
        ({"bucket_name": "mail", "object_key_prefix": "x" * 1024}, Permanent, "1024"),
    ],
)
async def test_refusals_say_whether_trying_again_can_help(
    storage: Storage, parameters: dict[str, str], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        await s3_of(storage).run(context_of("s3", parameters))


async def test_a_store_that_is_not_there_is_tried_again(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storage_of(settings("http://127.0.0.1:1", tmp_path))
    with pytest.raises(Temporary, match="connect"):
        await s3_of(storage).run(context_of("s3", {"bucket_name": "mail"}))
    await storage.clients.close()


async def test_missing_credentials_wait_for_the_operator_and_are_found_then(
    url: str, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    storage = storage_of(settings(url, tmp_path))
    with pytest.raises(Parked, match="s3: no AWS credentials are found; set AWS_ACCESS_KEY_ID"):
        await s3_of(storage).run(context_of("s3", {"bucket_name": "mail"}))
    shared = tmp_path / "credentials"
    shared.write_text("[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    assert (await s3_of(storage).run(context_of("s3", {"bucket_name": "mail"}))).result is Result.DONE
    await storage.clients.close()


async def test_role_is_taken_before_writing(storage: Storage, client: Any) -> None:
    role = "arn:aws:iam::123456789012:role/mail-writer"
    parameters = {"bucket_name": "mail", "object_key_prefix": "role", "iam_role_arn": role}
    await s3_of(storage).run(context_of("s3", parameters))
    made = storage.clients._clients["s3", role, ""]
    credentials = made._request_signer._credentials.get_frozen_credentials()
    assert credentials.access_key != CREDENTIALS["AWS_ACCESS_KEY_ID"]
    assert credentials.token
    assert client("s3").get_object(Bucket="mail", Key=f"role/{ID}")["Body"].read() == CONTENT


async def test_roles_may_be_left_out(client: Any, url: str, tmp_path: Path) -> None:
    storage = storage_of(settings(url, tmp_path, aws_assume_roles=False))
    await s3_of(storage).run(context_of("s3", {"bucket_name": "mail", "iam_role_arn": "arn:aws:iam::1:role/x"}))
    assert list(storage.clients._clients) == [("s3", "", "")]
    await storage.clients.close()


async def test_the_variable_of_the_sdk_is_nearer_than_our_setting_for_every_service(
    client: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    storage = storage_of(settings("http://127.0.0.1:1", tmp_path))
    await s3_of(storage).run(context_of("s3", {"bucket_name": "mail", "object_key_prefix": "variable"}))
    assert client("s3").get_object(Bucket="mail", Key=f"variable/{ID}")["Body"].read() == CONTENT
    await storage.clients.close()


async def test_setup_notification_stands_under_each_prefix(storage: Storage, client: Any) -> None:
    text = """
rule_sets:
  default:
    - name: a
      actions:
        - s3: {bucket_name: mail, object_key_prefix: setup}
        - s3: {bucket_name: mail, object_key_prefix: "by-date/{date:%Y}/"}
        - s3: {bucket_name: nobody}
    - {name: off, enabled: false, actions: [{s3: {bucket_name: mail, object_key_prefix: "off"}}]}
"""
    book = load_text(text.encode(), "rules.yaml", Path()).book
    assert book is not None
    assert await write_setup_notifications(book, storage.buckets, NOW) == 2
    s3 = client("s3")
    for prefix in ("setup", "by-date"):
        body = s3.get_object(Bucket="mail", Key=f"{prefix}/AMAZON_SES_SETUP_NOTIFICATION")["Body"].read()
        assert b"\r\nSubject: Amazon SES Setup Notification\r\n\r\n" in body
        assert body.endswith(b".\n")
        assert body.count(b"\n") == body.count(b"\r\n") + 1
    assert "Contents" not in s3.list_objects_v2(Bucket="mail", Prefix="off")


async def test_metadata_is_replaced_only_on_the_body_that_it_belongs_to(storage: Storage, client: Any) -> None:
    s3 = client("s3")
    s3.put_object(Bucket="mail", Key="raced", Body=b"body", Metadata={"a": "1"})
    metadata, tag = await storage.buckets.head("mail", "raced")
    assert metadata == {"a": "1"}
    sent: list[dict[str, Any]] = []
    # moto does not look at the condition, so what is proved is that S3 gets it.
    events = storage.clients._client(("s3", "", "")).meta.events
    events.register("provide-client-params.s3.CopyObject", lambda params, **_: sent.append(params))
    await storage.buckets.replace_metadata("mail", "raced", {"a": "2"}, tag)
    assert [each["CopySourceIfMatch"] for each in sent] == [tag]
    found = s3.get_object(Bucket="mail", Key="raced")
    assert (found["Body"].read(), found["Metadata"]) == (b"body", {"a": "2"})


# Run by the interpreter of `make interop`: the client pins an older cryptography than ours.
OFFICIAL = """
import sys, boto3
from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
from s3_encryption.materials.kms_keyring import KmsKeyring
url, bucket, key, wrapping = sys.argv[1:5]
make = lambda service: boto3.client(service, endpoint_url=url, region_name="eu-west-1")
legacy = wrapping == "kms"
keyring = KmsKeyring(make("kms"), "alias/mail", enable_legacy_wrapping_algorithms=legacy)
from s3_encryption import CommitmentPolicy
config = S3EncryptionClientConfig(keyring, commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)
client = S3EncryptionClient(make("s3"), config)
context = {"aws:ses:message-id": sys.argv[5], "aws:ses:rule-name": "support", "aws:ses:source-account": "123456789012"}
more = {} if legacy else {"EncryptionContext": context}
sys.stdout.buffer.write(client.get_object(Bucket=bucket, Key=key, **more)["Body"].read())
"""


@pytest.mark.engine("s3-encryption-client")
@pytest.mark.parametrize("wrapping", ["kms", "kms+context"])
async def test_the_official_client_reads_what_we_wrote(client: Any, url: str, tmp_path: Path, wrapping: str) -> None:
    storage = storage_of(settings(url, tmp_path, keys_wrapping=wrapping))
    parameters = {"bucket_name": "mail", "object_key_prefix": f"o-{wrapping}", "kms_key_arn": "alias/mail"}
    await s3_of(storage).run(context_of("s3", parameters))
    await storage.clients.close()
    command = [INTEROP, "-c", OFFICIAL, url, "mail", f"o-{wrapping}/{ID}", wrapping, ID]
    read = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False, timeout=60)
    assert read.stdout == CONTENT, read.stderr.decode()
