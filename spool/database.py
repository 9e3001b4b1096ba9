"""Opening a shard: its directory, its lock, its database, and what a dead process left in it (semantics.md §6)."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from mail.counters import Histogram
from spool import jobs
from spool.ballast import OCTETS, Ballast
from spool.durable import sync_directory
from spool.ports import Broken, Full
from spool.schema import SHARD, is_full, open_for_writing
from spool.shard_lock import FILE, locked, shard_directory
from spool.sqlite_spool import SqliteSpool


def open_spool(
    directory: Path,
    shard: int,
    *,
    ballast_octets: int = OCTETS,
    monotonic: Callable[[], float] = time.monotonic,
    wait_seconds: float = 0.0,
    on_broken: Callable[[Broken], None] | None = None,
    commit_seconds: Histogram | None = None,
) -> SqliteSpool:
    """Open shard `shard` of `directory` for writing, making it if need be; blocks.

    A shard of an earlier release is brought up to this one first. Raises `Locked` when another process has it and still has it
    after `wait_seconds`, `Permanent` for a shard of a later release, `Full` or `Broken`. `on_broken` is called once, on the loop,
    when the shard has closed itself: the worker must exit then and be started again. `commit_seconds` observes each group's
    commit.
    """
    path = shard_directory(directory, shard)
    for each in (directory, path.parent, path):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A shard whose name a power cut takes back is lost with all in it; who made it just now may not have come to this yet.
        sync_directory(each.parent)
    lock = locked(path, wait_seconds, monotonic)
    try:
        ballast = Ballast(path / "ballast", ballast_octets)
        connection = _open_database(path / FILE, ballast)
        ballast.lay()
        spool = SqliteSpool(
            path,
            shard,
            lock,
            connection,
            ballast,
            monotonic=monotonic,
            on_broken=on_broken,
            commit_seconds=commit_seconds or Histogram(),
        )
        sync_directory(path)  # the names of all its files
    except BaseException:
        lock.release()
        raise
    return spool


def _open_database(path: Path, ballast: Ballast) -> sqlite3.Connection:
    """The database with its tables and without leases; a full disk gets the ballast's room once."""
    while True:
        try:
            return _usable(path)
        except sqlite3.Error as error:
            if not is_full(error):
                raise Broken(f"the store failed: {path}: {error}") from error
            if not ballast.drop():
                raise Full("the disk is full") from error


def _usable(path: Path) -> sqlite3.Connection:
    connection = open_for_writing(path)
    try:
        SHARD.bring_up(connection)
        jobs.void_leases(connection)
        connection.execute("DROP TABLE IF EXISTS scrub")  # of an erasure that did not end
    except BaseException:
        connection.close()
        raise
    return connection
