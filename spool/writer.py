"""The writer of one shard: units in groups, one fsync for all of a group (semantics.md §6).

Theory of operation. Callers on the event loop submit units. When no group is in flight, the loop takes what waits, accepts first,
opens a transaction and applies each unit; one thread then commits, which is where the waiting for the disk is, and wakes the loop
once for the whole group. Units that arrive meanwhile are the next group. Statements run on the loop because a thread would
have to win the interpreter lock back after each of them: beside a busy loop that was measured at 1.2 to 17 times fewer accepts a
second. Units that read much (a sweep) run whole in the thread, alone.

Failure. When a unit fails, the group is applied again with each unit under its own SAVEPOINT, and that one is answered alone.
(Savepoints copy every page that a unit touches, a third of the cost of an accept, and units hardly ever fail.) A full disk rolls
the group back, and the thread tries its units one by one, each in its own transaction. Any other error of SQLite closes the
writer for ever: every unit that waits gets `Broken`, because after a failed fsync nobody knows what is on the disk, and asking
again can only hide it.
"""

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from mail.counters import Histogram
from spool.pace import Company, Pace
from spool.ports import Broken, Full
from spool.schema import is_full
from spool.units import Change, Group, Unit, broken, is_of_the_store, take

T = TypeVar("T")
LAZY_SECONDS = 0.25
ALONE_SECONDS = 1.0  # so long a unit that runs alone stands back behind the others


