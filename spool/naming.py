"""Where an address is named: in the envelope and From of any transaction, and in the header sections that are still kept."""

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from spool.history import COLUMNS, found_row
from spool.ports import HistoryRow, MessageState

_SELECT = f"SELECT {COLUMNS}, state FROM history h LEFT JOIN content c ON c.seq = h.seq WHERE "  # noqa: S608
_NAMING = f"{_SELECT} names(mail_from, rcpt_to, header_from, reply, detail, header) ORDER BY at, h.seq"
_BEFORE = r"(?<![A-Za-z0-9.!#$%&'*+/=?^_`{|}~-])"
_AFTER = r"(?![A-Za-z0-9-]|\.[A-Za-z0-9])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One transaction that names the address."""

    row: HistoryRow
    state: MessageState | None


def naming(connection: sqlite3.Connection, spellings: Iterable[str]) -> list[Named]:
    """Oldest first. Case does not count; `ann@x.example` is not in `joann@x.example`, nor in `ann@x.example.net`."""
    pattern = "|".join(re.escape(each) for each in dict.fromkeys(spellings))
    address = re.compile(f"{_BEFORE}(?:{pattern}){_AFTER}", re.IGNORECASE)

    def names(*values: str | bytes | None) -> bool:
        return any(address.search(_text(value)) for value in values if value)

    connection.create_function("names", 6, names, deterministic=True)
    return [Named(row=row, state=state) for row, state in (found_row(*row) for row in connection.execute(_NAMING))]


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
