"""A view of a header section that knows where each field stands and never writes one again.

*Standards.* RFC 5322 §2.2 (fields, folding), §3.6.8 (field names), RFC 6532 (UTF-8 values).
*Trust.* Hostile bytes; nothing here raises for them. A line that is no field is kept as a field with the name "".
*Failure.* `Misuse`, and only from `header_field`, when a caller would write a line break or NUL into a field.
"""

import re
from functools import lru_cache

from mail.errors import Misuse
from mail.values import Value

_KEPT_VIEWS = 128
_KEPT_OCTETS = 32 * 1024  # of a header section whose view is kept: strangers choose them
FOLD_AT = 78  # RFC 5322 §2.1.1

# One field and its name. RFC 5322 §3.6.8: a name is printable ASCII; anything else is a line that no reader agrees about. §4.5.3:
# white space before the colon. §2.2.3: a line that begins with white space goes on with the field.
_FIELD = re.compile(rb"((?!\Z)(?:([!-9;-~]+)[ \t]*:)?[^\r]*+(?:\r(?!\n(?![ \t]))[^\r]*+)*+(?:\r\n)?)")
_NAME_TEXT = re.compile(r"[!-9;-~]+\Z")
_BREAK = re.compile("[\r\n\0]")


class Field(Value, frozen=True, kw_only=True):
    """One header field. `raw` are its bytes as on the wire with the final CRLF; `raw` is `message[start:end]`."""

    name: str
    raw: bytes
    start: int
    end: int

    @property
    def value(self) -> bytes:
        """What stands behind the colon, still folded, without the final CRLF."""
        body = self.raw.partition(b":")[2] if self.name else self.raw
        return body.removesuffix(b"\r\n")

    @property
    def text(self) -> str:
        """The value unfolded (each CRLF + white space becomes one space) and trimmed; UTF-8, else ISO-8859-1."""
        return unfold(self.value)


def unfold(value: bytes) -> str:
    if b"\r\n" in value:
        value = b" ".join(
            line if number == 0 else line.lstrip(b" \t") for number, line in enumerate(value.split(b"\r\n"))
        )
    value = value.strip(b" \t\r\n")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class HeaderView:
    """The fields of one header section, in order, by name and by position."""

    __slots__ = ("_by_name", "body_start", "fields", "has_bare_line_ends")

    def __init__(self, fields: tuple[Field, ...], body_start: int, *, has_bare_line_ends: bool = False) -> None:
        self.fields = fields
        self.body_start = body_start  # the octet behind the blank line; len(message) where there is none
        self.has_bare_line_ends = has_bare_line_ends  # a CR or LF stands alone in some field
        self._by_name: dict[str, list[Field]] = {}
        for field in fields:
            self._by_name.setdefault(field.name.lower(), []).append(field)

    def all(self, name: str) -> list[Field]:
        """Every field of this name, top first."""
        return self._by_name.get(name.lower(), [])

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether there is a field of one of these names, given in lower case."""
        return not names.isdisjoint(self._by_name)

    def first(self, name: str) -> Field | None:
        found = self._by_name.get(name.lower())
        return found[0] if found else None

    def text(self, name: str) -> str | None:
        """The unfolded text of the first field of this name."""
        field = self.first(name)
        return None if field is None else field.text


def parse_header(raw: bytes) -> HeaderView:
    """Split a message, or its header section alone, at its fields. Never raises.

    The last few views are kept by content: verdicts, rules and actions all ask for that of the message under way.
    """
    if raw.startswith(b"\r\n"):
        return HeaderView((), 2)
    end = raw.find(b"\r\n\r\n")
    head, body_start = (raw, len(raw)) if end < 0 else (raw[: end + 2], end + 4)
    return _split_once(head, body_start) if len(head) <= _KEPT_OCTETS else _split(head, body_start)


def _split(head: bytes, body_start: int) -> HeaderView:
    fields: list[Field] = []
    start = 0
    for raw, name in _FIELD.findall(head):
        end = start + len(raw)
        fields.append(Field(name=name.decode("ascii"), raw=raw, start=start, end=end))
        start = end
    lines = head.count(b"\r\n")
    is_bare = head.count(b"\r") != lines or head.count(b"\n") != lines
    return HeaderView(tuple(fields), body_start, has_bare_line_ends=is_bare)


_split_once = lru_cache(maxsize=_KEPT_VIEWS)(_split)


def header_field(name: str, value: str) -> bytes:
    """One field as bytes, unfolded; the only place that joins a name and a value.

    Raises `Misuse` for a line break or NUL in either, and for a name that RFC 5322 §3.6.8 does not allow.
    """
    if not _NAME_TEXT.match(name):
        raise Misuse("not a header field name")
    if _BREAK.search(value):
        raise Misuse("line break or NUL in a header value")
    return f"{name}: {value}\r\n".encode()
