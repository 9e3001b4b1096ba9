"""Typed readers of SES's events refuse a wrong type or a word of their own: their types, over every sample and what strangers send.

The types are those of aws-lambda-go (`events.SimpleEmailEvent`: a list is a list, `processingTimeMillis` a whole number, times are
RFC 3339) and of DefinitelyTyped's `SESEvent` (closed sets of words); no key is unknown to them, no value null.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from mail.address import parse_mailbox
from mail.client import Client
from mail.crlf import wire_bytes
from mail.envelope import Envelope, Recipient
from mail.headers import parse_header
from mail.receipt import Receipt
from mail.ses_json import lambda_event, notification, ses_mail, ses_receipt
from mail.verdict import AuthResult, Verdicts

SAMPLES = sorted((Path(__file__).parents[2] / "samples/messages").glob("*.eml"))
RFC3339_MILLIS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
Id = Annotated[str, msgspec.Meta(pattern="^[0-9a-v]{39}1$")]


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    pass


class Verdict(Strict):
    status: Literal["PASS", "FAIL", "GRAY", "PROCESSING_FAILED", "DISABLED"]


class Header(Strict):
    name: str
    value: str


class CommonHeaders(Strict, omit_defaults=True):
    return_path: str
    from_: list[str] = msgspec.field(name="from", default_factory=list)
    sender: str | msgspec.UnsetType = msgspec.UNSET
    reply_to: list[str] = []
    date: str | msgspec.UnsetType = msgspec.UNSET
    to: list[str] = []
    cc: list[str] = []
    bcc: list[str] = []
    message_id: str | msgspec.UnsetType = msgspec.UNSET
    subject: str | msgspec.UnsetType = msgspec.UNSET


class Mail(Strict):
    timestamp: str
    source: str
    message_id: Id
    destination: list[str]
    headers_truncated: bool
    headers: list[Header]
    common_headers: CommonHeaders


class Action(Strict):
    type: Literal["Lambda", "S3"]
    function_arn: str | msgspec.UnsetType = msgspec.UNSET
    invocation_type: Literal["Event", "RequestResponse"] | msgspec.UnsetType = msgspec.UNSET
    topic_arn: str | msgspec.UnsetType = msgspec.UNSET
    bucket_name: str | msgspec.UnsetType = msgspec.UNSET
    object_key_prefix: str | msgspec.UnsetType = msgspec.UNSET
    object_key: str | msgspec.UnsetType = msgspec.UNSET


class SesReceipt(Strict):
    timestamp: str
    processing_time_millis: Annotated[int, msgspec.Meta(gt=0)]
    recipients: list[str]
    spam_verdict: Verdict
    virus_verdict: Verdict
    spf_verdict: Verdict
    dkim_verdict: Verdict
    dmarc_verdict: Verdict
    action: Action
    dmarc_policy: Literal["none", "quarantine", "reject"] | msgspec.UnsetType = msgspec.UNSET


class Ses(Strict):
    mail: Mail
    receipt: SesReceipt


class Record(Strict):
    event_source: Literal["aws:ses"]
    event_version: Literal["1.0"]
    ses: Ses


class Event(msgspec.Struct, forbid_unknown_fields=True):
    Records: Annotated[list[Record], msgspec.Meta(min_length=1, max_length=1)]


class Notification(Strict):
    notification_type: Literal["Received"]
    mail: Mail
    receipt: SesReceipt
    content: str | msgspec.UnsetType = msgspec.UNSET


HOSTILE = {
    "nothing": b"\r\n",
    "empty fields": b"From:\r\nTo:\r\nCc: ,;\r\nSender:\r\nReply-To:\r\nDate:\r\nMessage-ID:\r\nSubject:\r\n\r\n",
    "every field twice": b"From: a@b.c\r\nTo: x@y.z\r\nSubject: 1\r\nDate: 2\r\n" * 2 + b"\r\n",
    "octets": b"From: \xff\xfe <a@\xff>\r\nSubject: \x00\x1b[2J\xed\xa0\x80\r\nTo: \xf0\x9f\x93\xa7@example.com\r\n\r\n",
    "half a surrogate": b"Subject: =?utf-16?q?=D8=00?=\r\nFrom: =?utf-8?b?7aCA?= <a@b.c>\r\n\r\n",
    "groups": b"To: undisclosed-recipients:;\r\nFrom: A: a@b.c, d@e.f;\r\nBcc: x@y.z\r\n\r\n",
    "no field": b"this is no header section\r\n\r\n",
    "much": b"X-Long: " + b"y" * 12_000 + b"\r\n\r\n",
}


def receipt_of(header: bytes, dmarc: str, policy: str | None, sender: str) -> Receipt:
    recipient = Recipient(mailbox=parse_mailbox("bob@example.com"))
    reverse_path = parse_mailbox(sender) if sender else None
    return Receipt(
        message_id="s08vnjngg8o82cpus2084722eiate3c6ig885f01",
        received_at=datetime.fromisoformat("2026-01-13T21:02:45+00:00"),
        client=Client(ip="192.0.2.9"),
        envelope=Envelope(reverse_path=reverse_path, recipients=(recipient,)),
        size=10,
        digest="d",
        header=header,
        verdicts=Verdicts(
            spf=AuthResult(method="spf", result="temperror"),
            dkim=(),
            dmarc=AuthResult(method="dmarc", result=dmarc),
            arc=AuthResult(method="arc", result="none"),
            dmarc_policy=policy,
        ),
    )


def objects(header: bytes, action: dict[str, str], dmarc: str, policy: str | None, sender: str) -> tuple[Any, Any]:
    receipt = receipt_of(header, dmarc, policy, sender)
    seen = parse_header(f"Return-Path: <{sender}>\r\n".encode() + header)
    told = ses_receipt(receipt, recipients=("bob@example.com",), scanned=False, action=action, processing_millis=1)
    return ses_mail(receipt, seen), told


HEADERS = [
    *(
        pytest.param(wire_bytes(path.read_bytes())[0].partition(b"\r\n\r\n")[0] + b"\r\n\r\n", id=path.stem)
        for path in SAMPLES
    ),
    *(pytest.param(header, id=name) for name, header in HOSTILE.items()),
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(
    ("dmarc", "policy", "sender"),
    [("fail", "none", "a@b.example"), ("pass", "reject", ""), ("permerror", None, "ö@b.example")],
)
def test_typed_readers_take_every_event(header: bytes, dmarc: str, policy: str | None, sender: str) -> None:
    function = {
        "type": "Lambda",
        "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:f",
        "invocationType": "Event",
    }
    stored = {"type": "S3", "topicArn": "arn:t", "bucketName": "b", "objectKeyPrefix": "", "objectKey": "k"}
    event = json.dumps(lambda_event(*objects(header, function, dmarc, policy, sender))).encode()
    record = msgspec.json.decode(event, type=Event).Records[0]
    assert RFC3339_MILLIS.match(record.ses.mail.timestamp)
    assert record.ses.receipt.timestamp == record.ses.mail.timestamp
    assert (record.ses.receipt.dmarc_policy is msgspec.UNSET) == (dmarc != "fail")
    told = json.dumps(notification(*objects(header, stored, dmarc, policy, sender), "content")).encode()
    assert msgspec.json.decode(told, type=Notification).mail.source == sender
