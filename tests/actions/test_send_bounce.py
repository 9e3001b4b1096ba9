"""SendBounce: SES's request and words, the DSN that comes of it, and who never gets one (SES: SendBounce; semantics.md §3)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from typing import Any

import pytest
from acting import ID, NOW, RAW, receipt_of, verdicts

from actions.bounce_request import TEMPLATES, Refused, bounce_request
from actions.protocol import Parked
from actions.send_bounce import BounceSending, Original
from mail.address import Mailbox
from mail.delivery import DeliveryStatus
from mail.errors import Temporary

INFO = {"Recipient": "support@example.com", "BounceType": "DoesNotExist"}
FIELDS = {"Action": "failed", "Status": "5.1.1"}
ASKED: dict[str, Any] = {
    "OriginalMessageId": ID,
    "BounceSender": "mailer-daemon@example.com",
    "BouncedRecipientInfoList": [INFO],
}


class Sink:
    def __init__(self, action: str = "relayed") -> None:
        self.action = action
        self.given: list[tuple[Mailbox | None, Mailbox, bytes]] = []

    async def send(self, mail_from: Mailbox | None, rcpt_to: Mailbox, raw: bytes) -> DeliveryStatus:
        self.given.append((mail_from, rcpt_to, raw))
        return DeliveryStatus(
            recipient=str(rcpt_to), action=self.action, status="2.0.0", diagnostic="as told", attempted_at=NOW
        )


def original(raw: bytes = RAW, refused: bool = False, **rest: Any) -> Original:
    receipt = receipt_of(raw, **rest)
    return Original(
        receipt=receipt, header=b"Return-Path: <alice@sender.example>\r\n" + receipt.header, refused=refused
    )


async def sent(
    relay: Sink | None,
    about: Original | None = None,
    *,
    asked: dict[str, Any] | None = None,
    now: datetime = NOW,
    **more: Any,
) -> str:
    sending = BounceSending(
        relay=relay,
        hostname="mx.example.com",
        region="eu-west-1",
        organizational_domain=lambda domain: ".".join(domain.split(".")[-2:]),
        is_ours=lambda domain: domain == "example.com",
        entropy=lambda: "e",
        **more,
    )
    return await sending.send(bounce_request({**ASKED, **(asked or {})}), about or original(), now)


def groups(raw: bytes) -> list[dict[str, str]]:
    part = message_from_bytes(raw).get_payload()[1]
    return [dict(group.items()) for group in part.get_payload()]


async def test_the_sender_gets_a_dsn_and_the_caller_its_id() -> None:
    relay = Sink()
    identifier = await sent(relay)
    ((mail_from, to, raw),) = relay.given
    assert (mail_from, str(to)) == (None, "alice@sender.example")
    message = message_from_bytes(raw)
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-000000", identifier)
    assert message["Message-ID"] == f"<{identifier}@mx.example.com>"
    assert message["From"] == "mailer-daemon@example.com"
    assert groups(raw)[:2] == [
        {"Reporting-MTA": "dns; mx.example.com", "Arrival-Date": "Tue, 13 Jan 26 21:02:45 UTC"},
        {
            "Action": "failed",
            "Final-Recipient": "rfc822; support@example.com",
            "Original-Recipient": "rfc822; support@example.com",
            "Diagnostic-Code": "smtp; 550 5.1.1 Mailbox does not exist",
            "Status": "5.1.1",
        },
    ]
    text, _, header = message.get_payload()
    assert (
        text.get_payload() == "This message could not be delivered.\r\nsupport@example.com: Mailbox does not exist\r\n"
    )
    assert header.get_payload().startswith("Return-Path: <alice@sender.example>\r\nFrom: Alice")


@pytest.mark.parametrize("kind", TEMPLATES)
async def test_each_bounce_type_is_one_of_ses_s_templates(kind: str) -> None:
    relay = Sink()
    await sent(relay, asked={"BouncedRecipientInfoList": [{**INFO, "BounceType": kind}]})
    code, status, text = TEMPLATES[kind]
    group = groups(relay.given[0][2])[1]
    assert (group["Status"], group["Diagnostic-Code"]) == (status, f"smtp; {code} {status} {text}")


async def test_every_field_of_the_request_stands_in_the_dsn() -> None:
    relay = Sink()
    when = datetime(2026, 1, 13, 22, 0, 0, tzinfo=UTC)
    extension = [{"Name": "X-Case", "Value": "42"}]
    fields = {
        "FinalRecipient": "inner@example.com",
        "Action": "delayed",
        "RemoteMta": "dns; mail.example.com",
        "Status": "4.2.2",
        "DiagnosticCode": "smtp; 452 4.2.2 full",
        "LastAttemptDate": when + timedelta(hours=1),
        "ExtensionFields": extension,
    }
    info = {"Recipient": "Support@EXAMPLE.com", "RecipientArn": "arn:aws:ses:x", "RecipientDsnFields": fields}
    asked = {
        "Explanation": "Grüße\nfrom us",
        "BounceSenderArn": "arn:aws:ses:x",
        "MessageDsn": {
            "ReportingMta": "dns; inbound-smtp.eu-west-1.amazonaws.com",
            "ArrivalDate": "2026-01-13T23:00:00+01:00",
            "ExtensionFields": extension,
        },
        "BouncedRecipientInfoList": [info],
    }
    await sent(relay, asked=asked)
    raw = relay.given[0][2]
    assert groups(raw)[:2] == [
        {
            "Reporting-MTA": "dns; inbound-smtp.eu-west-1.amazonaws.com",
            "Arrival-Date": "Tue, 13 Jan 26 22:00:00 UTC",
            "X-Case": "42",
        },
        {
            "Action": "delayed",
            "Final-Recipient": "rfc822; inner@example.com",
            "Original-Recipient": "rfc822; Support@EXAMPLE.com",
            "Diagnostic-Code": "smtp; 452 4.2.2 full",
            "Status": "4.2.2",
            "Remote-MTA": "dns; mail.example.com",
            "Last-Attempt-Date": "Tue, 13 Jan 26 23:00:00 UTC",
            "X-Case": "42",
        },
    ]
    text = message_from_bytes(raw).get_payload()[0]
    assert text.get_payload(decode=True).decode() == "Grüße\r\nfrom us\r\n"


DAY = timedelta(hours=24)


@pytest.mark.parametrize(
    ("about", "more", "why"),
    [
        (original(), {"now": NOW + DAY + timedelta(seconds=1)}, "more than 24 hours ago"),
        (original(), {"asked": {"BounceSender": "x@mallory.example"}}, "Email address is not verified."),
        (
            original(),
            {"asked": {"BouncedRecipientInfoList": [{**INFO, "Recipient": "other@example.com"}]}},
            "Not a recipient of the original message: other@example.com",
        ),
        (original(reverse_path=None), {"always": True}, "the reverse-path is null"),
        (original(refused=True), {"always": True}, "told in the SMTP session"),
        (original(judged=verdicts(spf="fail", dmarc="fail", from_domain=None)), {}, "nothing vouches for"),
        (original(b"Auto-Submitted: auto-replied\r\n" + RAW), {}, "no person sent the message"),
    ],
)
async def test_it_never_becomes_a_way_to_mail_strangers(about: Original, more: dict[str, Any], why: str) -> None:
    relay = Sink()
    with pytest.raises(Refused, match=re.escape(why)) as refused:
        await sent(relay, about, **more)
    assert refused.value.code == "MessageRejected"
    assert relay.given == []


async def test_what_is_not_here_is_rejected() -> None:
    sending = BounceSending(
        relay=Sink(), hostname="h", region="r", organizational_domain=str, is_ours=bool, entropy=str
    )
    with pytest.raises(Refused, match="could not be found"):
        await sending.send(bounce_request(ASKED), None, NOW)


async def test_exactly_a_day_is_in_time_and_always_is_ses() -> None:
    relay = Sink()
    strange = original(judged=verdicts(spf="fail", dmarc="fail", from_domain=None))
    await sent(relay, strange, now=NOW + DAY, always=True)
    assert len(relay.given) == 1


async def test_the_relay_decides_what_is_answered() -> None:
    with pytest.raises(Parked, match=r"relay\.host"):
        await sent(None)
    with pytest.raises(Temporary):
        await sent(Sink("delayed"))
    with pytest.raises(Refused, match="could not be delivered"):
        await sent(Sink("failed"))


MUST = "failed to satisfy constraint: Member must"


@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        (
            {"OriginalMessageId": None},
            "ValidationError",
            f"1 validation error detected: Value at 'originalMessageId' {MUST} not be null",
        ),
        (
            {"BounceSender": None, "BouncedRecipientInfoList": None},
            "ValidationError",
            f"2 validation errors detected: Value at 'bounceSender' {MUST} not be null; "
            f"Value at 'bouncedRecipientInfoList' {MUST} not be null",
        ),
        (
            {"BouncedRecipientInfoList": [{**INFO, "BounceType": "doesNotExist"}]},
            "ValidationError",
            "1 validation error detected: Value 'doesNotExist' at 'bouncedRecipientInfoList.1.member.bounceType' "
            f"{MUST} satisfy enum value set: [DoesNotExist, MessageTooLarge, ExceededQuota, ContentRejected, Undefined, "
            "TemporaryFailure]",
        ),
        (
            {"BouncedRecipientInfoList": [{"Recipient": "a@example.com", "RecipientDsnFields": {"Status": "5.0.0"}}]},
            "ValidationError",
            "1 validation error detected: Value at 'bouncedRecipientInfoList.1.member.recipientDsnFields.action' "
            f"{MUST} not be null",
        ),
        (
            {"MessageDsn": {}},
            "ValidationError",
            f"1 validation error detected: Value at 'messageDsn.reportingMta' {MUST} not be null",
        ),
        ({"BouncedRecipientInfoList": []}, "InvalidParameterValue", "BouncedRecipientInfoList must not be empty"),
        (
            {"BounceSender": "a@b\r\nBcc: c@d"},
            "InvalidParameterValue",
            "Invalid email address: a@b0x000d0x000aBcc: c@d",
        ),
        (
            {"BouncedRecipientInfoList": [{"Recipient": "a@example.com"}]},
            "InvalidParameterValue",
            "Exactly one of BounceType and RecipientDsnFields must be specified for each recipient",
        ),
        (
            {"BouncedRecipientInfoList": [{**INFO, "RecipientDsnFields": FIELDS}]},
            "InvalidParameterValue",
            "Exactly one of BounceType and RecipientDsnFields must be specified for each recipient",
        ),
        ({"BouncedRecipientInfoList": 7}, "MalformedInput", None),
        ({"MessageDsn": {"ReportingMta": "mx.example.com"}}, "InvalidParameterValue", None),
        ({"MessageDsn": {"ReportingMta": "dns; a\r\nX: y"}}, "InvalidParameterValue", None),
    ],
)
def test_a_request_that_ses_refuses_is_refused_in_its_words(
    asked: dict[str, Any], code: str, message: str | None
) -> None:
    with pytest.raises(Refused) as refused:
        bounce_request({**ASKED, **asked})
    assert refused.value.code == code
    assert message is None or str(refused.value) == message


@pytest.mark.parametrize(
    "fields",
    [
        {"FinalRecipient": "a b"},
        {"Status": "511"},
        {"Status": "5.1.1\r\nX: y"},
        {"DiagnosticCode": "smtp; 550\r\n\r\nContent-Type: text/html"},
        {"DiagnosticCode": "é"},
        {"RemoteMta": "dns; a\nX: y"},
        {"ExtensionFields": [{"Name": "X y", "Value": "v"}]},
        {"ExtensionFields": [{"Name": "X" * 51, "Value": "v"}]},
        {"ExtensionFields": [{"Name": "X-Y", "Value": "v\r\nBcc: all@example.com"}]},
        {"ExtensionFields": [{"Name": "X-Y", "Value": "v" * 2049}]},
    ],
)
def test_nothing_of_a_request_writes_fields_of_its_own(fields: dict[str, Any]) -> None:
    info = {"Recipient": "support@example.com", "RecipientDsnFields": {**FIELDS, **fields}}
    with pytest.raises(Refused) as refused:
        bounce_request({**ASKED, "BouncedRecipientInfoList": [info]})
    assert refused.value.code == "InvalidParameterValue"
    assert not set("\r\n") & set(str(refused.value))
