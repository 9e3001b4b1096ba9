"""The tables of a shard, how its file is opened, and how our values stand in it.

A message is one narrow row of `history` (what find reads) and one of `content` (what a walk reads); refused transactions have the
former only. A row that changes often must not carry the body: SQLite rewrites a changed row whole. Indexes that an ordinary
message would pay for twice (once in, once out) are partial ones over the rare states.
"""

import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from spool.formats import Format, version_of
from spool.ports import Broken

T = TypeVar("T")

PAGE_OCTETS = 8192  # 4096: a fifth more CPU for 50 KB; 16384: more for small ones (bench/spool.py)
WAL_PAGES = 1000  # between checkpoints; more does not save CPU, and each takes longer
_MILLION = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

INDEXED_STATES = "'retrying', 'dead', 'unhandled', 'suppressed', 'parked', 'rejected'"  # what few messages come to

_TABLES = f"""
CREATE TABLE history (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, session TEXT NOT NULL, client_ip TEXT NOT NULL,
    helo TEXT NOT NULL, mail_from TEXT, rcpt_to TEXT NOT NULL, phase TEXT NOT NULL, outcome TEXT NOT NULL, reply TEXT NOT NULL,
    subject TEXT NOT NULL, header_from TEXT NOT NULL, size INTEGER NOT NULL, by TEXT NOT NULL, detail TEXT NOT NULL,
    state TEXT, evaluation INTEGER NOT NULL, rule_book TEXT NOT NULL);
CREATE INDEX history_at ON history(at);
CREATE INDEX history_refused ON history(outcome, at) WHERE outcome <> 'accepted';
CREATE INDEX history_state ON history(state, at)
    WHERE state IN ({INDEXED_STATES});

CREATE TABLE content (
    seq INTEGER PRIMARY KEY, received_at INTEGER NOT NULL, receipt BLOB NOT NULL, header BLOB, rest BLOB, octets INTEGER NOT NULL,
    digests TEXT NOT NULL);
CREATE INDEX content_body ON content(seq, octets) WHERE octets > 0;
CREATE INDEX content_header ON content(seq) WHERE octets = 0 AND header IS NOT NULL;

CREATE TABLE answer (digest TEXT PRIMARY KEY, records TEXT NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, message_id TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL, not_before INTEGER NOT NULL, expires_at INTEGER, destination TEXT NOT NULL, last TEXT NOT NULL,
    evaluation INTEGER NOT NULL);
CREATE INDEX job_due ON job(not_before, id) WHERE state = 'ready';
CREATE INDEX job_destination ON job(destination, not_before, id) WHERE state = 'ready';
CREATE INDEX job_expiry ON job(destination, expires_at) WHERE state = 'ready' AND expires_at IS NOT NULL;
CREATE INDEX job_message ON job(message_id);

CREATE TABLE pause (
    destination TEXT PRIMARY KEY, failures INTEGER NOT NULL, last TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE ledger (
    message_id TEXT NOT NULL, evaluation INTEGER NOT NULL, rule TEXT NOT NULL, step INTEGER NOT NULL, recipient TEXT NOT NULL,
    action TEXT NOT NULL, position INTEGER NOT NULL, result TEXT NOT NULL, at INTEGER NOT NULL, attempts INTEGER NOT NULL,
    detail TEXT NOT NULL, control TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (message_id, evaluation, rule, step, recipient)) WITHOUT ROWID;
"""

# What 2 brought: who waits for what, without reading every job; and why.
_TO_2 = """
DROP INDEX job_due;
CREATE INDEX job_due ON job(not_before, id, destination, expires_at) WHERE state = 'ready';
CREATE INDEX job_message ON job(message_id);
CREATE TABLE pause (
    destination TEXT PRIMARY KEY, failures INTEGER NOT NULL, last TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
"""

# What 3 brought: what is due elsewhere is found at once, however many jobs wait for a destination that is down.
_TO_3 = """
DROP INDEX job_due;
CREATE INDEX job_due ON job(not_before, id) WHERE state = 'ready';
CREATE INDEX job_destination ON job(destination, not_before, id) WHERE state = 'ready';
CREATE INDEX job_expiry ON job(destination, expires_at) WHERE state = 'ready' AND expires_at IS NOT NULL;
"""

SHARD = Format(name="spool", tables=_TABLES, migrations=(_TO_2, _TO_3))
"""A change of the tables adds a migration here; tests/spool keeps a file of each format, which must still open."""


def micros(moment: datetime) -> int:
    """An aware time as microseconds since 1970, exactly."""
    return (moment - _EPOCH) // _MILLION


def moment(stored: int) -> datetime:
    return _EPOCH + timedelta(microseconds=stored)


def storable(text: str) -> str:
    """Text that SQLite can hold: what a peer sent may carry lone surrogates, which have no UTF-8 form."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk is full, so that nothing of the transaction can have been kept.

    SQLITE_IOERR_SHMSIZE is ENOSPC too: the index of the WAL could not grow, and that happens before the commit counts.
    """
    return getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def create_private(path: Path) -> None:
    """Make the file, 0600, if it is not there. SQLite gives its side files the mode of the database."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def open_for_writing(path: Path, *, cached_kilooctets: int = 16384) -> sqlite3.Connection:
    """The one connection that writes: WAL, every commit fsynced. Loop and writer take turns with it."""
    create_private(path)
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=2.0
    )
    pragmas = (
        f"page_size={PAGE_OCTETS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "fullfsync=ON",  # as `spool.durable`: it means something on macOS only
        "checkpoint_fullfsync=ON",
        "temp_store=MEMORY",  # the journal of a savepoint would be a file otherwise
        f"cache_size=-{cached_kilooctets}",
        f"wal_autocheckpoint={WAL_PAGES}",
        f"journal_size_limit={64 * 2**20}",
        "secure_delete=FAST",  # what was deleted is overwritten where that costs no I/O of its own
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; it works beside a running server and without one."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, timeout=2.0
    )
    connection.execute("PRAGMA cache_size=-4096")
    return connection


def reading(path: Path, what: Callable[..., T], *arguments: Any) -> T:
    """One read of a shard on a connection of its own; blocks. Raises `Broken`, and `Permanent` for a file of a later release."""
    try:
        connection = open_for_reading(path)
        try:
            SHARD.check(version_of(connection))
            return what(connection, *arguments)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Broken(f"the store failed: {path}: {error}") from error
