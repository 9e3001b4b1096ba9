"""The runner: takes jobs from the spool, walks messages, retries steps, and loses nothing (house: one message, inbound, step 8).

*Failure.* An exception that no action may raise is our own fault: it parks the job with its class and text, and the log has the
rest. `Broken` ends the runner: `run` raises it, and the leases are void when the spool is opened again.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from actions.attempts import Attempts
from actions.claims import Claims
from actions.destinations import Destinations
from actions.drive import Drive
from actions.loading import Books, Fresh, Loaded, find, load, load_patiently
from actions.lone_step import run_step
from actions.octets import OctetBudget
from actions.pauses import Pauses
from actions.protocol import Action, Parked, Prepend
from actions.recorder import Recorder
from actions.retry import Schedule
from actions.slots import Slots
from actions.targets import Targets
from actions.walk import Walk
from mail.counters import Counters
from spool.ports import Broken, Full, Job, JobChange, JobKind, JobState, MessageState, NotFound, Pause, Recorded, Spool

log = logging.getLogger("gatepost.actions")
_HELD_RECHECK_SECONDS = 0.05
_FRESH_OCTETS = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Per worker (semantics.md §6). `patience_seconds`: how long a walk waits for a step that does not hold it.

    `chance` gives random numbers from [0, 1). `held` says that others need the machine now: nothing is claimed then.
    """

    in_flight: int = 64
    octets_in_flight: int = 128 * 2**20
    per_destination: int = 16
    patience_seconds: float = 2.0
    full_wait_seconds: float = 1.0
    schedule: Schedule = field(default_factory=Schedule)
    chance: Callable[[], float] = random.random
    held: Callable[[], bool] = lambda: False


_TUNING = Tuning()