class Writer:
    """Belongs to one event loop; `submit` and everything it calls back run there.

    `make_room` is asked, in the thread, when a unit other than an accept finds the disk full; True: try again. `landed` is told
    every change that became durable; `broke` the failure that closed the writer, once; `commit_seconds` what each
    group's commit took.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        monotonic: Callable[[], float],
        make_room: Callable[[], bool],
        landed: Callable[[Change[Any]], None],
        broke: Callable[[Broken], None],
        commit_seconds: Histogram,
    ) -> None:
        self._connection = connection
        self._monotonic = monotonic
        self._make_room = make_room
        self._landed = landed
        self._broke = broke
        self._commit_seconds = commit_seconds
        self._first: deque[Unit] = deque()
        self._then: deque[Unit] = deque()
        self._alone: deque[Unit] = deque()
        self._flying: Group | None = None
        self._pace = Pace(self._stage)
        self._company = Company()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = False
        self.failure: Broken | None = None
        self.queued_octets = 0
        self._work: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        apply: Callable[[sqlite3.Connection], Change[T]],
        *,
        first: bool = False,
        alone: bool = False,
        patience: float = 0.0,
        bare: bool = False,
        octets: int = 0,
        abandoned: Callable[[T], None] | None = None,
    ) -> "asyncio.Future[T]":
        """Queue a unit: an accept goes `first`, `alone` is run in the thread; with the next group or within `patience` seconds.

        `bare`, with `alone`: outside any transaction. `abandoned` gets the result, durable, when nobody waits for it any more.
        """
        loop = asyncio.get_running_loop()
        self._loop = loop
        future: asyncio.Future[T] = loop.create_future()
        if self.failure is not None:
            future.set_exception(Broken(str(self.failure)))
            return future
        line = self._first if first else self._alone if alone else self._then
        line.append(Unit(apply, future, octets, self._monotonic() + patience, abandoned, is_accept=first, is_bare=bare))
        self.queued_octets += octets
        self._pace.note(loop, patience)
        if self._flying is None:
            self._pace.arm(loop)
        return future

    def patience(self, expected: int = 0) -> float:
        """How long to wait for company: an outcome, or the next of so many accepts that are expected."""
        waiting, now = len(self._first) + 1, asyncio.get_running_loop().time()
        return self._company.of_accept(waiting, expected, now) if expected else self._company.of_outcome(now)

    @property
    def queued_units(self) -> int:
        flying = 0 if self._flying is None else len(self._flying.units)
        return len(self._first) + len(self._then) + len(self._alone) + flying

    @property
    def oldest_wait_seconds(self) -> float:
        heads = [line[0].due for line in (self._first, self._alone) if line]
        if self._flying is not None:
            heads.append(self._flying.units[0].due)
        return max(0.0, self._monotonic() - min(heads)) if heads else 0.0

    async def flush(self) -> None:
        """Write what waits now, lazy units too. Raises `Broken`."""
        if self.failure is not None or self._first or self._then or self._flying is not None:
            await self.submit(lambda _: Change(result=None))

    async def close(self) -> bool:
        """Write what waits and end the thread; False if it was ended before."""
        while self.failure is None and self.queued_units:
            with suppress(Broken, Full):
                await self.submit(lambda _: Change(result=None), alone=True)
        if self.failure is None:
            self.failure = Broken("the shard is closed")
        if self._ended:
            return False
        self._ended = True
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)
        return True

    def _stage(self) -> None:
        """Apply the next group's units and hand it to the thread; on the loop."""
        self._pace.clear()
        if self._flying is not None or self.failure is not None:
            return
        overdue = bool(self._alone) and self._monotonic() - self._alone[0].due > ALONE_SECONDS
        units = [] if overdue else take(self._first) + take(self._then)
        if units:
            group = Group(units, staged=False)
            try:
                group.staged = self._apply_all(units)
            except Broken as failure:
                group.failure = failure
        elif self._alone:
            group = Group([self._alone.popleft()], staged=False)
        else:
            return
        self._flying = group
        assert self._loop is not None
        if self._first or self._then or self._alone:
            self._pace.note(self._loop, 0)
        self._work.put(group)

    def _apply_all(self, units: list[Unit]) -> bool:
        """Apply every unit inside one open transaction; False (and none open) when the disk is full. Raises `Broken`."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if not self._apply_trusting(units):
                self._connection.execute("BEGIN IMMEDIATE")
                self._apply_each(units)
        except sqlite3.Error as error:
            if is_full(error):
                self._roll_back()
                return False
            raise broken(error) from error
        return True

    def _apply_trusting(self, units: list[Unit]) -> bool:
        """Apply the units without savepoints; False, and all rolled back, when one fails."""
        for unit in units:
            try:
                unit.change = unit.apply(self._connection)
            except Exception as error:
                if is_of_the_store(error):
                    raise
                self._roll_back()
                return False
        return True

    def _apply_each(self, units: list[Unit]) -> None:
        execute = self._connection.execute
        for unit in units:
            unit.change = None
            execute("SAVEPOINT unit")
            try:
                unit.change = unit.apply(self._connection)
            except Exception as error:
                if is_of_the_store(error):
                    raise
                unit.error = error
                execute("ROLLBACK TO unit")
            execute("RELEASE unit")

    def _roll_back(self) -> None:
        """SQLite may have rolled back by itself. Raises `Broken`."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise broken(error) from error

    def _run(self) -> None:
        while (group := self._work.get()) is not None:
            try:
                if group.failure is None:
                    began = self._monotonic()
                    self._commit(group)
                    group.seconds = self._monotonic() - began
            except Broken as failure:
                group.failure = failure
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._answer, group)
            except RuntimeError:
                return  # the loop is closed: nobody is left to be told, and what was committed is on the disk
            del group  # or the last message would stay in memory, or its file open, until the next one

    def _commit(self, group: Group) -> None:
        if group.staged:
            try:
                self._connection.execute("COMMIT")
                return
            except sqlite3.Error as error:
                if not is_full(error):
                    raise broken(error) from error
                self._roll_back()
        for unit in group.units:
            self._commit_alone(unit)
            if isinstance(unit.error, Full) and not unit.is_accept and self._make_room():
                self._commit_alone(unit)

    def _commit_alone(self, unit: Unit) -> None:
        unit.change = unit.error = None
        try:
            if not unit.is_bare:
                self._connection.execute("BEGIN IMMEDIATE")
            unit.change = unit.apply(self._connection)
            if not unit.is_bare:
                self._connection.execute("COMMIT")
        except Exception as error:
            unit.change = None
            if isinstance(error, sqlite3.Error) and is_of_the_store(error):
                if not is_full(error):
                    raise broken(error) from error
                error = Full("the disk is full")
            unit.error = error
            self._roll_back()

    def _answer(self, group: Group) -> None:
        """Tell every caller, once for the whole group; on the loop."""
        self._flying = None
        if group.failure is not None:
            for unit in group.units:
                if not unit.future.done():
                    unit.future.set_exception(Broken(str(group.failure)))
            self.fail(group.failure)
            return
        assert self._loop is not None
        accepts = sum(unit.is_accept for unit in group.units)
        self._company.answered(len(group.units), accepts, self._loop.time())
        self._commit_seconds.observe(group.seconds)
        for unit in group.units:
            self.queued_octets -= unit.octets
            if unit.change is not None:
                self._settle(unit, unit.change)
            elif not unit.future.done():
                assert unit.error is not None
                unit.future.set_exception(unit.error)
        self._pace.arm(self._loop)

    def _settle(self, unit: Unit, change: Change[Any]) -> None:
        self._landed(change)
        if change.after is not None:
            change.after()
        if not unit.future.done():
            unit.future.set_result(change.result)
        elif unit.abandoned is not None:
            unit.abandoned(change.result)

    def fail(self, failure: Broken) -> None:
        """Close for ever: what waits and what comes gets `Broken`."""
        if self.failure is not None:
            return
        self.failure = failure
        for unit in (*self._first, *self._then, *self._alone):
            if not unit.future.done():
                unit.future.set_exception(Broken(str(failure)))
        self._first.clear()
        self._then.clear()
        self._alone.clear()
        self._broke(failure)
