"""The SQLite spool: one directory, one database file, one writer (semantics.md §6).

What it keeps beside the port's contract: reads of one message run on the loop, on their own connection, because they are point
reads of what was just written; whatever may scan (find, jobs, sweep) and every large file is worked on in threads.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from mail.counters import Histogram
from mail.octets import Octets, whole
from spool import erase, history, jobs, messages
from spool.arriving import Arrivals, ArrivingFile
from spool.ballast import Ballast, Room
from spool.blobs import BlobFiles
from spool.ports import (
    ANY,
    Accepted,
    Broken,
    Erased,
    Full,
    HistoryQuery,
    HistoryRow,
    Job,
    JobQuery,
    JobState,
    LedgerRow,
    Load,
    MessageState,
    NewJob,
    Pause,
    Recorded,
    Retention,
    StoredMessage,
    Swept,
    Wanted,
)
from spool.retention import Sweeper
from spool.schema import open_for_reading, reading
from spool.shard_lock import BODIES, FILE, ShardLock
from spool.units import Change, note_failure
from spool.writer import LAZY_SECONDS, Writer

T = TypeVar("T")
_KNOWN_ANSWERS = 50_000
_UNWAITED_ROWS = 1024  # so many refused transactions may wait for the next group before a session waits with them

_log = logging.getLogger("gatepost.spool")


class SqliteSpool:
    """One shard, opened; `spool.database.open_spool` makes it. Belongs to the event loop that uses it."""

    def __init__(
        self,
        directory: Path,
        shard: int,
        lock: ShardLock,
        connection: sqlite3.Connection,
        ballast: Ballast,
        *,
        monotonic: Callable[[], float],
        on_broken: Callable[[Broken], None] | None,
        commit_seconds: Histogram,
    ) -> None:
        self.shard = shard
        self._path = directory / FILE
        self._lock = lock
        self._monotonic = monotonic
        self._on_broken = on_broken
        self._connection = connection
        self._ballast = ballast
        self._ids = jobs.JobIds(self._connection, shard)
        self._reading = open_for_reading(self._path)
        self._blobs = BlobFiles(directory / BODIES)
        self._blobs.remove_orphans(lambda name: messages.stands_in_file(self._connection, name))
        self._ready = jobs.waiting(self._connection)
        self._leased = 0
        self._due: datetime | None = None
        self._knows_due = False
        self._octets = messages.kept_octets(self._connection)
        self._known: dict[str, int] = {}
        self._large: set[asyncio.Task[Job | None]] = set()
        self._room = Room(directory)
        self._writer = Writer(
            connection,
            monotonic=monotonic,
            make_room=ballast.drop,
            landed=self._landed,
            broke=self._broke,
            commit_seconds=commit_seconds,
        )
        self._arrivals = Arrivals(directory / BODIES, self._writer.fail)
        self._sweeper = Sweeper(self._writer, self._blobs, octets=lambda: self._octets, forget=self._known.clear)

    def arriving(self) -> ArrivingFile:
        self._check_room()
        return self._arrivals.begin()

    async def accept(self, unit: Accepted, *, company: int = 1) -> Job | None:
        self._check_room()
        if not unit.keep_body or len(unit.raw) <= messages.IN_DATABASE_OCTETS:
            return await self._accept(unit, company)
        task = asyncio.create_task(self._accept_large(unit, company))
        self._large.add(task)
        task.add_done_callback(self._large.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._give_back_task)
            raise

    async def _accept_large(self, unit: Accepted, company: int) -> Job | None:
        try:
            await asyncio.to_thread(self._blobs.keep, unit.message_id, unit.raw)
        except Broken as failure:
            self._writer.fail(failure)
            raise
        try:
            return await self._accept(unit, company)
        except Broken:
            raise  # it may have been committed: the file stays, and the next opening decides
        except Exception:
            await asyncio.to_thread(self._blobs.remove, [unit.message_id])
            raise

    def _accept(self, unit: Accepted, company: int) -> "asyncio.Future[Job | None]":
        day = messages.used_day(unit.history.at)
        job_id = self._ids.take() if unit.job is not None else 0

        def apply(connection: sqlite3.Connection) -> "Change[Job | None]":
            known = self._known
            fresh = {digest: records for digest, records in unit.answers.items() if known.get(digest, -1) < day}
            messages.insert(connection, unit, fresh)
            job = None if unit.job is None else jobs.insert(connection, job_id, unit.job, leased=True)
            octets = len(unit.raw) if unit.keep_body else 0
            after = (lambda: self._remember(fresh, day)) if fresh else None
            return Change(result=job, leased=int(job is not None), octets=octets, after=after, moves_due=False)

        patience = self._writer.patience(company)
        return self._writer.submit(
            apply, first=True, patience=patience, octets=len(unit.raw), abandoned=self._give_back
        )

    async def log(self, row: HistoryRow) -> None:
        def apply(connection: sqlite3.Connection) -> "Change[None]":
            history.log(connection, row)
            return Change(result=None, moves_due=False)

        crowded = self._writer.queued_units > _UNWAITED_ROWS
        future = self._writer.submit(apply, patience=0 if crowded else LAZY_SECONDS)
        if crowded:
            await future
        else:
            future.add_done_callback(note_failure)

    async def claim(self, now: datetime, limit: int, wanted: Wanted = ANY) -> list[Job]:
        due = await self.next_due()
        if due is None or due > now:
            return []
        return await self._writer.submit(
            lambda connection: jobs.claim(connection, now, limit, wanted),
            abandoned=lambda found: self._release([job.id for job in found]),
        )

    async def pauses_are(self, pauses: Sequence[Pause]) -> None:
        await self._writer.submit(lambda connection: jobs.pauses_are(connection, pauses))

    async def next_due(self) -> datetime | None:
        if not self._knows_due:
            self._due, self._knows_due = self._read(jobs.next_due), True
        return self._due

    async def record(self, unit: Recorded) -> None:
        patience = self._writer.patience()
        await self._writer.submit(lambda opened: messages.record(opened, unit, self._ids), patience=patience)

    async def message(self, message_id: str) -> StoredMessage:
        return self._read(messages.select, message_id)

    async def content(self, message_id: str) -> Octets:
        small = self._read(messages.select_body, message_id)
        return small if small is not None else await asyncio.to_thread(self._blobs.open, message_id)

    async def body(self, message_id: str) -> bytes:
        return await asyncio.to_thread(whole, await self.content(message_id))

    async def ledger(self, message_id: str) -> list[LedgerRow]:
        return self._read(messages.select_ledger, message_id)

    async def jobs(self, query: JobQuery) -> list[Job]:
        if query.message_id is not None:
            return self._read(jobs.select, query)
        self._check()
        return await asyncio.to_thread(reading, self._path, jobs.select, query)

    async def change_jobs(self, ids: Sequence[int], state: JobState | None, now: datetime) -> int:
        return await self._writer.submit(lambda connection: jobs.change_many(connection, ids, state, now))

    async def re_evaluate(self, message_id: str, rule_book: str, now: datetime) -> NewJob:
        return await self._writer.submit(
            lambda connection: messages.re_evaluate(connection, message_id, rule_book, now, self._ids)
        )

    async def find(self, query: HistoryQuery) -> list[tuple[HistoryRow, MessageState | None]]:
        await self._writer.flush()
        return await asyncio.to_thread(reading, self._path, history.find, query)

    async def sweep(self, now: datetime, retention: Retention) -> Swept:
        swept = await self._sweeper.sweep(now, retention)
        await asyncio.to_thread(self._ballast.lay)
        return swept

    async def erase(self, ids: Sequence[str]) -> Erased:
        await self._writer.flush()
        done = await self._writer.submit(lambda connection: erase.erase(connection, ids), alone=True)
        await asyncio.to_thread(self._blobs.remove, done.files)
        return done

    async def scrub(self) -> bool:
        while await self._writer.submit(erase.scrub, alone=True):
            pass
        return await self._writer.submit(erase.empty_log, alone=True, bare=True)

    def load(self) -> Load:
        free_octets, total_octets = self._room.look(self._monotonic())
        return Load(
            ready_jobs=self._ready,
            leased_jobs=self._leased,
            queued_units=self._writer.queued_units,
            queued_octets=self._writer.queued_octets,
            oldest_wait_seconds=self._writer.oldest_wait_seconds,
            free_octets=free_octets,
            total_octets=total_octets,
            cap_reached=self._sweeper.cap_reached or not self._ballast.is_held,
        )

    async def close(self) -> None:
        """Finish what was submitted and let the shard go; again: nothing."""
        if self._large:
            await asyncio.wait(self._large)
        if await self._writer.close():
            self._reading.close()
            await asyncio.to_thread(self._arrivals.close)
            await asyncio.to_thread(self._connection.close)
            self._lock.release()

    def _check(self) -> None:
        if self._writer.failure is not None:
            raise Broken(str(self._writer.failure))

    def _check_room(self) -> None:
        self._check()
        if not self._ballast.is_held:
            raise Full("the disk is full: what is left is for what was accepted before")

    def _read(self, what: Callable[..., T], *arguments: Any) -> T:
        self._check()
        try:
            return what(self._reading, *arguments)
        except sqlite3.Error as error:
            failure = Broken(f"the store failed: {error}")
            self._writer.fail(failure)
            raise failure from error

    def _landed(self, change: Change[Any]) -> None:
        self._ready += change.ready
        self._leased += change.leased
        self._octets += change.octets
        self._knows_due = self._knows_due and not change.moves_due

    def _broke(self, failure: Broken) -> None:
        _log.critical("shard %02d is closed: %s", self.shard, failure)
        if self._on_broken is not None:
            self._on_broken(failure)

    def _remember(self, fresh: dict[str, tuple[str, ...]], day: int) -> None:
        """These answers are on the disk now; before the commit nobody could rely on it."""
        if len(self._known) > _KNOWN_ANSWERS:
            self._known.clear()
        self._known.update(dict.fromkeys(fresh, day))

    def _give_back_task(self, task: "asyncio.Task[Job | None]") -> None:
        if not task.cancelled() and task.exception() is None:
            self._give_back(task.result())

    def _give_back(self, job: Job | None) -> None:
        if job is not None:
            self._release([job.id])

    def _release(self, ids: list[int]) -> None:
        self._writer.submit(lambda connection: jobs.release(connection, ids)).add_done_callback(note_failure)
