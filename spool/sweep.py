"""Retention: what goes when (semantics.md §6). Bodies first, then header sections, then all the rest of a transaction.

A message in `KEPT_STATES` or with a job left loses nothing, however old; nor does a header section go before its body, since a
small body is stored without it. Each pass works through at most `CHUNK` messages in one unit, so accepts come between.
"""

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

from spool.messages import used_day
from spool.ports import KEPT_STATES, MessageState, Retention
from spool.schema import micros
from spool.units import Change

CHUNK = 500

_OVER = ", ".join(f"'{state.value}'" for state in MessageState if state not in KEPT_STATES)
_FREE = f"h.state IN ({_OVER}) AND h.id NOT IN (SELECT message_id FROM job)"  # noqa: S608
_LAST_BEFORE = "(SELECT seq FROM history WHERE at < :before ORDER BY at DESC, seq DESC LIMIT 1)"

_BODIES = (
    "SELECT c.seq, h.id, c.octets, c.rest IS NULL FROM content c JOIN history h ON h.seq = c.seq"  # noqa: S608
    f" WHERE c.octets > 0 AND c.seq > :cursor AND c.seq <= {_LAST_BEFORE} AND h.at < :before AND {_FREE}"
    " ORDER BY c.seq LIMIT :chunk"
)
_HEADERS = (
    "SELECT c.seq FROM content c JOIN history h ON h.seq = c.seq"  # noqa: S608
    f" WHERE c.octets = 0 AND c.header IS NOT NULL AND c.seq > :cursor AND c.seq <= {_LAST_BEFORE} AND h.at < :before AND {_FREE}"
    " ORDER BY c.seq LIMIT :chunk"
)
_TRANSACTIONS = (
    "SELECT h.seq, h.id, h.state IS NOT NULL FROM history h LEFT JOIN content c ON c.seq = h.seq"  # noqa: S608
    f" WHERE h.seq > :cursor AND h.seq <= {_LAST_BEFORE} AND h.at < :before"
    f" AND (h.state IS NULL OR (c.octets = 0 AND {_FREE})) ORDER BY h.seq LIMIT :chunk"
)


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


def bodies(
    connection: sqlite3.Connection, cursor: int, before: datetime, excess_octets: int | None = None
) -> Change[Pass]:
    """Delete bodies, oldest first; with `excess_octets` no more than make up for it."""
    rows = connection.execute(_BODIES, {"before": micros(before), "cursor": cursor, "chunk": CHUNK}).fetchall()
    more = len(rows) == CHUNK
    freed = 0
    files: list[str] = []
    count = 0
    for seq, message_id, octets, in_file in rows:
        if excess_octets is not None and freed >= excess_octets:
            more = False
            break
        connection.execute("UPDATE content SET rest = NULL, octets = 0 WHERE seq = ?", (seq,))
        freed += octets
        count += 1
        if in_file:
            files.append(message_id)
    return Change(result=Pass(count=count, cursor=rows[-1][0] if more else None, files=tuple(files)), octets=-freed)


def headers(connection: sqlite3.Connection, cursor: int, before: datetime) -> Change[Pass]:
    rows = connection.execute(_HEADERS, {"before": micros(before), "cursor": cursor, "chunk": CHUNK}).fetchall()
    connection.executemany("UPDATE content SET header = NULL WHERE seq = ?", rows)
    return Change(result=Pass(count=len(rows), cursor=rows[-1][0] if len(rows) == CHUNK else None))


def transactions(connection: sqlite3.Connection, cursor: int, before: datetime) -> Change[Pass]:
    """Delete whole transactions with their ledgers; only messages are counted."""
    rows = connection.execute(_TRANSACTIONS, {"before": micros(before), "cursor": cursor, "chunk": CHUNK}).fetchall()
    for seq, message_id, is_message in rows:
        connection.execute("DELETE FROM history WHERE seq = ?", (seq,))
        if is_message:
            connection.execute("DELETE FROM content WHERE seq = ?", (seq,))
            connection.execute("DELETE FROM ledger WHERE message_id = ?", (message_id,))
    return Change(result=Pass(count=sum(row[2] for row in rows), cursor=rows[-1][0] if len(rows) == CHUNK else None))


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
