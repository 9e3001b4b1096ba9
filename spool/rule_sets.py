"""Versions of the rule book and the pointer to the active one, in one small SQLite file for all shards (semantics.md §4).

Parent, workers and commands open it at once; each call is one short transaction, so they wait for each other, ten seconds at most.
"""

import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mail.errors import Misuse
from spool.formats import Format
from spool.ports import BookVersion, Broken, Full, NotFound
from spool.schema import create_private, is_full, micros, moment

_TABLES = """
CREATE TABLE book (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE, content BLOB NOT NULL, origin TEXT NOT NULL,
    loaded_at INTEGER NOT NULL);
CREATE TABLE pointer (
    only INTEGER PRIMARY KEY CHECK (only = 1), digest TEXT NOT NULL REFERENCES book (digest), pinned INTEGER NOT NULL);
"""
BOOKS = Format(name="file of rule books", tables=_TABLES)
_SELECT = (
    "SELECT b.digest, b.origin, b.loaded_at, p.digest IS NOT NULL, ifnull(p.pinned, 0)"
    " FROM book b LEFT JOIN pointer p ON p.digest = b.digest"
)


class SqliteRuleBooks:
    """`open_rule_books` makes it. Every call blocks for as long as one small commit takes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_private(path)
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=10.0, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        try:
            BOOKS.bring_up(self._connection)
        except BaseException:
            self._connection.close()
            raise

    def put(self, digest: str, content: bytes, origin: str, now: datetime) -> None:
        self._change(
            "INSERT INTO book (digest, content, origin, loaded_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (digest, content, origin, micros(now)),
        )
        if self.content(digest) != content:
            raise Misuse(f"another rule book bears the digest {digest}")

    def content(self, digest: str) -> bytes:
        row = self._read("SELECT content FROM book WHERE digest = ?", (digest,))
        if not row:
            raise NotFound(f"no rule book {digest}")
        return bytes(row[0][0])

    def active(self) -> BookVersion | None:
        rows = self._read(f"{_SELECT} WHERE p.digest IS NOT NULL", ())
        return _version(*rows[0]) if rows else None

    def activate(self, digest: str, *, pinned: bool) -> None:
        try:
            self._change("INSERT OR REPLACE INTO pointer VALUES (1, ?, ?)", (digest, int(pinned)))
        except sqlite3.IntegrityError as error:
            raise NotFound(f"no rule book {digest}") from error

    def unpin(self) -> None:
        self._change("UPDATE pointer SET pinned = 0", ())

    def versions(self) -> list[BookVersion]:
        return [_version(*row) for row in self._read(f"{_SELECT} ORDER BY b.seq DESC", ())]

    def forget(self, keep: frozenset[str]) -> int:
        marks = ", ".join("?" * len(keep))
        return self._change(
            f"DELETE FROM book WHERE digest NOT IN ({marks}) AND digest NOT IN (SELECT digest FROM pointer)",  # noqa: S608
            tuple(sorted(keep)),
        )

    def close(self) -> None:
        self._connection.close()

    def _change(self, statement: str, values: tuple[str | bytes | int, ...]) -> int:
        """One statement, durable when it returns. Raises `Full` or `Broken`."""
        try:
            return self._connection.execute(statement, values).rowcount
        except sqlite3.OperationalError as error:
            if is_full(error):
                raise Full("the disk is full") from error
            raise Broken(f"the store failed: {error}") from error

    def _read(self, statement: str, values: tuple[str, ...]) -> list[Any]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:
            raise Broken(f"the store failed: {error}") from error


class MemoryRuleBooks:
    """The twin."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._active: str | None = None
        self._pinned = False

    def put(self, digest: str, content: bytes, origin: str, now: datetime) -> None:
        version = BookVersion(digest=digest, origin=origin, loaded_at=now, active=False, pinned=False)
        if self._kept.setdefault(digest, _Kept(version, content)).content != content:
            raise Misuse(f"another rule book bears the digest {digest}")

    def content(self, digest: str) -> bytes:
        if digest not in self._kept:
            raise NotFound(f"no rule book {digest}")
        return self._kept[digest].content

    def active(self) -> BookVersion | None:
        return next((version for version in self.versions() if version.active), None)

    def activate(self, digest: str, *, pinned: bool) -> None:
        self.content(digest)
        self._active = digest
        self._pinned = pinned

    def unpin(self) -> None:
        self._pinned = False

    def versions(self) -> list[BookVersion]:
        kept = [each.version for each in reversed(self._kept.values())]
        return [
            replace(each, active=True, pinned=self._pinned) if each.digest == self._active else each for each in kept
        ]

    def forget(self, keep: frozenset[str]) -> int:
        gone = [digest for digest in self._kept if digest not in keep and digest != self._active]
        for digest in gone:
            del self._kept[digest]
        return len(gone)

    def close(self) -> None:
        """Nothing to let go."""


@dataclass(frozen=True, slots=True)
class _Kept:
    version: BookVersion
    content: bytes


def open_rule_books(path: Path) -> SqliteRuleBooks:
    """Open the file, making it if need be. `Permanent`: it is of a later release."""
    return SqliteRuleBooks(path)


def _version(digest: str, origin: str, loaded_at: int, active: int, pinned: int) -> BookVersion:
    return BookVersion(
        digest=digest, origin=origin, loaded_at=moment(loaded_at), active=bool(active), pinned=bool(pinned)
    )
