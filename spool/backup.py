"""Copies of databases that are in use, and of a whole shard with the body files that its copy names.

A database is copied as one snapshot under one read transaction (SQLite's online backup), so what was committed before is in it,
and no half of anything. Bodies are copied after it: a file is never changed, only deleted, and never before the transaction that
forgets it. One that is gone by then was deleted by retention or erased, and the copy forgets it as well.
"""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from spool.blobs import BlobFiles
from spool.erase import forget_message
from spool.formats import Format, version_of
from spool.ports import Broken
from spool.schema import create_private, open_for_reading
from spool.shard_lock import BODIES, FILE

MAGIC = b"SQLite format 3\x00"
SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database; without meaning beside its copy."""

_FILES = (
    "SELECT h.id FROM history h JOIN content c ON c.seq = h.seq WHERE c.octets > 0 AND c.rest IS NULL ORDER BY h.seq"
)
_OCTETS = "SELECT c.octets FROM history h JOIN content c ON c.seq = h.seq WHERE h.id = ?"

CopyFile = Callable[[Path, Path], None]
"""Copies one file durably. `FileNotFoundError`: it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardCopy:
    """What a shard's copy holds. `missing` are the messages whose body file is not there though the shard still names it."""

    messages: int
    jobs: int
    bodies: int
    missing: tuple[str, ...]


def copy_database(source: Path, target: Path) -> None:
    """One snapshot of `source` as the new file `target`, read through once. Raises `Broken`."""
    try:
        with closing(open_for_reading(source)) as reading, closing(_new(target)) as writing:
            reading.backup(writing, pages=-1)
            (found,) = writing.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise Broken(f"{source} cannot be copied: {error}") from error
    if found != "ok":
        raise Broken(f"{source} is damaged: {found}")


def format_of(path: Path) -> int:
    """The number of the format of a database. Raises `Broken`."""
    try:
        # Nobody else has a copy open, and looking at it must not make side files.
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return version_of(connection)
    except sqlite3.Error as error:
        raise Broken(f"{path} cannot be read: {error}") from error


def check_format(path: Path, known: Format) -> None:
    """Raises `Permanent` where a database in use is of a later release, and `Broken`."""
    try:
        with closing(open_for_reading(path)) as connection:
            known.check(version_of(connection))
    except sqlite3.Error as error:
        raise Broken(f"{path} cannot be read: {error}") from error


def copy_shard(source: Path, target: Path, copy_file: CopyFile) -> ShardCopy:
    """The shard in directory `source` as it stands now, into the directory `target`, which is there. Raises `Broken`."""
    copy = target / FILE
    copy_database(source / FILE, copy)
    from_bodies, to_bodies = BlobFiles(source / BODIES), BlobFiles(target / BODIES)
    vanished: list[str] = []
    try:
        with closing(_new(copy)) as connection:
            named = [message_id for (message_id,) in connection.execute(_FILES)]
            for message_id in named:
                try:
                    copy_file(from_bodies.path(message_id), to_bodies.path(message_id))
                except FileNotFoundError:
                    vanished.append(message_id)
            missing = _forget(source / FILE, connection, vanished)
            (messages,) = connection.execute("SELECT count(*) FROM content").fetchone()
            (jobs,) = connection.execute("SELECT count(*) FROM job").fetchone()
    except sqlite3.Error as error:
        raise Broken(f"{copy} cannot be read: {error}") from error
    return ShardCopy(messages=messages, jobs=jobs, bodies=len(named) - len(vanished), missing=missing)


def _forget(live: Path, copy: sqlite3.Connection, vanished: Iterable[str]) -> tuple[str, ...]:
    """Do in the copy what has been done in the shard since; the messages that it still says it holds."""
    missing = []
    for message_id in vanished:
        with closing(open_for_reading(live)) as connection:
            row = connection.execute(_OCTETS, (message_id,)).fetchone()
        if row is None:
            forget_message(copy, message_id)
        elif row[0]:
            missing.append(message_id)
        else:
            copy.execute(
                "UPDATE content SET rest = NULL, octets = 0 WHERE seq = (SELECT seq FROM history WHERE id = ?)",
                (message_id,),
            )
    return tuple(missing)


def _new(path: Path) -> sqlite3.Connection:
    """A file of ours alone: what is written goes into it and no WAL is left beside it."""
    create_private(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    return connection
