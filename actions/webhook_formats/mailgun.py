"""Mailgun's route with forward(): the parsed message as a form (Mailgun: Receiving Messages via HTTP; Securing Webhooks).

A form with files is multipart/form-data, one without is application/x-www-form-urlencoded. The action's `secret` takes the place of
Mailgun's signing key: `signature` is the hex HMAC-SHA256 of timestamp and token; without a secret the three fields are left out.
"""

import hashlib
import hmac
import json
from urllib.parse import urlencode

from actions.content_links import ContentLinks
from actions.mime_content import MimeContent, mime_content
from actions.protocol import Context
from actions.webhook_formats.form_data import FormFile, form_data
from actions.webhook_formats.reply_text import reply_text
from mail.octets import whole
from mail.words import decode_words

_TOKEN_CHARACTERS = 50


def body(context: Context, links: ContentLinks | None) -> tuple[str, bytes]:  # noqa: ARG001
    content = mime_content(whole(context.raw))
    fields = _fields(context, content)
    if not content.attachments:
        return "application/x-www-form-urlencoded", urlencode(fields, errors="replace").encode("ascii")
    files = [
        FormFile(
            field=f"attachment-{number}",
            name=part.name or f"attachment-{number}",
            type=part.type,
            content=part.content,
        )
        for number, part in enumerate(content.attachments, 1)
    ]
    return form_data(context.step.key, fields, files)


def _fields(context: Context, content: MimeContent) -> list[tuple[str, str]]:
    headers = [(field.name, decode_words(field.text)) for field in context.header.fields if field.name]
    plain = content.text or ""
    reply, signature = reply_text(plain)
    fields = [
        ("recipient", ",".join(context.recipients)),
        ("sender", str(context.receipt.envelope.reverse_path or "")),
        ("subject", decode_words(context.header.text("Subject") or "")),
        ("from", decode_words(context.header.text("From") or "")),
        ("message-headers", json.dumps([list(header) for header in headers], ensure_ascii=False)),
        ("body-plain", plain),
        ("stripped-text", reply),
        ("stripped-signature", signature),
    ]
    if content.html is not None:
        fields += [("body-html", content.html), ("stripped-html", content.html)]
    if content.attachments:
        numbered = enumerate(content.attachments, 1)
        named = {f"<{part.content_id}>": f"attachment-{n}" for n, part in numbered if part.content_id}
        fields += [("attachment-count", str(len(content.attachments)))]
        fields += [("content-id-map", json.dumps(named, ensure_ascii=False))] if named else []
    known = {name for name, _ in fields}
    # Each header field is a field of the form too; one of ours keeps its meaning.
    fields += [(name, text) for name, text in headers if name not in known and name not in _SIGNED]
    return fields + _signature(context)


_SIGNED = ("timestamp", "token", "signature")


def _signature(context: Context) -> list[tuple[str, str]]:
    secret = context.parameters.get("secret")
    if not secret:
        return []
    timestamp = str(int(context.now.timestamp()))
    # A receiver may keep tokens to know a replay by: a repeated attempt is none, so each has its own.
    token = hashlib.sha256(f"{context.step.key} {context.attempt} {timestamp}".encode()).hexdigest()[:_TOKEN_CHARACTERS]
    mac = hmac.new(str(secret).encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    return list(zip(_SIGNED, (timestamp, token, mac), strict=True))
