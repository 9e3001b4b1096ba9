"""SendGrid's Inbound Parse: multipart/form-data with the fields of its parsed form (SendGrid: Inbound Email Parse Webhook).

Left out: `spam_report`, `spam_score` where no engine scored; `cc` is there where the message has the field, as in practice.
"""

import json

from actions.content_links import ContentLinks
from actions.mime_content import Attached, MimeContent, mime_content
from actions.protocol import Context
from actions.webhook_formats.form_data import FormFile, form_data
from mail.octets import whole
from mail.verdict import Status, Verdicts
from mail.words import decode_words


def body(context: Context, links: ContentLinks | None) -> tuple[str, bytes]:  # noqa: ARG001
    content = mime_content(whole(context.raw))
    files = [_file(number, part) for number, part in enumerate(content.attachments, 1)]
    return form_data(context.step.key, _fields(context, content), files)


def _file(number: int, part: Attached) -> FormFile:
    return FormFile(
        field=f"attachment{number}", name=part.name or f"attachment{number}", type=part.type, content=part.content
    )


def _fields(context: Context, content: MimeContent) -> list[tuple[str, str]]:
    receipt, header = context.receipt, context.header
    verdicts = receipt.verdicts.as_seen(scanned=context.step.scanned)
    reverse_path = receipt.envelope.reverse_path
    envelope = {"to": list(context.recipients), "from": str(reverse_path or "")}
    fields = [
        ("headers", _header_text(context)),
        *((("dkim", _dkim(verdicts)),) if verdicts.status("dkim") is not Status.DISABLED else ()),
        (
            "content-ids",
            _json({part.content_id: f"attachment{n}" for n, part in _numbered(content) if part.content_id}),
        ),
        *((name, _decoded(context, name)) for name in ("to", "cc") if header.first(name) is not None),
        ("from", _decoded(context, "from")),
        *((name, text) for name, text in (("text", content.text), ("html", content.html)) if text is not None),
        ("sender_ip", receipt.client.ip or ""),
        ("envelope", _json(envelope)),
        ("attachments", str(len(content.attachments))),
        ("subject", _decoded(context, "subject")),
        ("attachment-info", _json({f"attachment{n}": _info(part) for n, part in _numbered(content)})),
        ("charsets", _json(dict.fromkeys(("to", "from", "subject", "text", "html"), "UTF-8"))),
        *(("SPF", each.result) for each in verdicts.results("spf")),
    ]
    if verdicts.spam.score is not None:
        fields += [("spam_score", f"{verdicts.spam.score:g}"), ("spam_report", ", ".join(verdicts.spam.symbols))]
    if not content.attachments:
        fields = [(name, text) for name, text in fields if name not in ("content-ids", "attachment-info")]
    return fields


def _numbered(content: MimeContent) -> list[tuple[int, Attached]]:
    return list(enumerate(content.attachments, 1))


def _info(part: Attached) -> dict[str, str]:
    info = {"filename": part.name, "name": part.name, "type": part.type}
    if part.charset:
        info["charset"] = part.charset
    if part.content_id:
        info["content-id"] = part.content_id
    return info


def _header_text(context: Context) -> str:
    """The header section, a line each, as it came; octets that are no UTF-8 are read as ISO-8859-1."""
    raw = context.content_header.removesuffix(b"\r\n").replace(b"\r\n", b"\n")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _dkim(verdicts: Verdicts) -> str:
    found = {f"@{each.properties.get('header.d', '')}": each.result for each in verdicts.dkim if each.result != "none"}
    return "{" + ", ".join(f"{domain} : {result}" for domain, result in found.items()) + "}" if found else "none"


def _decoded(context: Context, name: str) -> str:
    return decode_words(context.header.text(name) or "")


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
