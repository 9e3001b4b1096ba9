"""Gatepost's own form: everything that is known of a message, its text and HTML decoded, its attachments inline or as links.

`docs/schemas/webhook-gatepost.json` describes it; `version` is raised when something in it changes its meaning.
"""

import base64
import hashlib
from typing import Any

from actions.content_links import ContentLinks
from actions.mime_content import Attached, mime_content
from actions.protocol import Context
from actions.ses_payload import compact_json, ses_objects
from mail.octets import whole
from mail.verdict import VERDICTS

VERSION = 1
INLINE_LIMIT = 256 * 1024


def body(context: Context, links: ContentLinks | None) -> tuple[str, bytes]:
    mail, receipt = ses_objects(context, {"type": "Webhook"})
    content = mime_content(whole(context.raw))
    client, reverse_path = context.receipt.client, context.receipt.envelope.reverse_path
    recipients = context.step.recipients
    value = {
        "version": VERSION,
        "id": context.step.key,
        "envelope": {
            "mail_from": None if reverse_path is None else str(reverse_path),
            "rcpt_to": list(context.recipients),
            "client_ip": client.ip,
            "helo": client.helo,
        },
        "verdicts": _verdicts(context),
        "mail": mail,
        "receipt": receipt,
        "text": content.text,
        "html": content.html,
        "label": recipients[0].label if recipients else None,
        "attachments": [_attachment(context, links, *each) for each in enumerate(content.attachments)],
    }
    return "application/json", compact_json(value)


def _verdicts(context: Context) -> dict[str, Any]:
    seen = context.receipt.verdicts.as_seen(scanned=context.step.scanned)
    return {
        method: {
            "status": seen.status(method).value,
            "results": [
                {"result": each.result, "reason": each.reason, "properties": dict(each.properties)}
                for each in seen.results(method)
            ],
        }
        for method in VERDICTS
    }


def _attachment(context: Context, links: ContentLinks | None, number: int, part: Attached) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": part.name or None,
        "content_type": part.type,
        "size": len(part.content),
        "sha256": hashlib.sha256(part.content).hexdigest(),
        "content_id": part.content_id or None,
    }
    limit = int(context.parameters.get("inline_limit", INLINE_LIMIT))
    if links is not None and len(part.content) > limit:
        return {**described, "url": links.attachment(context.receipt.message_id, number, context.now)}
    return {**described, "inline": base64.b64encode(part.content).decode("ascii")}
