"""SES's JSON for a received message: the `mail` and `receipt` objects, the SNS notification and the Lambda event.

*Standards.* SES: contents of notifications for email receiving, with the captured forms where the documentation differs
(`headersTruncated` is a boolean, `processingTimeMillis` a number, `objectKey` the full key, `dmarcPolicy` only on FAIL).
*Trust.* Header text is hostile; it is unfolded and decoded, never interpreted. Key order is SES's.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mail.address_list import parse_address_list
from mail.headers import Field, HeaderView
from mail.receipt import Receipt
from mail.verdict import Status, Verdicts
from mail.words import decode_outside_quotes, decode_words

HEADERS_OCTETS = 10 * 1024  # SES: headers beyond 10 KB are left out and headersTruncated is true
NOTIFICATION_SUBJECT = "Amazon SES Email Receipt Notification"

_SIGNATURE_TAG = re.compile(r"(^|;)(\s*(?:b|bh|h)\s*=)([^;]*)")


def timestamp(when: datetime) -> str:
    """`2026-01-13T21:02:45.441Z`; `when` is UTC."""
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"


def ses_mail(receipt: Receipt, header: HeaderView) -> dict[str, Any]:
    """The `mail` object. `header` is the view of the message as the rule sees it, our own fields on top."""
    fields, truncated = _within_limit(header)
    reverse_path = receipt.envelope.reverse_path
    return {
        "timestamp": timestamp(receipt.received_at),
        "source": str(reverse_path or ""),
        "messageId": receipt.message_id,
        "destination": [
            named.address
            for name in ("To", "Cc")
            for field in header.all(name)
            for named in parse_address_list(field.text)
        ],
        "headersTruncated": truncated,
        "headers": [{"name": field.name, "value": _value(field)} for field in fields if field.name],
        "commonHeaders": _common_headers(header),
    }


def _within_limit(header: HeaderView) -> tuple[list[Field], bool]:
    kept: list[Field] = []
    octets = 0
    for field in header.fields:
        octets += len(field.raw)
        if octets > HEADERS_OCTETS:
            return kept, True
        kept.append(field)
    return kept, False


def _value(field: Field) -> str:
    if field.name.lower() == "dkim-signature":
        return _SIGNATURE_TAG.sub(lambda tag: tag[1] + tag[2] + "".join(tag[3].split()), field.text)
    return decode_outside_quotes(field.text)


def _common_headers(header: HeaderView) -> dict[str, Any]:
    common: dict[str, Any] = {}
    return_path = header.text("Return-Path")
    if return_path is not None:
        common["returnPath"] = return_path.removeprefix("<").removesuffix(">")
    _put_addresses(common, "from", header, "From")
    sender = header.text("Sender")
    if sender is not None:
        # SES writes one bare address here, unlike everywhere else.
        common["sender"] = next((named.address for named in parse_address_list(sender)), "")
    _put_addresses(common, "replyTo", header, "Reply-To")
    _put_text(common, "date", header, "Date")
    for key, name in (("to", "To"), ("cc", "Cc"), ("bcc", "Bcc")):
        _put_addresses(common, key, header, name)
    _put_text(common, "messageId", header, "Message-ID")
    subject = header.text("Subject")
    if subject is not None:
        common["subject"] = decode_words(subject)
    return common


def _put_addresses(common: dict[str, Any], key: str, header: HeaderView, name: str) -> None:
    fields = header.all(name)
    if fields:
        common[key] = [str(named) for field in fields for named in parse_address_list(field.text)]


def _put_text(common: dict[str, Any], key: str, header: HeaderView, name: str) -> None:
    text = header.text(name)
    if text is not None:
        common[key] = text


def ses_receipt(
    receipt: Receipt, *, recipients: tuple[str, ...], scanned: bool, action: Mapping[str, Any], processing_millis: int
) -> dict[str, Any]:
    """The `receipt` object of one action; `recipients` are those that its rule took."""
    verdicts = receipt.verdicts.as_seen(scanned=scanned)
    result: dict[str, Any] = {
        "timestamp": timestamp(receipt.received_at),
        "processingTimeMillis": processing_millis,
        "recipients": list(recipients),
    }
    result.update(ses_verdicts(verdicts))
    if verdicts.status("dmarc") is Status.FAIL and verdicts.dmarc_policy is not None:
        result["dmarcPolicy"] = verdicts.dmarc_policy
    result["action"] = dict(action)
    return result


def ses_verdicts(verdicts: Verdicts) -> dict[str, dict[str, str]]:
    """The five verdict objects; ARC has none in SES's form."""
    return {
        f"{name}Verdict": {"status": verdicts.status(name).value} for name in ("spam", "virus", "spf", "dkim", "dmarc")
    }


def notification(mail: Mapping[str, Any], receipt: Mapping[str, Any], content: str | None = None) -> dict[str, Any]:
    """What SES publishes to a topic; `content` only from an SNS action."""
    body: dict[str, Any] = {"notificationType": "Received", "mail": mail, "receipt": receipt}
    if content is not None:
        body["content"] = content
    return body


def lambda_event(mail: Mapping[str, Any], receipt: Mapping[str, Any]) -> dict[str, Any]:
    """What SES hands to a Lambda function: exactly one record, without content."""
    return {"Records": [{"eventSource": "aws:ses", "eventVersion": "1.0", "ses": {"mail": mail, "receipt": receipt}}]}
