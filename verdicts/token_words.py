"""A message as a set of tokens: the words of its text, and what its header section tells of who made it.

*Trust.* Hostile text. A message has at most 1,000 tokens, however long it is, so that it can teach or say no more than that.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from itertools import islice

from mail.address_list import parse_address_list
from mail.headers import HeaderView
from mail.words import decode_words
from verdicts.token_text import MessageText

TOKENS = 1000
SHORTEST, LONGEST = 3, 24
_VALUE_CHARACTERS = 2000
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
# From here on scripts are written without spaces between words: pairs of characters stand for them.
_UNSPACED = re.compile("[\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")
_PRESENT = ("List-Unsubscribe", "List-Id", "In-Reply-To", "References", "Auto-Submitted", "X-Priority")


def tokens_of(header: HeaderView, text: MessageText) -> tuple[str, ...]:
    """The distinct tokens of a message, header first, in order."""
    return tuple(islice(_distinct(header, text), TOKENS))


def _distinct(header: HeaderView, text: MessageText) -> Iterator[str]:
    seen: set[str] = set()
    for token in _all(header, text):
        if token not in seen:
            seen.add(token)
            yield token


def _all(header: HeaderView, text: MessageText) -> Iterator[str]:
    for word in _words(decode_words(_value(header, "Subject"))):
        yield f"subject:{word}"
    for name in ("From", "Reply-To"):
        for mailbox in parse_address_list(_value(header, name))[:3]:
            yield f"{name.lower()}:{mailbox.address.rpartition('@')[2].lower()[:64]}"
            for word in _words(mailbox.display):
                yield f"name:{word}"
    for name in ("X-Mailer", "User-Agent"):
        for word in _words(_value(header, name)):
            yield f"mailer:{word}"
    yield from (f"has:{name.lower()}" for name in _PRESENT if header.first(name) is not None)
    yield from (f"type:{type_[:40]}" for type_ in text.types)
    yield from (f"link:{domain}" for domain in text.domains)
    yield from _words(text.text)


def _value(header: HeaderView, name: str) -> str:
    return (header.text(name) or "")[:_VALUE_CHARACTERS]


def _words(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text):
        word = match.group()
        if _UNSPACED.search(word):
            yield from (word[index : index + 2] for index in range(max(1, len(word) - 1)))
        elif len(word) > LONGEST:
            yield f"long:{word[:2].casefold()}:{min(len(word) // 10, 10)}"
        elif word.isdigit():
            yield f"digits:{len(word)}"
        elif len(word) >= SHORTEST:
            yield word.casefold()


@lru_cache(maxsize=65536)
def token_hash(token: str) -> int:
    """The 64 bits by which a model knows a token; any text has one."""
    return int.from_bytes(blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