class Runner:
    """Made in the event loop that runs it. `books` gives a digest's compiled book, `environment` what `${NAME}` stands for."""

    def __init__(
        self,
        spool: Spool,
        *,
        books: Books,
        actions: Mapping[str, Action],
        prepend: Prepend,
        clock: Callable[[], datetime],
        environment: Mapping[str, str],
        tuning: Tuning = _TUNING,
        counters: Counters | None = None,
    ) -> None:
        self._spool = spool
        self._books = books
        self._clock = clock
        self._tuning = tuning
        self._pauses = Pauses(spool, broke=self._broke)
        self._destinations = Destinations(
            tuning.per_destination,
            clock=clock,
            left=self._go_on,
            changed=lambda: self._pauses.tell(self._destinations),
        )
        self._claims = Claims(spool, self._destinations, clock)
        self._attempts = Attempts(
            targets=Targets(actions, environment),
            prepend=prepend,
            environment=environment,
            clock=clock,
            destinations=self._destinations,
        )
        self._recorder = Recorder(
            spool,
            queued=self._go_on,
            ending=self._give_up_slot,
            stopping=self._is_stopping,
            full_wait_seconds=tuning.full_wait_seconds,
            counters=counters or Counters(),
        )
        self._drive = Drive(
            attempts=self._attempts,
            recorder=self._recorder,
            schedule=tuning.schedule,
            clock=clock,
            chance=tuning.chance,
            stopping=self._is_stopping,
            patience_seconds=tuning.patience_seconds,
        )
        self._octets = OctetBudget(tuning.octets_in_flight)
        self._slots = Slots(tuning.in_flight)
        self._leased: deque[Job] = deque()  # ours and not begun: no slot is free, or its destination is full
        self._fresh: dict[int, Fresh] = {}
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()
        self._stopping = False
        self._broken: Broken | None = None

    @property
    def backlog(self) -> int:
        """Jobs that were taken and are not begun."""
        return len(self._leased)

    def take(self, job: Job, fresh: Fresh | None = None) -> None:
        """A job that was just accepted, leased already. After `drain` it is left to the next start.

        `fresh` spares reading the message back; a large one, or one behind a backlog, is let go: waiting jobs hold no bodies.
        """
        self._quiet.clear()
        if fresh is not None and len(fresh.raw) <= _FRESH_OCTETS and len(self._leased) < self._tuning.in_flight:
            self._fresh[job.id] = fresh
        self._leased.append(job)
        self._start_leased()

    def wake(self) -> None:
        """Look at the spool again: jobs were changed from outside, or time moved. No destination stays paused."""
        self._quiet.clear()
        self._destinations.hurry()
        self._go_on()

    async def run(self) -> None:
        """Until `drain`. Raises `Broken` when the spool did."""
        while not self._stopping:
            self._wake.clear()
            self._start_leased()
            wait_seconds = await self._claim()
            if self._broken is not None:
                raise self._broken
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def idle(self) -> None:
        """Wait until nothing is under way and nothing is due but behind a pause; `run` must be running."""
        await self._quiet.wait()

    async def drain(self, grace_seconds: float = 10.0) -> None:
        """Begin nothing more; let attempts end for so long, then abandon them.

        Whatever is unfinished keeps its lease, which the next opening of the spool voids.
        """
        self._stopping = True
        self._wake.set()
        self._leased.clear()
        self._fresh.clear()
        if self._slots.tasks:
            await asyncio.wait(self._slots.tasks, timeout=grace_seconds)
        for task in self._slots.tasks:
            task.cancel()
        await asyncio.gather(*self._slots.tasks, return_exceptions=True)
        await self._attempts.stop()
        if self._destinations.pauses:
            await self._pauses.clear()

    def _is_stopping(self) -> bool:
        return self._stopping

    def _go_on(self) -> None:
        self._start_leased()
        self._wake.set()

    async def _claim(self) -> float | None:
        """Lease what is due and begin it; how long to wait if nothing wakes us, None: for ever."""
        if self._tuning.held():
            return _HELD_RECHECK_SECONDS
        room = self._slots.room(len(self._leased))
        if room <= 0:
            return None
        try:
            jobs = await self._claims.take(room)
        except Full:
            return self._tuning.full_wait_seconds
        except Broken as error:
            self._broken = error
            return 0.0
        self._leased.extend(jobs)
        self._start_leased()
        if self._claims.is_nothing_due and not self._slots.tasks and not self._leased and not self._wake.is_set():
            self._quiet.set()
        return self._claims.wait_seconds

    def _start_leased(self) -> None:
        """Begin what can begin; a job whose destination is full waits without taking a slot."""
        if not self._leased:
            return
        waiting: deque[Job] = deque()
        while self._leased and self._slots.is_one_free and not self._stopping:
            job = self._leased.popleft()
            place = "" if job.kind is JobKind.WALK or job.key in self._attempts.detached else job.destination
            if self._destinations.try_enter(place):
                self._start(job, place, self._work(job))
            elif (pause := self._destinations.pause(place)) is not None:
                self._start(job, "", self._wait_out(job, pause))
            else:
                waiting.append(job)
        self._leased.extendleft(reversed(waiting))

    def _start(self, job: Job, place: str, work: Coroutine[Any, Any, None]) -> None:
        self._quiet.clear()
        task = asyncio.create_task(self._guarded(job, work), name=job.key)
        self._slots.take(job.id, task)

        def ended(task: asyncio.Task[None]) -> None:
            self._slots.tasks.discard(task)
            self._destinations.leave(place)
            self._give_up_slot(job)

        task.add_done_callback(ended)

    def _give_up_slot(self, job: Job) -> None:
        """Nothing is left to do for the job but to write down its end, or not even that."""
        self._slots.give_up(job.id)
        self._start_leased()
        if self._slots.is_claim_worth(len(self._leased)):
            self._wake.set()

    async def _guarded(self, job: Job, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Broken as error:
            self._broken = error
        except Exception as error:
            if not (self._stopping and isinstance(error, Full)):
                await self._park(job, error)

    async def _work(self, job: Job) -> None:
        fresh = self._fresh.pop(job.id, None)
        if fresh is not None:
            await self._drive_on(job, fresh.loaded())
        elif job.kind is JobKind.HOLD:
            await self._recorder.end_hold(job)
        else:
            await self._load_and_drive(job)

    async def _wait_out(self, job: Job, pause: Pause) -> None:
        """A step whose destination is paused goes back, or ends if its time is over; it makes no attempt."""
        if job.expires_at is not None and job.expires_at <= self._clock():
            await self._load_and_drive(job, str(pause))
        else:
            change = JobChange(id=job.id, state=JobState.READY, last=str(pause), is_unmade=True)
            await self._recorder.record(Recorded(message_id=job.message_id, job=change))

    async def _load_and_drive(self, job: Job, paused: str = "") -> None:
        found = await find(self._spool, job)
        async with self._octets.hold(found.receipt.size):
            loading = partial(load, self._spool, self._books, job, found)
            loaded = await load_patiently(loading, lambda: self._stopping, self._tuning.full_wait_seconds)
            await self._drive_on(job, loaded, paused)

    async def _drive_on(self, job: Job, loaded: Loaded, paused: str = "") -> None:
        if job.kind is JobKind.WALK:
            await Walk(self._drive, job, loaded).run()
        else:
            await run_step(self._drive, job, loaded, paused)

    def _broke(self, error: Broken) -> None:
        self._broken = error
        self._wake.set()

    async def _park(self, job: Job, error: Exception) -> None:
        """Keep the job until an operator releases it."""
        if isinstance(error, Parked):
            reason = str(error)
            log.warning("parked %s: %s", job.key, reason)
        else:
            reason = f"{type(error).__name__}: {error}"
            log.error("parked %s: %s", job.key, reason, exc_info=error)
        try:
            was = (await self._spool.message(job.message_id)).state
            # A message refused in the session must stay known as that: its bounce steps send no notice.
            state = None if was is MessageState.REJECTED else MessageState.PARKED
            change = JobChange(id=job.id, state=JobState.PARKED, last=reason[:1000])
            await self._recorder.record(Recorded(message_id=job.message_id, job=change, state=state))
        except NotFound:
            log.error("job %s has no message any more", job.key)
        except Broken as broken:
            self._broken = broken
