"""Erasing persons from a shard: every word of and about a message but when it came, how large it was and what became of it.

Deleted cells and pages are overwritten with zeros (secure_delete). The pages that earlier deletions left behind unchanged (bodies
that retention took) are taken up and overwritten too, and the log that still holds the old pages is emptied. Then the octets are
in none of the shard's files any more; what the file system or the disk keeps of deleted files is not ours to say.
"""

import sqlite3
from collections.abc import Iterable

from spool.ports import ERASED, Erased, JobState
from spool.units import Change

SCRUB_OCTETS = 16 * 2**20  # of free pages, in one transaction: accepts come between

# As `history.emptied`. Without a state the row is of no message any more.
_EMPTY = (
    "UPDATE history SET client_ip = '', helo = '', mail_from = NULL, rcpt_to = '', reply = '', subject = '',"  # noqa: S608
    f" header_from = '', detail = '{ERASED}', state = NULL WHERE id = ?"
)


def erase(connection: sqlite3.Connection, ids: Iterable[str]) -> Change[Erased]:
    """Empty these transactions, of messages or refused; ids that are not here are passed over."""
    connection.execute("PRAGMA secure_delete=ON")
    try:
        return _erase(connection, ids)
    finally:
        connection.execute("PRAGMA secure_delete=FAST")


def _erase(connection: sqlite3.Connection, ids: Iterable[str]) -> Change[Erased]:
    erased: list[str] = []
    busy: list[str] = []
    files: list[str] = []
    ready = octets = 0
    for message_id in dict.fromkeys(ids):
        row = connection.execute(
            "SELECT h.id, c.octets, c.octets > 0 AND c.rest IS NULL FROM history h LEFT JOIN content c ON c.seq = h.seq"
            " WHERE h.id = ?",
            (message_id,),
        ).fetchone()
        if row is None:
            continue
        jobs = connection.execute("SELECT state, last FROM job WHERE message_id = ?", (message_id,)).fetchall()
        if any(state == JobState.LEASED for state, _ in jobs):
            busy.append(message_id)
            continue
        ready -= sum(state == JobState.READY and not last for state, last in jobs)
        octets -= row[1] or 0
        if row[2]:
            files.append(message_id)
        forget_message(connection, message_id)
        erased.append(message_id)
    connection.execute("DELETE FROM pause")  # the last error of a destination may name a recipient
    result = Erased(erased=tuple(erased), busy=tuple(busy), files=tuple(files))
    return Change(result=result, ready=ready, octets=octets)


def forget_message(connection: sqlite3.Connection, message_id: str) -> None:
    """Everything but the emptied row of its transaction."""
    connection.execute("DELETE FROM content WHERE seq = (SELECT seq FROM history WHERE id = ?)", (message_id,))
    connection.execute("DELETE FROM ledger WHERE message_id = ?", (message_id,))
    connection.execute("DELETE FROM job WHERE message_id = ?", (message_id,))
    connection.execute(_EMPTY, (message_id,))


def scrub(connection: sqlite3.Connection) -> Change[bool]:
    """Fill free pages with zeros, so many at a time; False when none was left, and all are free again."""
    connection.execute("CREATE TABLE IF NOT EXISTS scrub (zeros BLOB)")
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    if not free:
        connection.execute("DROP TABLE scrub")
        return Change(result=False)
    # Half a page beyond full ones stays beside the row's key, so that the pages of its own that the rest gets are full: what is
    # free behind the end of a value is not overwritten (SQLite's file format, "cell payload overflow pages").
    pages = max(1, min(free, SCRUB_OCTETS // page))
    connection.execute("INSERT INTO scrub VALUES (zeroblob(?))", (pages * (page - 4) + page // 2,))
    return Change(result=True)


def empty_log(connection: sqlite3.Connection) -> Change[bool]:
    """Bring the WAL into the database and cut it to nothing; outside any transaction. False while a reader still needs it."""
    (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return Change(result=not is_busy)
