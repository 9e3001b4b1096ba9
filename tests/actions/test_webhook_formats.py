"""Each form of a webhook: as the golden files have it, readable by whoever reads the real thing, safe from strangers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from acting import ID, NOW, RECIPIENT, context_of, receipt_of
from hypothesis import given, settings
from hypothesis import strategies as st
from json_schema import violations

from actions.content_links import ContentLinks
from actions.protocol import Context
from actions.webhook_formats import FORMATS
from actions.webhook_formats.form_data import FormFile, form_data
from actions.webhook_formats.reply_text import reply_text
from mail.address import parse_mailbox
from rules.schema_actions import WEBHOOK_FORMATS

ROOT = Path(__file__).parent.parent.parent
CASES = ROOT / "tests" / "cases" / "webhook_formats"
LINKS = ContentLinks(base="https://mx.example.com", secret=lambda: b"secret of the tests")
NAMES = sorted(path.stem for path in CASES.glob("*.eml"))


def context(raw: bytes, **parameters: Any) -> Context:
    recipients = (parse_mailbox("support+vip@example.com"), RECIPIENT)
    received = receipt_of(raw, recipients=recipients)
    prepended = b"Return-Path: <alice@sender.example>\r\n"
    given_ = {"secret": "key", "inline_limit": 100, **parameters}
    return context_of("webhook", given_, raw=raw, receipt=received, prepended=prepended)


def made(name: str, form: str, **parameters: Any) -> tuple[str, bytes]:
    return FORMATS[form](context((CASES / f"{name}.eml").read_bytes(), **parameters), LINKS)


def form_of(content_type: str, body: bytes) -> tuple[dict[str, str], dict[str, tuple[str | None, str, bytes]]]:
    """Fields and files of a form, read by the standard library's parser."""
    if content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)), {}
    message = BytesParser(policy=policy.HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields, files = {}, {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if not isinstance(content, bytes):  # an attached message, which the parser has taken apart
            content = part.get_content().as_bytes()
        if part.get_filename() is None:
            fields[str(name)] = content.decode()
        else:
            files[str(name)] = (part.get_filename(), part.get_content_type(), content)
    return fields, files


def test_the_rules_and_the_table_have_the_same_words() -> None:
    assert sorted(WEBHOOK_FORMATS) == sorted(FORMATS)


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize("name", NAMES)
def test_a_form_is_as_its_golden_file_has_it(name: str, form: str) -> None:
    content_type, body = made(name, form)
    found = content_type.encode() + b"\n\n" + body
    path = CASES / f"{name}.{form}.body"
    if os.environ.get("WRITE_GOLDEN"):
        path.write_bytes(found)
    assert found == path.read_bytes()


@pytest.mark.parametrize("form", ["gatepost", "ses", "postmark"])
@pytest.mark.parametrize("name", NAMES)
def test_json_is_as_its_schema_says(name: str, form: str) -> None:
    schema = json.loads((ROOT / "docs" / "schemas" / f"webhook-{form}.json").read_text())
    assert violations(schema, json.loads(made(name, form)[1])) == []


@pytest.mark.parametrize("form", ["sendgrid", "mailgun"])
@pytest.mark.parametrize("name", NAMES)
def test_a_form_is_as_its_schema_says(name: str, form: str) -> None:
    """The schema is of the fields as an object; what is JSON in a field stays text."""
    schema = json.loads((ROOT / "docs" / "schemas" / f"webhook-{form}.json").read_text())
    fields, _ = form_of(*made(name, form))
    assert violations(schema, fields) == []


def test_gatepost_has_text_html_and_attachments_decoded() -> None:
    value = json.loads(made("rich", "gatepost")[1])
    assert value["version"] == 1
    assert value["id"] == f"{ID}/0/support/0"
    assert value["label"] == "vip"
    assert value["text"].startswith("Grüße!\n")
    assert value["html"] == '<p>Grüße! <img src="cid:logo@sender.example"></p>'
    assert value["envelope"]["rcpt_to"] == ["support+vip@example.com", "support@example.com"]
    logo, bill = value["attachments"]
    assert (logo["name"], logo["content_type"], logo["content_id"]) == ("logo.png", "image/png", "logo@sender.example")
    content = base64.b64decode(logo["inline"])
    assert (len(content), hashlib.sha256(content).hexdigest()) == (logo["size"], logo["sha256"])
    assert (bill["name"], bill["size"]) == ("Rechnung €.pdf", 309)
    assert "inline" not in bill
    assert bill["url"].startswith(f"https://mx.example.com/attachments/{ID}/1?expires=")


def test_without_a_listener_everything_is_inline() -> None:
    raw = (CASES / "rich.eml").read_bytes()
    value = json.loads(FORMATS["gatepost"](context(raw), None)[1])
    assert ["inline" in each for each in value["attachments"]] == [True, True]


def test_an_attached_message_is_one_attachment_and_lends_its_text_to_nobody() -> None:
    value = json.loads(made("odd", "gatepost", inline_limit=10_000)[1])
    assert value["text"] == "café \xff".encode("latin-1").decode("latin-1").replace("é", "Ã©")
    assert value["attachments"][0]["content_type"] == "message/rfc822"
    inner = base64.b64decode(value["attachments"][0]["inline"])
    assert inner.startswith(b"From: inner@sender.example\r\n")
    assert b"inner attachment" in inner
    assert "inner" not in value["text"]
    assert len(value["attachments"]) == 3


def test_sendgrid_form_is_what_its_parsers_expect() -> None:
    fields, files = form_of(*made("rich", "sendgrid"))
    assert set(fields) >= {
        *("headers", "dkim", "content-ids", "to", "from", "html", "text", "sender_ip", "envelope"),
        *("attachments", "subject", "attachment-info", "charsets", "SPF"),
    }
    assert json.loads(fields["envelope"]) == {
        "to": ["support+vip@example.com", "support@example.com"],
        "from": "alice@sender.example",
    }
    assert fields["attachments"] == "2"
    assert fields["subject"] == "Rätsel"
    assert fields["from"] == "Jürgen <jurgen@sender.example>"
    assert fields["SPF"] == "pass"
    assert fields["sender_ip"] == "192.0.2.9"
    assert json.loads(fields["content-ids"]) == {"logo@sender.example": "attachment1"}
    assert json.loads(fields["attachment-info"])["attachment2"]["filename"] == "Rechnung €.pdf"
    assert fields["headers"].startswith("Return-Path: <alice@sender.example>\nFrom: ")
    assert sorted(files) == ["attachment1", "attachment2"]
    assert files["attachment2"][1:] == ("application/pdf", b"%PDF-1.4 " + b"0123456789" * 30)


def test_mailgun_form_is_signed_with_the_secret() -> None:
    fields, files = form_of(*made("rich", "mailgun"))
    assert len(fields["token"]) == 50
    assert fields["timestamp"] == str(int(NOW.timestamp()) + 1)
    expected = hmac.new(b"key", (fields["timestamp"] + fields["token"]).encode(), hashlib.sha256).hexdigest()
    assert fields["signature"] == expected
    assert fields["recipient"] == "support+vip@example.com,support@example.com"
    assert fields["stripped-text"] == "Grüße!"
    assert fields["attachment-count"] == "2"
    assert json.loads(fields["content-id-map"]) == {"<logo@sender.example>": "attachment-1"}
    assert ["Subject", "Rätsel"] in json.loads(fields["message-headers"])
    assert fields["Message-ID"] == "<2@sender.example>"
    assert sorted(files) == ["attachment-1", "attachment-2"]


def test_mailgun_without_files_is_a_plain_form() -> None:
    content_type, body = made("plain", "mailgun")
    assert content_type == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(body.decode()))["body-plain"] == "Good day.\n"


def test_mail_cannot_bring_its_own_signature() -> None:
    fields = form_of(*made("odd", "mailgun"))[0]
    assert fields["timestamp"] != "1"
    assert fields["signature"] != "forged"
    unsigned = form_of(*made("odd", "mailgun", secret=None))[0]
    assert not {"timestamp", "token", "signature"} & set(unsigned)


def test_postmark_json_is_what_its_readers_expect() -> None:
    value = json.loads(made("rich", "postmark")[1])
    assert value["FromFull"] == {"Email": "jurgen@sender.example", "Name": "Jürgen", "MailboxHash": ""}
    assert value["ToFull"][0] == {
        "Email": "support+vip@example.com",
        "Name": "Support, First",
        "MailboxHash": "vip",
    }
    assert (value["OriginalRecipient"], value["MailboxHash"]) == ("support+vip@example.com", "vip")
    assert value["StrippedTextReply"] == "Grüße!"
    assert {"Name": "Message-ID", "Value": "<2@sender.example>"} in value["Headers"]
    assert value["Attachments"][0]["ContentID"] == "logo@sender.example"
    assert base64.b64decode(value["Attachments"][1]["Content"]).startswith(b"%PDF")


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_the_same_attempt_is_the_same_bytes(form: str) -> None:
    assert made("rich", form) == made("rich", form)


def test_a_file_name_writes_no_header_and_leaves_no_directory() -> None:
    for form in ("sendgrid", "mailgun"):
        _, files = form_of(*made("odd", form))
        names = [name for name, _, _ in files.values()]
        assert not [name for name in names if name is None or "/" in name or "\n" in name or "\r" in name]


@given(
    st.lists(st.tuples(st.text(), st.text()), max_size=4),
    st.lists(st.tuples(st.text(), st.text(), st.just("text/plain"), st.binary()), max_size=3),
)
@settings(max_examples=200)
def test_whatever_strangers_put_in_a_form_stays_in_its_part(
    fields: list[tuple[str, str]], files: list[tuple[str, str, str, bytes]]
) -> None:
    made_files = [FormFile(field=f, name=n, type=t, content=c) for f, n, t, c in files]
    content_type, body = form_data("key", fields, made_files)
    boundary = content_type.partition("boundary=")[2].encode()
    parts = body.split(b"--" + boundary)
    assert len(parts) == len(fields) + len(files) + 2
    heads = [part.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:] for part in parts[1:-1]]
    assert [len(head) for head in heads] == [1] * len(fields) + [2] * len(files)
    assert [part.split(b"\r\n\r\n", 1)[1][:-2] for part in parts[1 + len(fields) : -1]] == [c for *_, c in files]


def test_a_boundary_that_somebody_guessed_is_not_used() -> None:
    guessed = form_data("key", [], [])[0].partition("boundary=")[2]
    content_type, body = form_data("key", [("text", f"--{guessed}--")], [])
    assert content_type.partition("boundary=")[2] != guessed
    assert form_of(content_type, body)[0] == {"text": f"--{guessed}--"}


@pytest.mark.parametrize("form", sorted(FORMATS))
@given(raw=st.binary(max_size=300))
@settings(max_examples=60)
def test_no_bytes_stop_a_form(form: str, raw: bytes) -> None:
    body = FORMATS[form](context(raw), LINKS)[1]
    assert isinstance(body, bytes)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("hi\n\nOn Mon, Bob wrote:\n> q\nmore", ("hi", "")),
        ("> q\nanswer\n-- \nAlice\nSales", ("answer", "Alice\nSales")),
        ("hi\n-----Original Message-----\nFrom: x", ("hi", "")),
        ("", ("", "")),
        ("On " + "x" * 100_000 + " wrote", ("On " + "x" * 100_000 + " wrote", "")),
    ],
)
def test_a_reply_is_what_was_written_above_the_quote(text: str, reply: tuple[str, str]) -> None:
    assert reply_text(text) == reply
