"""Postmark's inbound webhook: one JSON object (Postmark: Inbound webhook). Attachments are always inline, as Postmark's are."""

import base64
import uuid
from typing import Any

from actions.content_links import ContentLinks
from actions.mime_content import Attached, mime_content
from actions.protocol import Context
from actions.ses_payload import compact_json
from actions.webhook_formats.reply_text import reply_text
from mail.address_list import NamedAddress, parse_address_list
from mail.octets import whole
from mail.words import decode_words

_IDS = uuid.UUID("5b5a4f0e-0d37-5c55-9f77-3f5f1a5c7f55")  # ours: names are keys of steps
_KNOWN = frozenset({"from", "to", "cc", "bcc", "subject", "date", "reply-to", "content-type", "mime-version"})


def body(context: Context, links: ContentLinks | None) -> tuple[str, bytes]:  # noqa: ARG001
    content = mime_content(whole(context.raw))
    authors = _addresses(context, "From")
    author = authors[0] if authors else _full("", "")
    recipients = context.step.recipients
    value: dict[str, Any] = {
        "FromName": author["Name"],
        "MessageStream": "inbound",
        "From": author["Email"],
        "FromFull": author,
        **_lists(context),
        "OriginalRecipient": context.recipients[0] if recipients else "",
        "Subject": _text(context, "Subject"),
        "MessageID": str(uuid.uuid5(_IDS, context.step.key)),
        "ReplyTo": _text(context, "Reply-To"),
        "MailboxHash": (recipients[0].label or "") if recipients else "",
        "Date": _text(context, "Date"),
        "TextBody": content.text or "",
        "HtmlBody": content.html or "",
        "StrippedTextReply": _reply(context, content.text or ""),
        "Tag": "",
        "Headers": [
            {"Name": field.name, "Value": decode_words(field.text)}
            for field in context.header.fields
            if field.name and field.name.lower() not in _KNOWN
        ],
        "Attachments": [_attachment(number, part) for number, part in enumerate(content.attachments, 1)],
    }
    return "application/json", compact_json(value)


def _lists(context: Context) -> dict[str, Any]:
    lists: dict[str, Any] = {}
    for name in ("To", "Cc", "Bcc"):
        lists[name] = _text(context, name)
        lists[f"{name}Full"] = _addresses(context, name)
    return lists


def _addresses(context: Context, name: str) -> list[dict[str, str]]:
    return [_named(address) for field in context.header.all(name) for address in parse_address_list(field.text)]


def _named(address: NamedAddress) -> dict[str, str]:
    return _full(address.address, address.display)


def _full(email: str, name: str) -> dict[str, str]:
    """`MailboxHash` is the label of `user+label@`."""
    base, plus, label = email.rpartition("@")[0].partition("+")
    return {"Email": email, "Name": name, "MailboxHash": label if base and plus else ""}


def _text(context: Context, name: str) -> str:
    return decode_words(context.header.text(name) or "")


def _reply(context: Context, text: str) -> str:
    """Only a reply has one."""
    is_reply = context.header.first("In-Reply-To") is not None or context.header.first("References") is not None
    return reply_text(text)[0] if is_reply else ""


def _attachment(number: int, part: Attached) -> dict[str, Any]:
    return {
        "Name": part.name or f"attachment-{number}",
        "Content": base64.b64encode(part.content).decode("ascii"),
        "ContentType": part.type,
        "ContentLength": len(part.content),
        "ContentID": part.content_id,
    }
