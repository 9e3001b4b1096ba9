"""`from: rewrite`: From becomes an address of ours, and whoever answers still answers the author.

For targets that refuse mail whose From domain has a DMARC policy and whose signature a hop has broken. Only From is replaced, and
Reply-To added where there is none; all other bytes stay.

*Trust.* Display names are hostile text: controls are dropped and an address in a display name is shown with " at ", so that no
reader takes it for the sender.
"""

import base64
import re

from mail.address import Mailbox
from mail.address_list import parse_address_list
from mail.headers import header_field, parse_header
from mail.octets import Octets, header_section, spliced

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
_DISPLAY_CHARACTERS = 120
_WORD_OCTETS = 45  # RFC 2047 §2: 75 characters for an encoded word


def own_sender(content: Octets, ours: Mailbox) -> Octets:
    """The message with `From: "Author via ours" <ours>`, the author in Reply-To, and the old From as X-Original-From."""
    header = parse_header(header_section(content))
    froms = header.all("From")
    original = froms[0].text if froms else ""
    authors = parse_address_list(original)
    name = (authors[0].display or authors[0].address) if authors else "unknown"
    shown = " ".join(_CONTROL.sub("", name).split()).replace("@", " at ")[:_DISPLAY_CHARACTERS]
    fields = [header_field("From", f"{_display(f'{shown} via {ours.domain}')} <{ours}>")]
    if header.first("Reply-To") is None and authors:
        fields.append(header_field("Reply-To", _clean(original)))
    if original:
        fields.append(header_field("X-Original-From", _clean(original)))
    spans = tuple((field.start, field.end) for field in froms)
    return spliced(b"".join(fields), content, spans)


def _clean(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ").replace("\0", " ")


def _display(text: str) -> str:
    """A display name: quoted, or as encoded words where it is not ASCII (RFC 2047 §5 rule 3)."""
    if text.isascii():
        return '"' + text.replace("\\", "").replace('"', "") + '"'
    words: list[str] = []
    piece = b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(piece) + len(octets) > _WORD_OCTETS:
            words.append(_encoded(piece))
            piece = b""
        piece += octets
    return " ".join([*words, _encoded(piece)])


def _encoded(octets: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(octets).decode('ascii')}?="
