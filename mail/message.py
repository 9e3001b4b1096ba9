"""The message as it came: the bytes of DATA with dot-stuffing undone, and nothing else done to them."""

from dataclasses import dataclass

from mail.headers import HeaderView, parse_header
from mail.octets import Octets, header_section

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Message:
    """`raw` is as on the wire, CRLF line ends, ends with CRLF; `header` is the view of its header section."""

    raw: Octets
    header: HeaderView

    @classmethod
    def of(cls, raw: Octets) -> "Message":
        return cls(raw=raw, header=parse_header(header_section(raw)))


def without_spans(raw: bytes, spans: tuple[Span, ...]) -> bytes:
    if not spans:
        return raw
    kept: list[bytes] = []
    position = 0
    for start, end in spans:
        kept.append(raw[position:start])
        position = end
    kept.append(raw[position:])
    return b"".join(kept)
