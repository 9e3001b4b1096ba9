"""What is attached to a message: names, types and sizes of its parts, without decoding more than it must.

*Standards.* RFC 2045, RFC 2046 §5.1 (multipart), RFC 2183 (disposition), RFC 2231 (parameters).
*Trust.* Hostile bytes. At most 1,000 parts, a depth of 50 (semantics.md §5) and 2 MiB of their header sections are looked at: a
field is an object of ours a hundred times its size. Header values are read up to 8 KiB, beyond which the standard library's
parameter parser is quadratic. Bodies are searched without regular expressions: each level of the nesting is read anew.
*Failure.* None: what cannot be read as multipart is one part.
"""

import base64
import binascii
import email.message
import quopri
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mail.charset import whole
from mail.headers import HeaderView, parse_header
from mail.octets import Octets, pieces
from mail.receipt import Attachment
from mail.words import decode_words

PARTS = 1000
DEPTH = 50
HEADER_OCTETS = 2 * 2**20  # of all parts together
_VALUE_OCTETS = 8192
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(set(range(256)).difference(_BASE64))
_PLAIN_BOUNDARY = re.compile(r";\s*boundary\s*=\s*(?:\"([^\"\\]+)\"|([^\s;\"]+))", re.IGNORECASE)
_DELIMITER_END = re.compile(rb"(--)?[ \t]*(?=\r\n|\Z)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One leaf of a message, or a message inside it. `type` is lower case, `name` the file name or "", `body` still encoded.

    `content_id` stands without its angle brackets. `enclosed`: the part is of a message that is attached.
    """

    name: str
    type: str
    charset: str
    disposition: str
    encoding: str
    body: bytes
    content_id: str = ""
    enclosed: bool = False

    @property
    def content(self) -> bytes:
        """The decoded content; what cannot be decoded is left as it is."""
        return _decoded(self.body, self.encoding)

    @property
    def octets(self) -> int:
        return _decoded_octets(self.body, self.encoding)


def parts(raw: bytes) -> Iterator[Part]:
    """Every part that holds no parts, in order; an attached message comes before its own parts."""
    pending: list[tuple[bytes, int, bool]] = [(raw, 0, False)]
    seen = 0
    left = HEADER_OCTETS
    while pending and seen < PARTS:
        part, depth, enclosed = pending.pop()
        seen += 1
        end = part.find(b"\r\n\r\n")
        left -= end if end >= 0 else len(part)
        if left < 0:
            return
        header = parse_header(part)
        described = _described(header)
        body = part[header.body_start :]
        boundary = _boundary(described)
        if boundary and depth < DEPTH:
            pending.extend((inner, depth + 1, enclosed) for inner in reversed(_split(body, boundary)))
        elif described.get_content_type() == "message/rfc822" and depth < DEPTH:
            pending.append((body, depth + 1, True))
        described_part = Part(
            name=_file_name(described),
            type=described.get_content_type(),
            charset=_parameter(described.get_content_charset) or "",
            disposition=described.get_content_disposition() or "",
            encoding=str(described.get("Content-Transfer-Encoding", "")).strip().lower(),
            body=body,
            content_id=(header.text("Content-ID") or "")[:_VALUE_OCTETS].strip("<> \t"),
            enclosed=enclosed,
        )
        if not (boundary and depth < DEPTH) or described_part.name or described_part.disposition == "attachment":
            yield described_part


def attachments(raw: bytes) -> tuple[Attachment, ...]:
    """Each part with a file name or the disposition `attachment`, in order."""
    return tuple(
        Attachment(name=part.name, type=part.type, octets=part.octets)
        for part in parts(raw)
        if part.name or part.disposition == "attachment"
    )


def longest_line(raw: Octets) -> int:
    """Octets of the longest line, without its CRLF (RFC 5322 §2.1.1 allows 998)."""
    longest = length = 0
    held = b""  # a CR at the end of a piece, whose LF may begin the next one
    for piece in (raw,) if isinstance(raw, bytes) else pieces(raw):
        text = held + piece if held else piece
        held = b"\r" if text.endswith(b"\r") else b""
        start = 0
        # Not split: a large message may be nothing but line ends, and each line would be an object.
        while (end := text.find(b"\r\n", start)) >= 0:
            longest = max(longest, length + end - start)
            length, start = 0, end + 2
        length += len(text) - len(held) - start
    return max(longest, length + len(held))


def _described(header: HeaderView) -> "email.message.Message[str, str]":
    described: email.message.Message[str, str] = email.message.Message()
    for name in ("Content-Type", "Content-Disposition", "Content-Transfer-Encoding"):
        text = header.text(name)
        if text is not None:
            described[name] = text[:_VALUE_OCTETS]
    return described


def _boundary(described: "email.message.Message[str, str]") -> bytes:
    if described.get_content_maintype() != "multipart":
        return b""
    boundary = _parameter(described.get_boundary)
    if boundary is None:
        # One parameter that nobody can read hides none of the parts: readers that look for this one alone find it.
        found = _PLAIN_BOUNDARY.search(described["Content-Type"])
        boundary = found[1] or found[2] if found else ""
    return boundary.encode("utf-8", "replace")


def _file_name(described: "email.message.Message[str, str]") -> str:
    name = _parameter(described.get_filename)
    return decode_words("unreadable" if name is None else whole(name))


def _parameter(read: Callable[[], str | None]) -> str | None:
    """The value, "" where there is none; None where the standard library cannot read the parameters.

    It raises ValueError for a continuation number of thousands of digits (RFC 2231 §3), TypeError for a parameter that is given
    with continuations and without, LookupError for some charsets.
    """
    try:
        return read() or ""
    except (ValueError, TypeError, LookupError):
        return None


def _split(body: bytes, boundary: bytes) -> list[bytes]:
    """The parts between the delimiter lines; a missing close delimiter ends with the body (RFC 2046 §5.1.1)."""
    line = b"\r\n--" + boundary
    parts: list[bytes] = []
    start: int | None = None
    at = -2 if body.startswith(line[2:]) else body.find(line)
    while at != -1:
        if (end := _DELIMITER_END.match(body, at + len(line))) is not None:
            if start is not None:
                parts.append(body[start:at])
            start = end.end() + 2
            if end.group(1) or len(parts) >= PARTS:
                return parts
        at = body.find(line, at + len(line))
    if start is not None and start < len(body):
        parts.append(body[start:])
    return parts


def _decoded(body: bytes, encoding: str) -> bytes:
    match encoding:
        case "base64":
            digits = body.translate(None, _NOT_BASE64)
            return base64.b64decode(digits[: len(digits) - (len(digits) % 4 == 1)] + b"==")
        case "quoted-printable":
            return quopri.decodestring(body)
        case "x-uuencode" | "uuencode" | "x-uue":
            return b"".join(map(_uu_line, body.split(b"\r\n")))
    return body


def _decoded_octets(body: bytes, encoding: str) -> int:
    """As `_decoded` would give, without decoding what can be counted."""
    if encoding == "base64":
        return len(body.translate(None, _NOT_BASE64)) * 3 // 4
    return len(_decoded(body, encoding))


def _uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        return b""
