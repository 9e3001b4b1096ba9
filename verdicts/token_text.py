"""What a person would read of a message, and where its links lead: bounded, and in time linear in what is read.

*Standards.* RFC 2045 (parts). Of HTML what browsers show: no comments, scripts and style sheets.
*Trust.* Hostile bytes. The first 1 MiB of the message is looked at, 256 KiB of its text, 20 domains of its links.
*Failure.* None: what has no known charset is read as ISO-8859-1.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mail.address import parse_domain
from mail.charset import charset, decoded
from mail.errors import Malformed
from mail.mime import Part, parts
from verdicts.alignment import registrable_domain

RAW_OCTETS = 1 << 20
TEXT_OCTETS = 256 * 1024
LINK_DOMAINS = 20
LINK_HOSTS = 400

_HIDING = {"<!--": "-->", "<script": "</script", "<style": "</style"}
_MARKER = re.compile(r"<!--|-->|</?script\b|</?style\b", re.IGNORECASE)
_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,10};")
# No `<` inside, or a message of nothing but `<` would take quadratic time.
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9]{0,15})?[^<>]*>")
_INLINE = frozenset(("a", "b", "big", "em", "font", "i", "s", "small", "span", "strong", "sub", "sup", "u", "wbr"))
_LINK = re.compile(
    r"(?:\bhttps?:[/\\]{2}|\bwww\.)(?:[^\s/\\<>\"'?#@]{0,200}@)?([^\s/\\<>\"'?#:@]{1,253})", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageText:
    """`text` as it is shown; `types` of the parts in order; `domains` are the registrable domains that links lead to."""

    text: str
    types: tuple[str, ...]
    domains: tuple[str, ...]


def read_text(raw: bytes) -> MessageText:
    """The text of a message, from all its text parts in order."""
    left = TEXT_OCTETS
    texts: list[str] = []
    types: list[str] = []
    links: dict[str, None] = {}
    for part in parts(raw[:RAW_OCTETS]):
        types.append(part.type)
        if part.type not in ("text/plain", "text/html") or left <= 0:
            continue
        text = _decoded(part, left)
        left -= len(text)
        if part.type == "text/html":
            text = _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
            links.update(dict.fromkeys(_hosts(text)))
            text = _shown(text)
        links.update(dict.fromkeys(_hosts(text)))
        texts.append(text)
    return MessageText(text="\n".join(texts), types=tuple(dict.fromkeys(types)), domains=_domains(links))


def _decoded(part: Part, octets: int) -> str:
    # Encoded text is at most three times as long as what it stands for.
    content = replace(part, body=part.body[: 3 * octets]).content[:octets]
    return decoded(content, charset(part.charset or "utf-8") or "latin-1")


def _shown(text: str) -> str:
    """HTML without what a browser does not show, and without tags; a tag that ends a line or cell separates words."""
    kept: list[str] = []
    position = 0
    end = ""
    for marker in _MARKER.finditer(text):
        word = marker.group().lower()
        if not end and word in _HIDING:
            kept.append(text[position : marker.start()])
            end = _HIDING[word]
        elif word == end:
            position, end = marker.end(), ""
    if not end:
        kept.append(text[position:])
    return _TAG.sub(_spaced, " ".join(kept))


def _spaced(tag: "re.Match[str]") -> str:
    return "" if (tag.group(1) or "").lower() in _INLINE else " "


def _hosts(text: str) -> Iterator[str]:
    return (link.group(1).rstrip(".,;:!)]}").lower() for link in _LINK.finditer(text))


def _domains(hosts: dict[str, None]) -> tuple[str, ...]:
    """The registrable domains of names. Of too many the first and the last are kept: both hiding places are seen."""
    found: dict[str, None] = {}
    for host in _ends(tuple(hosts), LINK_HOSTS):
        try:
            name = parse_domain(host)
        except Malformed:
            continue
        if not name.rpartition(".")[2].isdigit():  # an address is in no list of domains
            found[registrable_domain(name)] = None
    return _ends(tuple(found), LINK_DOMAINS)


def _ends(names: tuple[str, ...], most: int) -> tuple[str, ...]:
    return names if len(names) <= most else names[: most // 2] + names[-(most // 2) :]
