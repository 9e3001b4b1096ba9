"""Address lists in header fields, as people really write them.

*Standards.* RFC 5322 §3.4 with §4.4's obsolete forms, groups, comments and quoted strings; RFC 2047 in display names.
*Trust.* Hostile text. The reader is tolerant and linear, and never raises; what it cannot read it returns as written.
Whoever needs a valid mailbox gives `address` to `mail.address.parse_mailbox`.
"""

from __future__ import annotations  # those of inner functions are made anew at every call otherwise

import re
from dataclasses import dataclass

from mail.words import decode_words

_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"?|<(?:"(?:[^"\\]|\\.)*"|[^>"])*>?|[,;:]|\[[^\]]*\]?|[^",;:<\[\s]+|\s+|.', re.DOTALL
)
# One mailbox as nearly all From fields have it: a name in quotes without an escape, or of plain words, and then the address.
_PLAIN = re.compile(r'(?:\s*+"([^"\\(]*+)"\s*+|([^",;:<>()\[\]]*+))<([^\s",;:<>()\[\]]++)>\s*+\Z')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PHRASE_SPECIALS = re.compile(r'[()<>@,;:\\".\[\]]')


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedAddress:
    """One mailbox of a list: `display` decoded, "" where there is none; `address` bare, as written, perhaps no address at all."""

    display: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2] if "@" in self.address else ""

    def __str__(self) -> str:
        """JavaMail's form, which SES uses: the display name is quoted only if it must be."""
        if not self.display:
            return self.address
        display = self.display
        if _PHRASE_SPECIALS.search(display):
            display = '"' + display.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{display} <{self.address}>"


def parse_address_list(text: str) -> list[NamedAddress]:
    """Every mailbox in order, members of groups included."""
    if plain := _PLAIN.match(text):
        quoted, word, address = plain.groups()
        return [NamedAddress(display=" ".join(decode_words(quoted or word or "").split()), address=address)]
    return _read(text)


def _read(text: str) -> list[NamedAddress]:
    found: list[NamedAddress] = []
    words: list[str] = []
    angle: str | None = None

    def flush() -> None:
        nonlocal angle
        phrase = "".join(words).strip()
        if angle is not None:
            found.append(NamedAddress(display=_display(phrase), address=_bare(angle)))
        elif phrase:
            found.append(NamedAddress(display="", address=_bare(phrase)))
        words.clear()
        angle = None

    for piece in _TOKEN.findall(_without_comments(text)):
        if piece in (",", ";"):
            flush()
        elif piece == ":":
            # The words before it were a group's name (or an obsolete route, which a bare address cannot have).
            words.clear()
        elif piece.startswith("<"):
            if angle is not None:
                flush()  # the comma is missing; readers do not agree which of the two they show, so both are told
            angle = piece.removeprefix("<").removesuffix(">")
        else:
            if angle is not None and "@" in piece:
                flush()
            words.append(piece)
    flush()
    return found


def _without_comments(text: str) -> str:
    """Text without its comments, which nest and may hold quoted-pairs (RFC 5322 §3.2.2)."""
    if "(" not in text:
        return text
    out: list[str] = []
    depth, quoted, escaped = 0, False, False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"' and not depth:
            quoted = not quoted
        elif character == "(" and not quoted:
            depth += 1
        elif character == ")" and depth:
            depth -= 1
            continue
        if not depth:
            out.append(character)
    return "".join(out)


def _display(phrase: str) -> str:
    if len(phrase) >= 2 and phrase.startswith('"') and phrase.endswith('"'):
        phrase = _ESCAPED.sub(r"\1", phrase[1:-1])
    return " ".join(decode_words(phrase).split())


def _bare(address: str) -> str:
    if '"' not in address:
        return "".join(address.split())
    return address.strip()
