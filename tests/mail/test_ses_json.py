"""SES's JSON, with the captured forms where the documentation differs."""

import json
from datetime import UTC, datetime

from mail.address import parse_mailbox
from mail.client import Client
from mail.envelope import Envelope, Recipient
from mail.headers import parse_header
from mail.receipt import Receipt, decode_receipt, encode_receipt
from mail.ses_json import lambda_event, notification, ses_mail, ses_receipt
from mail.verdict import AuthResult, Verdicts

ID = "s08vnjngg8o82cpus2084722eiate3c6ig885f01"
HEADER = (
    b"Return-Path: <alice@sender.example>\r\n"
    b"From: =?utf-8?Q?Alice_=C3=84?= <alice@sender.example>\r\n"
    b'To: bob@example.com,\r\n\t"Doe, John" <john@example.com>\r\n'
    b"Cc: Carol <carol@example.com>\r\n"
    b"Sender: Desk <desk@sender.example>\r\n"
    b"Reply-To: list@sender.example\r\n"
    b"Subject: =?utf-8?Q?Caf=C3=A9?=\r\n"
    b"Date: Tue, 13 Jan 2026 21:02:43 +0000\r\n"
    b"Message-ID: <abc@sender.example>\r\n"
    b"DKIM-Signature: v=1; b=aa\r\n\tbb; bh=cc dd; h=From:\r\n To; d=x y\r\n"
    b"X-Twice: 1\r\nX-Twice: 2\r\n\r\n"
)


def receipt(dmarc="fail", policy="reject", sender="alice@sender.example"):
    return Receipt(
        message_id=ID,
        received_at=datetime(2026, 1, 13, 21, 2, 45, 441999, tzinfo=UTC),
        client=Client(ip="192.0.2.9"),
        envelope=Envelope(
            reverse_path=parse_mailbox(sender) if sender else None,
            recipients=(Recipient(mailbox=parse_mailbox("bob@example.com")),),
        ),
        size=10,
        digest="d",
        header=HEADER,
        verdicts=Verdicts(
            spf=AuthResult(method="spf", result="pass"),
            dkim=(),
            dmarc=AuthResult(method="dmarc", result=dmarc),
            arc=AuthResult(method="arc", result="none"),
            dmarc_policy=policy,
        ),
    )


def test_the_mail_object_is_ses_s_key_by_key():
    mail = ses_mail(receipt(), parse_header(HEADER))
    assert list(mail) == [
        "timestamp",
        "source",
        "messageId",
        "destination",
        "headersTruncated",
        "headers",
        "commonHeaders",
    ]
    assert mail["timestamp"] == "2026-01-13T21:02:45.441Z"
    assert mail["source"] == "alice@sender.example"
    assert mail["destination"] == ["bob@example.com", "john@example.com", "carol@example.com"]
    assert mail["headersTruncated"] is False
    assert mail["commonHeaders"] == {
        "returnPath": "alice@sender.example",
        "from": ["Alice Ä <alice@sender.example>"],
        "sender": "desk@sender.example",
        "replyTo": ["list@sender.example"],
        "date": "Tue, 13 Jan 2026 21:02:43 +0000",
        "to": ["bob@example.com", '"Doe, John" <john@example.com>'],
        "cc": ["Carol <carol@example.com>"],
        "messageId": "<abc@sender.example>",
        "subject": "Café",
    }
    assert list(mail["commonHeaders"]) == [
        "returnPath",
        "from",
        "sender",
        "replyTo",
        "date",
        "to",
        "cc",
        "messageId",
        "subject",
    ]


def test_headers_keep_order_and_duplicates_and_are_unfolded():
    headers = ses_mail(receipt(), parse_header(HEADER))["headers"]
    assert [header["name"] for header in headers][-2:] == ["X-Twice", "X-Twice"]
    values = {header["name"]: header["value"] for header in headers}
    assert values["To"] == 'bob@example.com, "Doe, John" <john@example.com>'
    assert values["Subject"] == "Café"
    assert values["DKIM-Signature"] == "v=1; b=aabb; bh=ccdd; h=From:To; d=x y"


def test_headers_beyond_ten_kilobytes_are_left_out():
    mail = ses_mail(receipt(), parse_header(HEADER + b"")) | {}
    assert mail["headersTruncated"] is False
    huge = HEADER[:-2] + b"X-Filler: " + b"x" * 10_000 + b"\r\nLast: 1\r\n\r\n"
    mail = ses_mail(receipt(), parse_header(huge))
    assert mail["headersTruncated"] is True
    assert "X-Filler" not in [header["name"] for header in mail["headers"]]
    assert mail["commonHeaders"]["subject"] == "Café"


def test_the_null_sender_is_an_empty_source():
    header = parse_header(b"Return-Path: <>\r\n\r\n")
    mail = ses_mail(receipt(sender=None), header)
    assert mail["source"] == ""
    assert mail["commonHeaders"] == {"returnPath": ""}


def test_the_receipt_object_carries_the_policy_only_on_a_fail():
    action = {"type": "SNS", "topicArn": "t", "encoding": "UTF8"}
    made = ses_receipt(receipt(), recipients=("bob@example.com",), scanned=False, action=action, processing_millis=12)
    assert made == {
        "timestamp": "2026-01-13T21:02:45.441Z",
        "processingTimeMillis": 12,
        "recipients": ["bob@example.com"],
        "spamVerdict": {"status": "DISABLED"},
        "virusVerdict": {"status": "DISABLED"},
        "spfVerdict": {"status": "PASS"},
        "dkimVerdict": {"status": "GRAY"},
        "dmarcVerdict": {"status": "FAIL"},
        "dmarcPolicy": "reject",
        "action": action,
    }
    passed = ses_receipt(receipt(dmarc="pass"), recipients=(), scanned=False, action=action, processing_millis=1)
    assert "dmarcPolicy" not in passed


def test_a_notification_and_a_lambda_event_differ_as_ses_s_do():
    assert list(notification({}, {}, "x")) == ["notificationType", "mail", "receipt", "content"]
    assert "content" not in notification({}, {})
    (record,) = lambda_event({"a": 1}, {"b": 2})["Records"]
    assert record == {"eventSource": "aws:ses", "eventVersion": "1.0", "ses": {"mail": {"a": 1}, "receipt": {"b": 2}}}


def test_everything_is_json():
    json.dumps(ses_mail(receipt(), parse_header(HEADER)))


def test_a_receipt_survives_storage_in_its_three_parts():
    whole = receipt()
    assert decode_receipt(encode_receipt(whole), whole.header, whole.evidence.answers) == whole
    assert b"alice@sender.example>" not in encode_receipt(whole)
