"""The fields above the message, exactly as SES writes them (SES: headers of a received message)."""

import base64
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.address import parse_mailbox
from mail.client import Client
from mail.envelope import Envelope, Recipient
from mail.headers import parse_header
from mail.receipt import Receipt
from mail.trace_fields import prepended_fields, receipt_token, received_spf_text
from mail.values import changed
from mail.verdict import AuthResult, ScanResult, Status, Verdicts, switched_off

ID = "s08vnjngg8o82cpus2084722eiate3c6ig885f01"
NONE = AuthResult(method="dmarc", result="none")


def receipt(
    spf="pass", sender="alice@sender.example", to=("bob@example.com",), helo="mx.sender.example", scan=Status.PASS
):
    reverse_path = parse_mailbox(sender) if sender else None
    identity = {"smtp.mailfrom": sender} if sender else {"smtp.helo": helo}
    return Receipt(
        message_id=ID,
        received_at=datetime(2022, 1, 3, 21, 2, 45, 441000, tzinfo=UTC),
        client=Client(ip="192.0.2.9", helo=helo, name="mx.sender.example"),
        envelope=Envelope(
            reverse_path=reverse_path, recipients=tuple(Recipient(mailbox=parse_mailbox(one)) for one in to)
        ),
        size=10,
        digest="d",
        verdicts=Verdicts(
            spf=AuthResult(method="spf", result=spf, properties=identity),
            dkim=(),
            dmarc=NONE,
            arc=NONE,
            spam=ScanResult(status=scan),
            virus=ScanResult(status=scan),
        ),
    )


def fields(subject, scanned=True, added=()):
    return prepended_fields(
        subject,
        hostname="mx.example.com",
        authentication_results=b"Authentication-Results: x\r\n",
        scanned=scanned,
        added=added,
    )


def test_the_whole_block_is_ses_s():
    token = receipt_token(receipt())
    assert fields(receipt(), added=(("X-Team", "support"),)).decode() == (
        "Return-Path: <alice@sender.example>\r\n"
        "Received: from mx.sender.example (mx.sender.example [192.0.2.9])\r\n"
        f" by mx.example.com with SMTP id {ID}\r\n"
        " for bob@example.com;\r\n"
        " Mon, 03 Jan 2022 21:02:45 +0000 (UTC)\r\n"
        "X-SES-Spam-Verdict: PASS\r\n"
        "X-SES-Virus-Verdict: PASS\r\n"
        "Received-SPF: pass (spfCheck: domain of sender.example designates 192.0.2.9 as permitted sender)"
        " client-ip=192.0.2.9; envelope-from=alice@sender.example; helo=mx.sender.example;\r\n"
        "Authentication-Results: x\r\n"
        f"X-SES-RECEIPT: {token}\r\n"
        "X-Team: support\r\n"
    )


def test_a_rule_without_scan_shows_no_scan_fields():
    assert b"-Verdict" not in fields(receipt(), scanned=False)
    assert b"-Verdict" not in fields(receipt(scan=Status.DISABLED))


def test_without_spf_there_is_no_received_spf():
    subject = receipt()
    subject = changed(subject, verdicts=changed(subject.verdicts, spf=switched_off("spf")))
    assert b"Received-SPF" in fields(receipt())
    assert b"Received-SPF" not in fields(subject)


def test_several_recipients_are_not_shown_to_each_other():
    block = fields(receipt(to=("bob@example.com", "carol@example.com"))).decode()
    assert "bob@" not in block
    assert f" by mx.example.com with SMTP id {ID};\r\n Mon" in block


def test_the_null_sender_is_an_empty_path():
    block = fields(receipt(sender=None, spf="none"))
    assert block.startswith(b"Return-Path: <>\r\n")
    assert b"envelope-from=<>;" in block


SPF_TEXT = {
    "pass": "domain of sender.example designates 192.0.2.9 as permitted sender",
    "fail": "domain of sender.example does not designate 192.0.2.9 as permitted sender",
    "softfail": "transitioning domain of sender.example does not designate 192.0.2.9 as permitted sender",
    "neutral": "192.0.2.9 is neither permitted nor denied by domain of sender.example",
    "none": "192.0.2.9 is neither permitted nor denied by domain of sender.example",
    "permerror": "Error in processing SPF Record",
    "temperror": "Error in retrieving data from DNS",
}


@pytest.mark.parametrize(("result", "text"), SPF_TEXT.items())
def test_spf_speaks_jspf_s_sentences(result, text):
    assert received_spf_text(receipt(spf=result)).startswith(f"{result} (spfCheck: {text}) client-ip=")


def test_the_receipt_token_has_ses_s_shape():
    token = receipt_token(receipt())
    assert token.startswith("AEFBQUFBQUFBQUF")
    outer = base64.b64decode(token)
    assert outer[0] == 0
    assert len(base64.b64decode(outer[1:])) == 250


HOSTILE = st.text(alphabet='ab.;()"\\ \r\n\0=@[]é<>', max_size=40)


@given(HOSTILE, st.sampled_from(['"a;b"@x.example', '"a) dkim=pass"@x.example', "a@x.example"]))
def test_hostile_helo_and_local_parts_end_no_field_and_no_comment(helo, sender):
    block = fields(receipt(helo=helo, sender=sender))
    view = parse_header(block + b"\r\n")
    assert [field.name for field in view.fields] == [
        "Return-Path",
        "Received",
        "X-SES-Spam-Verdict",
        "X-SES-Virus-Verdict",
        "Received-SPF",
        "Authentication-Results",
        "X-SES-RECEIPT",
    ]
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "Q", view.text("Received-SPF"))
    assert re.fullmatch(r"pass \(spfCheck: [^()]*\) client-ip=\S+; envelope-from=\S+; helo=\S+;", bare)
    assert view.text("Received").startswith("from ")
