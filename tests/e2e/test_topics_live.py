"""The real program with a local topic: handshake, notification, signature, certificate, claim check, all over real sockets."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from gateway_process import GatewayProcess, Start, until
from sample_gateway import ZONE
from webhook_sink import Call, Sink

ARN = "arn:aws:sns:eu-west-1:123456789012:inbound"
RULES = """\
version: 1
domains: [example.com]
topics:
  inbound: {arn: ARN, signature_version: 2, subscribers: [{url: "SINK"}]}
rule_sets:
  default:
    - name: support
      recipients: [support@example.com]
      actions:
        - disk: {path: mail, object_key_prefix: in/, topic_arn: inbound}
        - sns: {topic_arn: ARN, encoding: Base64}
"""
SETTINGS = "data: STATE\nhttp: {listen: [127.0.0.1:0]}\n"
SIGNED = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
RAW = b"From: a@b.example\r\nTo: support@example.com\r\nSubject: Hello\r\n\r\nGood day.\r\n"


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as reply:
        found: bytes = reply.read()
    return found


def of_kind(sink: Sink, kind: str) -> list[Call]:
    return [call for call in list(sink.calls) if call.headers["x-amz-sns-message-type"] == kind]


def verify(message: dict[str, str]) -> None:
    """As an SDK does: fetch the certificate, check the signature over the canonical text."""
    key = x509.load_pem_x509_certificate(fetched(message["SigningCertURL"])).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    text = "".join(f"{name}\n{message[name]}\n" for name in SIGNED)
    key.verify(base64.b64decode(message["Signature"]), text.encode(), padding.PKCS1v15(), hashes.SHA256())


def started(gateway: Start, sink: Sink, directory: Path) -> GatewayProcess:
    config = directory / "gatepost.yaml"
    config.write_text(SETTINGS.replace("STATE", str(directory / "var")))
    return gateway(rules=RULES.replace("SINK", sink.url).replace("ARN", ARN), dns=ZONE, config=config)


def test_a_subscriber_of_sns_works_unchanged(gateway: Start, sink: Sink, tmp_path: Path) -> None:
    running = started(gateway, sink, tmp_path)
    ready = json.loads(running.ready_file.read_text())
    assert len(ready["http"]) == 1
    assert f"  http {ready['http'][0]}  rules" in running.output

    # Asked at the start, before there is any mail.
    asked = json.loads(until(lambda: of_kind(sink, "SubscriptionConfirmation"), "the handshake")[0].body)
    assert asked["SubscribeURL"].startswith(
        f"http://{ready['http'][0]}/?Action=ConfirmSubscription&TopicArn={ARN}&Token="
    )
    assert b"<SubscriptionArn>" + ARN.encode() in fetched(asked["SubscribeURL"])

    message_id = running.deliver(RAW, rcpt_to=["support@example.com"])
    until(lambda: len(of_kind(sink, "Notification")) == 2, "two notifications")
    running.wait_done(message_id)
    messages = [json.loads(call.body) for call in of_kind(sink, "Notification")]
    for message in messages:
        verify(message)
    actions = {json.loads(message["Message"])["receipt"]["action"]["type"]: message for message in messages}
    assert sorted(actions) == ["S3", "SNS"]
    stored = json.loads(actions["S3"]["Message"])
    assert stored["receipt"]["action"] == {
        "type": "S3",
        "topicArn": ARN,
        "bucketName": "mail",
        "objectKeyPrefix": "in/",
        "objectKey": f"in/{message_id}",
    }
    published = json.loads(actions["SNS"]["Message"])
    assert base64.b64decode(published["content"]).endswith(RAW)


def test_what_is_too_large_is_fetched_through_its_link_even_after_a_restart(
    gateway: Start, sink: Sink, tmp_path: Path
) -> None:
    running = started(gateway, sink, tmp_path)
    asked = json.loads(until(lambda: of_kind(sink, "SubscriptionConfirmation"), "the handshake")[0].body)
    fetched(asked["SubscribeURL"])
    line = b"x" * 70 + b"\r\n"
    message_id = running.deliver(RAW + line * 3000, rcpt_to=["support@example.com"])
    running.wait_done(message_id)
    messages = [json.loads(json.loads(call.body)["Message"]) for call in of_kind(sink, "Notification")]
    (reference,) = [message["contentReference"] for message in messages if "contentReference" in message]
    content = fetched(reference["url"])
    assert (len(content), hashlib.sha256(content).hexdigest()) == (reference["size"], reference["sha256"])
    assert content.endswith(RAW + line * 3000)
    assert running.stop() == 0
    running.start()
    address = json.loads(running.ready_file.read_text())["http"][0]
    path = reference["url"].partition("/messages/")[2]
    assert fetched(f"http://{address}/messages/{path}") == content
    assert len(of_kind(sink, "SubscriptionConfirmation")) == 1, "who has confirmed is not asked again"
