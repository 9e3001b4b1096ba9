"""Where an address is named: in the envelope and From of any transaction, and in the header sections that are still kept."""

import re
import sqlite3
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from mail.words import decode_words
from spool.history import COLUMNS, found_row
from spool.ports import HistoryRow, MessageState

_SELECT = f"SELECT {COLUMNS}, state FROM history h LEFT JOIN content c ON c.seq = h.seq WHERE "  # noqa: S608
_NAMING = f"{_SELECT} names(mail_from, rcpt_to, header_from, subject, reply, detail, header) ORDER BY at, h.seq"
_BEFORE = r"(?<![\w.!#$%&'*+/=?^`{|}~-])"
# What programs write: `smtp.mailfrom=ann@x.example`, `?to=ann@x.example`, and the apostrophes of Outlook.
_BEHIND_A_NAME = r"(?<=[\s;(?&])(?:[A-Za-z0-9_.-]{1,40}=|')"
_AFTER = r"(?![A-Za-z0-9-]|\.[A-Za-z0-9])"
_AT = r"(?:\s*@\s*|%40)"  # folded lines, and links


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One transaction that names the address."""

    row: HistoryRow
    state: MessageState | None


def naming(connection: sqlite3.Connection, spellings: Iterable[str]) -> list[Named]:
    """Oldest first. Case and quotes do not count; `ann@x.example` is not in `joann@x.example`, nor in `ann@x.example.net`."""
    pattern = "|".join(_pattern(each) for each in dict.fromkeys(map(_composed, spellings)))
    address = re.compile(f"(?:{_BEFORE}|{_BEHIND_A_NAME})(?:{pattern}){_AFTER}", re.IGNORECASE)

    def names(*values: str | bytes | None) -> bool:
        return any(address.search(text) for value in values if value for text in _texts(value))

    connection.create_function("names", 7, names, deterministic=True)
    return [Named(row=row, state=state) for row, state in (found_row(*row) for row in connection.execute(_NAMING))]


def _pattern(spelling: str) -> str:
    """The local-part in quotes is the same address (RFC 5321 §4.1.2)."""
    local, _, domain = spelling.rpartition("@")
    name = re.escape(local)
    return f'(?:{name}|"{name}"){_AT}{re.escape(domain)}'


def _texts(value: str | bytes) -> Iterable[str]:
    """As it stands, and with its encoded words read (RFC 2047); with one form for each letter (NFC)."""
    text = value if isinstance(value, str) else value.decode("utf-8", "replace")
    yield _composed(text)
    if "=?" in text:
        yield _composed(decode_words(text))


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)
