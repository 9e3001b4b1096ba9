"""Retention: what goes when (semantics.md §6). Bodies first, then header sections, then all the rest of a transaction.

A message in `KEPT_STATES` or with a job left loses nothing, however old; nor does a header section go before its body, since a
small body is stored without it. Each pass is one unit: it looks at `STRETCH` messages and works through `CHUNK` of them at most, so
accepts come between, however many there are that may not go.
"""

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from spool.messages import used_day
from spool.ports import KEPT_STATES, MessageState, Retention
from spool.schema import micros
from spool.units import Change

CHUNK = 500
STRETCH = 2000

_OVER = ", ".join(f"'{state.value}'" for state in MessageState if state not in KEPT_STATES)
_FREE = f"h.state IN ({_OVER}) AND h.id NOT IN (SELECT message_id FROM job)"  # noqa: S608
_LAST_BEFORE = "(SELECT seq FROM history WHERE at < :before ORDER BY at DESC, seq DESC LIMIT 1)"

_BODIES = (
    "SELECT c.seq, h.id, c.octets, c.rest IS NULL FROM content c JOIN history h ON h.seq = c.seq"  # noqa: S608
    f" WHERE c.octets > 0 AND c.seq > :cursor AND c.seq <= :end AND h.at < :before AND {_FREE} ORDER BY c.seq LIMIT :chunk"
)
_HEADERS = (
    "SELECT c.seq FROM content c JOIN history h ON h.seq = c.seq"  # noqa: S608
    f" WHERE c.octets = 0 AND c.header IS NOT NULL AND c.seq > :cursor AND c.seq <= :end AND h.at < :before AND {_FREE}"
    " ORDER BY c.seq LIMIT :chunk"
)
_TRANSACTIONS = (
    "SELECT h.seq, h.id, h.state IS NOT NULL FROM history h LEFT JOIN content c ON c.seq = h.seq"  # noqa: S608
    " WHERE h.seq > :cursor AND h.seq <= :end AND h.at < :before"
    f" AND (h.state IS NULL OR (c.octets = 0 AND {_FREE})) ORDER BY h.seq LIMIT :chunk"
)
# The last of the next rows to look at, as long as there are some before the cut-off; the terms are those of partial indexes.
_END = (
    "SELECT max(seq) FROM (SELECT seq FROM {table} WHERE {which} AND seq > :cursor"  # noqa: S608
    f" AND seq <= {_LAST_BEFORE} ORDER BY seq LIMIT {STRETCH})"
)
_BODIES_END = _END.format(table="content", which="octets > 0")
_HEADERS_END = _END.format(table="content", which="octets = 0 AND header IS NOT NULL")
_TRANSACTIONS_END = _END.format(table="history", which="1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoffs:
    """Before which moment each part goes; a part never goes before what is stored inside or under it."""

    bodies: datetime
    headers: datetime
    metadata: datetime

    @classmethod
    def at(cls, now: datetime, retention: Retention) -> "Cutoffs":
        full = retention.full_seconds
        headers = max(full, retention.headers_seconds)
        metadata = max(headers, retention.metadata_seconds)
        bodies, header, rest = (now - timedelta(seconds=seconds) for seconds in (full, headers, metadata))
        return cls(bodies=bodies, headers=header, metadata=rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass deleted. `cursor` is where the next one starts, None after the last; `files` are bodies to unlink."""

    count: int
    cursor: int | None
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What may go of one stretch, and where the next one begins: None behind the last."""

    rows: list[Any]
    cursor: int | None


def _next(connection: sqlite3.Connection, ends: str, finds: str, cursor: int, before: datetime) -> _Found:
    values: dict[str, int] = {"before": micros(before), "cursor": cursor, "chunk": CHUNK}
    (end,) = connection.execute(ends, values).fetchone()
    if end is None:
        return _Found(rows=[], cursor=None)
    rows = connection.execute(finds, {**values, "end": end}).fetchall()
    return _Found(rows=rows, cursor=rows[-1][0] if len(rows) == CHUNK else end)


def bodies(
    connection: sqlite3.Connection, cursor: int, before: datetime, excess_octets: int | None = None
) -> Change[Pass]:
    """Delete bodies, oldest first; with `excess_octets` no more than make up for it."""
    found = _next(connection, _BODIES_END, _BODIES, cursor, before)
    after = found.cursor
    freed = 0
    files: list[str] = []
    count = 0
    for seq, message_id, octets, in_file in found.rows:
        if excess_octets is not None and freed >= excess_octets:
            after = None
            break
        connection.execute("UPDATE content SET rest = NULL, octets = 0 WHERE seq = ?", (seq,))
        freed += octets
        count += 1
        if in_file:
            files.append(message_id)
    return Change(result=Pass(count=count, cursor=after, files=tuple(files)), octets=-freed)


def headers(connection: sqlite3.Connection, cursor: int, before: datetime) -> Change[Pass]:
    found = _next(connection, _HEADERS_END, _HEADERS, cursor, before)
    connection.executemany("UPDATE content SET header = NULL WHERE seq = ?", found.rows)
    return Change(result=Pass(count=len(found.rows), cursor=found.cursor))


def transactions(connection: sqlite3.Connection, cursor: int, before: datetime) -> Change[Pass]:
    """Delete whole transactions with their ledgers; only messages are counted."""
    found = _next(connection, _TRANSACTIONS_END, _TRANSACTIONS, cursor, before)
    for seq, message_id, is_message in found.rows:
        connection.execute("DELETE FROM history WHERE seq = ?", (seq,))
        if is_message:
            connection.execute("DELETE FROM content WHERE seq = ?", (seq,))
            connection.execute("DELETE FROM ledger WHERE message_id = ?", (message_id,))
    return Change(result=Pass(count=sum(row[2] for row in found.rows), cursor=found.cursor))


def answers(connection: sqlite3.Connection, before: datetime) -> Change[int]:
    """Delete the DNS answers that no message refers to any more.

    A message notes its answers under the day of its history row, so every answer of a message since `before` bears that day or a
    later one; older messages are the few that may not be deleted, and theirs are named.
    """
    rows = connection.execute(
        "SELECT c.digests FROM history h JOIN content c ON c.seq = h.seq WHERE h.at < ?", (micros(before),)
    )
    held = {digest for (digests,) in rows for digest in digests.split()}
    old = connection.execute("SELECT digest FROM answer WHERE used < ?", (used_day(before),)).fetchall()
    gone = [(digest,) for (digest,) in old if digest not in held]
    connection.executemany("DELETE FROM answer WHERE digest = ?", gone)
    return Change(result=len(gone))
