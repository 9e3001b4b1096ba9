"""Where an object stands: one rule for disk and s3 (SES: S3 action, object key; `rules.object_keys` has the templates).

*Standards.* SES: the key is the prefix, with a slash added if it lacks one, and the message id. A template that names
`{message_id}` is the whole key.
*Trust.* A template comes from the rules, its values from strangers: of a value only characters that mean nothing in a path stay,
the rest is percent-encoded, so a value is never more or less than one piece of one component. What a store cannot hold is
`Permanent`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from actions.protocol import Context
from mail.address import Mailbox
from mail.errors import Malformed, Permanent
from mail.values import Value
from rules.object_keys import MATCH, RECIPIENT, Placeholder, Template, parse_template, per_recipient
from rules.units import recipient_value

SIDECAR = ".metadata.json"
NOTHING = "_"  # what an empty value becomes: a label that is not there, a message without a From domain
_KEY_OCTETS = 1024  # S3: object keys
_VALUE_CHARACTERS = 160  # a component has at most 255 octets on disk, and a template may join values
_METADATA_OCTETS = 2048  # S3: user-defined metadata
_UNSAFE = re.compile(r"[^A-Za-z0-9._@+=-]")
_parsed = lru_cache(maxsize=1024)(parse_template)


class ObjectKey(Value, frozen=True, kw_only=True):
    """One object to write. `prefix` is what stands before the message id, as SES's JSON shows it."""

    key: str
    prefix: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """A template of keys: what stands before the message id and behind it (None: the id is appended), and whether each recipient
    has an object of its own."""

    separate: bool
    before: Template
    after: Template | None


def object_key(prefix: str, message_id: str) -> str:
    """SES's key: `emails` and `emails/` both give `emails/ID`, an empty prefix gives `ID`."""
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    return prefix + message_id


def key_components(key: str) -> tuple[str, ...]:
    """The path below the root for a key. Raises `Permanent` for what would leave the store or is no file name."""
    parts = tuple(part for part in key.split("/") if part)
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise Permanent("object_key_prefix leaves the store")
    if not parts or key.endswith(("/", SIDECAR)):
        raise Permanent(f"object_key_prefix gives no name of a file: it ends with / or {SIDECAR}")
    return parts


def object_keys(context: Context) -> list[ObjectKey]:
    """The objects of one step, each key once: one for each recipient where the template names `recipient.*`, else one.

    Metadata that names recipients in an object for all of them says the first.
    """
    form = _form(str(context.parameters.get("object_key_prefix") or ""))
    metadata = {name: _template(str(text)) for name, text in (context.parameters.get("metadata") or {}).items()}
    found: dict[str, ObjectKey] = {}
    for mailbox in context.step.recipients if form.separate else context.step.recipients[:1] or (None,):
        made = _object(form, metadata, context, mailbox)
        found.setdefault(made.key, made)
    return list(found.values())


def safe(value: str) -> str:
    """The value as a piece of a path: unsafe octets as %XX, a leading dot too, a long one cut with its digest."""
    text = _UNSAFE.sub(_percent, value) or NOTHING
    if text.startswith("."):
        text = "%2E" + text[1:]
    if len(text) > _VALUE_CHARACTERS:
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        text = f"{text[: _VALUE_CHARACTERS - 17]}~{digest[:16]}"
    return text


def _object(form: _Form, metadata: Mapping[str, Template], context: Context, mailbox: Mailbox | None) -> ObjectKey:
    message_id = context.receipt.message_id
    prefix, after = _filled(form.before, context, mailbox), form.after
    key = object_key(prefix, message_id) if after is None else prefix + message_id + _filled(after, context, mailbox)
    if len(key.encode()) > _KEY_OCTETS:
        raise Permanent(f"the object's key has more than {_KEY_OCTETS} octets")
    filled = {name: _filled(text, context, mailbox) for name, text in metadata.items()}
    if sum(len(name) + len(text) for name, text in filled.items()) > _METADATA_OCTETS:
        raise Permanent(f"the object's metadata has more than {_METADATA_OCTETS} octets")
    return ObjectKey(key=key, prefix=prefix, metadata=filled)


def _split(template: Template) -> tuple[Template, Template | None]:
    """What stands before the message id, and behind it; None where the id is to be appended."""
    for place, piece in enumerate(template):
        if isinstance(piece, Placeholder) and piece.name == "message_id":
            return template[:place], template[place + 1 :]
    return template, None


@lru_cache(maxsize=1024)
def _form(text: str) -> _Form:
    template = _template(text)
    before, after = _split(template)
    return _Form(separate=per_recipient(template), before=before, after=after)


def _template(text: str) -> Template:
    try:
        return _parsed(text)
    except Malformed as error:  # a variable of the environment brought it in
        raise Permanent(f"{text}: {error}") from None


def _filled(template: Template, context: Context, mailbox: Mailbox | None) -> str:
    return "".join(piece if isinstance(piece, str) else _value(piece, context, mailbox) for piece in template)


def _value(placeholder: Placeholder, context: Context, mailbox: Mailbox | None) -> str:
    name, receipt = placeholder.name, context.receipt
    if name == "date":
        return receipt.received_at.strftime(placeholder.form)
    if name.startswith(RECIPIENT):
        return safe("" if mailbox is None else recipient_value(name, mailbox))
    if name.startswith(MATCH):
        return safe(dict(context.step.captured).get(name.removeprefix(MATCH), ""))
    verdicts = receipt.verdicts.as_seen(scanned=context.step.scanned)
    values: dict[str, Any] = {
        "message_id": receipt.message_id,
        "rule": context.step.rule,
        "from.domain": verdicts.from_domain,
        "spam": verdicts.status("spam").value,
        "size": receipt.size,
    }
    return safe(str(values[name] if values[name] is not None else ""))


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{octet:02X}" for octet in match.group().encode("utf-8", "surrogatepass"))
