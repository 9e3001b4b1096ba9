"""The bounce message in SES's layout (SES: bounce action, captured messages)."""

import email
import re
from dataclasses import replace
from datetime import UTC, datetime

from mail.crlf import has_bare_newline
from mail.delivery import DeliveryStatus
from mail.dsn import Notice, compose_dsn, status_fields

WHEN = datetime(2015, 10, 1, 13, 48, 54, tzinfo=UTC)
STATUS = DeliveryStatus(
    recipient="rcpt@example.jp",
    action="failed",
    status="5.1.1",
    diagnostic="550 5.1.1 Mailbox does not exist",
    attempted_at=WHEN,
)
NOTICE = Notice(
    key="id/0/rule/0",
    hostname="mx.example.com",
    sender="mailer-daemon@example.com",
    to="alice@sender.example",
    arrived_at=WHEN,
    now=WHEN,
    groups=(status_fields(STATUS),),
    header=b"Return-Path: <alice@sender.example>\r\nSubject: hi\r\n\r\n",
)


def test_the_dsn_is_ses_s_part_by_part():
    text = compose_dsn(NOTICE).decode()
    boundary = re.search(r'boundary="([^"]+)"', text)[1]
    assert re.fullmatch(r"----=_Part_\w+_\w+\.\w+", boundary)
    text = re.sub(r"<[0-9a-f]{16}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-000000@", "<ID@", text)
    assert text.replace(boundary, "B") == (
        "Date: Thu, 01 Oct 2015 13:48:54 +0000\r\n"
        "From: mailer-daemon@example.com\r\n"
        "To: alice@sender.example\r\n"
        "Message-ID: <ID@mx.example.com>\r\n"
        "Subject: Delivery Status Notification (Failure)\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; \r\n\tboundary="B"; report-type=delivery-status\r\n'
        "\r\n"
        "--B\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        "Content-Description: Notification\r\n"
        "\r\n"
        "This message could not be delivered.\r\n"
        "\r\n"
        "--B\r\n"
        "Content-Type: message/delivery-status\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        "Content-Description: Delivery Status Notification\r\n"
        "\r\n"
        "Reporting-MTA: dns; mx.example.com\r\n"
        "Arrival-Date: Thu, 01 Oct 15 13:48:54 UTC\r\n"
        "\r\n"
        "Action: failed\r\n"
        "Final-Recipient: rfc822; rcpt@example.jp\r\n"
        "Original-Recipient: rfc822; rcpt@example.jp\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 Mailbox does not exist\r\n"
        "Status: 5.1.1\r\n"
        "\r\n"
        "\r\n"
        "--B\r\n"
        "Content-Type: text/rfc822-headers\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        "Content-Description: Undelivered Message\r\n"
        "\r\n"
        "Return-Path: <alice@sender.example>\r\n"
        "Subject: hi\r\n"
        "\r\n"
        "--B--\r\n"
    )


def test_a_mail_program_reads_every_group():
    two = replace(NOTICE, groups=(*NOTICE.groups, status_fields(replace(STATUS, recipient="other@example.jp"))))
    message = email.message_from_bytes(compose_dsn(two))
    assert message.get_content_type() == "multipart/report"
    groups = message.get_payload()[1].get_payload()
    assert [group["Final-Recipient"] for group in groups if group["Final-Recipient"]] == [
        "rfc822; rcpt@example.jp",
        "rfc822; other@example.jp",
    ]


def test_the_same_key_gives_the_same_bytes():
    assert compose_dsn(NOTICE) == compose_dsn(NOTICE)
    assert compose_dsn(NOTICE) != compose_dsn(replace(NOTICE, key="id/0/rule/1"))


def test_eight_bit_header_text_is_declared():
    made = compose_dsn(replace(NOTICE, header="Subject: é\r\n\r\n".encode()))
    assert b"Content-Transfer-Encoding: 8bit" in made
    assert not has_bare_newline(made)


def test_a_text_that_is_not_short_ascii_lines_is_encoded_and_read_back():
    for text in ("Grüße", "x" * 999, "a\x00b"):
        made = compose_dsn(replace(NOTICE, text=text))
        part = email.message_from_bytes(made).get_payload()[0]
        assert part.get_payload(decode=True).decode() == f"{text}\r\n"
        assert max(map(len, made.split(b"\r\n"))) <= 998


def test_no_text_can_hold_the_boundary():
    boundary = re.search(rb'boundary="([^"]+)"', compose_dsn(NOTICE))[1].decode()
    forged = compose_dsn(replace(NOTICE, text=f"--{boundary}--\nContent-Type: text/html"))
    assert len(email.message_from_bytes(forged).get_payload()) == 3
