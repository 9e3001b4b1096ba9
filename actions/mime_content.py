"""What a reader would see of a message: its text, its HTML and what is attached (RFC 2046; `mail.mime` walks the parts).

*Trust.* Hostile bytes; nothing raises. A part whose charset is unknown or lies is read as UTF-8, then as ISO-8859-1.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from mail.charset import charset, decoded
from mail.mime import Part, parts

_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}\Z")  # RFC 6838 §4.2; any other is nobody's


@dataclass(frozen=True, kw_only=True)
class Attached:
    """One attachment. `name` is "" for a part that has none, `content_id` stands without angle brackets."""

    name: str
    type: str
    content_id: str
    charset: str
    is_inline: bool
    part: Part

    @cached_property
    def content(self) -> bytes:
        """The decoded octets; an attached message is as it stands."""
        return self.part.content


@dataclass(frozen=True, slots=True, kw_only=True)
class MimeContent:
    """`text` and `html` have LF line ends; None where the message has no such part. Several parts of a kind are joined."""

    text: str | None
    html: str | None
    attachments: tuple[Attached, ...]


def mime_content(raw: bytes) -> MimeContent:
    texts: dict[str, list[str]] = {"text/plain": [], "text/html": []}
    found: list[Attached] = []
    for part in parts(raw):
        if part.enclosed or part.type.startswith("multipart/"):
            continue
        if part.type in texts and not part.name and part.disposition != "attachment":
            texts[part.type].append(_text(part))
        else:
            found.append(_attached(part))
    return MimeContent(
        text="\n".join(texts["text/plain"]) if texts["text/plain"] else None,
        html="\n".join(texts["text/html"]) if texts["text/html"] else None,
        attachments=tuple(found),
    )


def attached(raw: bytes) -> tuple[Attached, ...]:
    """The attachments alone, in order: their positions are what signed URLs name."""
    return mime_content(raw).attachments


def _attached(part: Part) -> Attached:
    name = part.name or ("message.eml" if part.type == "message/rfc822" else "")
    return Attached(
        name=name.rpartition("/")[2].rpartition("\\")[2].replace("\0", ""),
        type=part.type if _TYPE.match(part.type) else "application/octet-stream",
        content_id=part.content_id,
        charset=part.charset,
        is_inline=part.disposition == "inline" or (bool(part.content_id) and part.disposition != "attachment"),
        part=part,
    )


def _text(part: Part) -> str:
    return _decoded(part.content, part.charset).replace("\r\n", "\n")


def _decoded(octets: bytes, name: str) -> str:
    for codec in (charset(name), "utf-8"):
        try:
            if codec not in (None, "ascii"):  # whoever says us-ascii and means it says UTF-8 too
                return decoded(octets, codec, "strict")
        except ValueError:
            continue
    return octets.decode("latin-1")
