"""All shards of a spool, to look at only: for commands, beside a running server or without one.

Each call opens what it needs and closes it: no transaction outlives a call, so the server's WAL is never held back.
"""

import asyncio
import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from mail.ids import shard_of
from mail.octets import Octets, whole
from mail.values import changed
from spool import history, jobs, messages
from spool.blobs import BlobFiles
from spool.formats import version_of
from spool.naming import Named, naming
from spool.ports import (
    HistoryQuery,
    HistoryRow,
    Job,
    JobQuery,
    JobState,
    LedgerRow,
    MessageState,
    NotFound,
    StoredMessage,
)
from spool.schema import reading
from spool.shard_lock import BODIES, FILE, SHARDS, shard_directory
from spool.standing import Standing, added_up, standing


class SpoolReader:
    """The reading half of `Spool`, over every shard; ids say which one to open. `Malformed`: not an id at all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def message(self, message_id: str) -> StoredMessage:
        return await asyncio.to_thread(reading, self._file(message_id), messages.select, message_id)

    async def content(self, message_id: str) -> Octets:
        path = self._file(message_id)
        small = await asyncio.to_thread(reading, path, messages.select_body, message_id)
        return small if small is not None else await asyncio.to_thread(BlobFiles(path.parent / BODIES).open, message_id)

    async def body(self, message_id: str) -> bytes:
        return await asyncio.to_thread(whole, await self.content(message_id))

    async def ledger(self, message_id: str) -> list[LedgerRow]:
        return await asyncio.to_thread(reading, self._file(message_id), messages.select_ledger, message_id)

    async def jobs(self, query: JobQuery) -> list[Job]:
        """As `Spool.jobs`; a ready job whose destination is paused says that in place of its last error."""
        found: list[Job] = []
        for path in self._files():
            found += await asyncio.to_thread(reading, path, _jobs, query)
        return sorted(found, key=lambda job: job.id)[: query.limit]

    async def find(self, query: HistoryQuery) -> list[tuple[HistoryRow, MessageState | None]]:
        history.check_outcome(query.outcome)
        shards = [await asyncio.to_thread(reading, path, history.find, query) for path in self._files()]
        merged = heapq.merge(*shards, key=lambda found: found[0].at, reverse=True)
        return list(merged)[: query.limit]

    async def naming(self, spellings: Sequence[str]) -> list[Named]:
        """The transactions that name an address in one of these spellings; every row of history is looked at."""
        found: list[Named] = []
        for path in self._files():
            found += await asyncio.to_thread(reading, path, naming, spellings)
        return sorted(found, key=lambda named: named.row.at)

    async def rule_books(self) -> frozenset[str]:
        """The digests of every rule book that some message refers to (`RuleBooks.forget`)."""
        found: set[str] = set()
        for path in self._files():
            found |= await asyncio.to_thread(reading, path, _rule_books)
        return frozenset(found)

    async def standing(self) -> Standing:
        """What waits, over all shards."""
        return added_up([await asyncio.to_thread(reading, path, standing) for path in self._files()])

    def shards(self) -> list[int]:
        """The shards that exist, in order."""
        return [int(path.parent.name) for path in self._files()]

    def _files(self) -> Iterator[Path]:
        yield from sorted((self._directory / SHARDS).glob(f"[0-9]*/{FILE}"), key=lambda path: int(path.parent.name))

    def _file(self, message_id: str) -> Path:
        path = shard_directory(self._directory, shard_of(message_id)) / FILE
        if not path.exists():
            raise NotFound(f"no message {message_id}")
        return path


def open_reader(directory: Path) -> SpoolReader:
    return SpoolReader(directory)


def _jobs(connection: sqlite3.Connection, query: JobQuery) -> list[Job]:
    # A shard of format 1, which only a server brings up, knows no pauses.
    known = jobs.select_pauses(connection) if version_of(connection) > 1 else []
    pauses = {pause.destination: str(pause) for pause in known}
    return [
        changed(job, last=pauses[job.destination]) if job.state is JobState.READY and job.destination in pauses else job
        for job in jobs.select(connection, query)
    ]


def _rule_books(connection: sqlite3.Connection) -> set[str]:
    return {digest for (digest,) in connection.execute("SELECT DISTINCT rule_book FROM history WHERE rule_book <> ''")}
