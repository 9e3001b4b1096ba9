"""RFC 2047 encoded-words, decoded the way readers expect, in linear time.

*Standards.* RFC 2047 §2, §5 and §6.2. `decode_outside_quotes` leaves alone what stands inside a quoted string, as SES does.
*Trust.* Hostile text; an unknown charset or broken encoding leaves the word as it was written. Nothing raises.
"""

import base64
import binascii
import re

from mail.charset import charset, decoded

# Bounded on purpose: an unbounded `.*?` makes a header full of "=?a?q?" quadratic.
_WORD = re.compile(r"=\?([A-Za-z0-9_.:*'+-]{1,60})\?([bBqQ])\?([^?\r\n]{0,2000})\?=")
_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")
_BETWEEN = re.compile(r"[ \t]*\Z")
_QUOTED = re.compile(r'("(?:[^"\\]|\\.)*")', re.DOTALL)


def decode_words(text: str) -> str:
    """Text with its encoded-words decoded; white space between two adjacent words is dropped (RFC 2047 §6.2)."""
    if "=?" not in text:
        return text
    out: list[str] = []
    pending: list[bytes] = []
    codec: str | None = None
    position = 0
    for word in _WORD.finditer(text):
        octets, named = _decode(word.group(2), word.group(3)), charset(word.group(1).partition("*")[0])
        between = text[position : word.start()]
        position = word.end()
        adjacent = codec is not None and _BETWEEN.match(between) is not None
        if adjacent and octets is not None and named == codec:
            # A character may be split over two words; only their joined octets are text.
            pending.append(octets)
            continue
        out.append(_text(pending, codec))
        if octets is None or named is None:
            out += [between, word.group()]
            pending, codec = [], None
        else:
            out.append("" if adjacent else between)
            pending, codec = [octets], named
    out += [_text(pending, codec), text[position:]]
    # What an encoded-word smuggles in must not become a line of its own anywhere downstream.
    return "".join(out).replace("\r", " ").replace("\n", " ").replace("\0", " ")


def decode_outside_quotes(text: str) -> str:
    if "=?" not in text:
        return text
    pieces = _QUOTED.split(text)
    return "".join(piece if number % 2 else decode_words(piece) for number, piece in enumerate(pieces))


def _decode(encoding: str, text: str) -> bytes | None:
    try:
        octets = text.encode("ascii")
        if encoding in "bB":
            return base64.b64decode(octets + b"=" * (-len(octets) % 4))
    except (UnicodeEncodeError, binascii.Error):
        return None
    return _HEX.sub(lambda match: bytes.fromhex(match.group(1).decode()), octets.replace(b"_", b" "))


def _text(octets: list[bytes], codec: str | None) -> str:
    return "" if codec is None else decoded(b"".join(octets), codec)
