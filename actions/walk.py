"""A message's walk through its rule set: step, attempt, record, until nothing is left (semantics.md §4).

A step that can change what follows holds the walk: while it fails, the walk's own job waits. Any other step that fails becomes its
own job, and so does one that takes longer than the drive's patience or finds its destination busy: nothing behind it is delayed.
A walk that a dead step ends (`on_failure: stop`) stays as a dead job, and goes on from that step when it is redriven; any other
dead step becomes a dead job of its own.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime

from actions.drive import Drive, expiry, given_up
from actions.hold import hold
from actions.ledger import APART, EXPIRES_AT, row_for
from actions.loading import Loaded
from actions.notices import notices
from actions.protocol import Parked
from mail.outcome import Outcome, Result
from mail.values import changed
from rules.machine import Evaluation
from rules.step import Step, is_answering
from spool.ports import Job, JobChange, JobKind, JobState, LedgerRow, NewJob, Pause, Recorded

# Their whole effect is in the rule machine: repeating them after a crash changes nothing, so they are recorded with what follows.
_PURE = frozenset({"add_header", "stop", "drop"})


class Walk:
    """One lease of a WALK job."""

    def __init__(self, drive: Drive, job: Job, loaded: Loaded) -> None:
        self._drive = drive
        self._job = job
        self._loaded = loaded
        self._evaluation: Evaluation = loaded.evaluation
        self._unrecorded: tuple[LedgerRow, ...] = ()
        self._recording: asyncio.Task[None] | None = None
        self._over = False  # the job was given back or ended

    async def run(self) -> None:
        try:
            if self._evaluation.step is None:
                await self._end(JobChange(id=self._job.id))
            while not self._over and not self._drive.stopping():
                # While draining the lease is left as it is: it is void when the spool is opened again.
                await self._take(self._evaluation.step)
        finally:
            await self._recorded()

    async def _take(self, step: Step | None) -> None:
        assert step is not None  # the walk is over when there is none
        earlier = self._failed_before(step)
        attempt = 1 if earlier is None else earlier.attempts + 1
        expires_at = expiry(step, self._drive.clock())
        if earlier is not None:
            expires_at = datetime.fromisoformat(earlier.data[EXPIRES_AT])
        destination = self._drive.attempts.destination(step)
        pause = self._drive.attempts.destinations.pause(destination) if step.holds else None
        if pause is not None:
            await self._stand_still(step, pause, attempt - 1, expires_at)
            return
        if earlier is not None:
            await self._drive.store_next(self._job, attempt, expires_at)
        try:
            outcome = await self._attempt(step, attempt, destination)
        except Parked as parked:
            if step.ordered or step.on_failure == "stop" or is_answering(step.spec):
                raise
            # Only this step waits for the operator; what others are to get does not.
            waiting = Outcome(result=Result.RETRYING, detail=str(parked))
            await self._go_apart(step, waiting, 0, self._drive.clock())
            return
        if outcome.result is Result.RETRYING:
            made = attempt if step.key in self._drive.attempts.detached else 0
            await self._go_apart(step, outcome, made, self._drive.clock())
        elif outcome.result is not Result.FAILED:
            await self._pass(step, outcome, attempt)
        else:
            retry_at = self._drive.retry_at(attempt, expires_at, outcome)
            if retry_at is None:
                await self._pass(step, given_up(outcome), attempt)
            elif step.holds:
                await self._hold(step, outcome, attempt, retry_at, expires_at)
            else:
                await self._go_apart(step, outcome, attempt, retry_at)

    def _failed_before(self, step: Step) -> LedgerRow | None:
        row = self._loaded.row(step)
        return row if row is not None and row.result is Result.FAILED else None

    async def _attempt(self, step: Step, attempt: int, destination: str) -> Outcome:
        """The outcome; RETRYING for a step that goes on by itself, under way (then it is detached) or not begun."""
        attempts = self._drive.attempts
        if step.holds:
            await attempts.destinations.enter(destination, self._drive.patience_seconds)
        elif not await attempts.destinations.enter_soon(destination):
            pause = attempts.destinations.pause(destination)
            detail = f"waiting: {destination} is busy" if pause is None else str(pause)
            return Outcome(result=Result.RETRYING, detail=detail)
        task = attempts.start(self._loaded, step, attempt, destination)
        await asyncio.wait({task}, timeout=None if step.holds else self._drive.patience_seconds)
        if task.done():
            return task.result()
        attempts.detached[step.key] = task
        return Outcome(result=Result.RETRYING, detail="still under way")

    async def _pass(self, step: Step, outcome: Outcome, attempt: int) -> None:
        """Walk on behind a final outcome."""
        dead = outcome.result is Result.DEAD
        stops = dead and step.on_failure == "stop"
        jobs: tuple[NewJob, ...] = ()
        if dead and not stops:
            # Due and expired: its first lease puts it among the dead, where it is listed and can be redriven.
            now = self._drive.clock()
            jobs = (self._own_job(step, outcome, attempt, not_before=now, expires_at=now),)
        jobs += hold(step, outcome)
        end = JobChange(id=self._job.id, state=JobState.DEAD, last=outcome.detail) if stops else None
        told = notices(self._drive, step, outcome)
        await self._advance(step, outcome, (self._row(step, outcome, attempt), *told.rows), jobs + told.jobs, end)

    async def _go_apart(self, step: Step, outcome: Outcome, attempt: int, retry_at: datetime) -> None:
        """Let the step go on as its own job, and walk on."""
        expires_at = expiry(step, self._drive.clock())
        job = self._own_job(step, outcome, attempt, not_before=retry_at, expires_at=expires_at)
        retrying = Outcome(result=Result.RETRYING, detail=outcome.detail, data=outcome.data)
        # A step that holds goes apart only when it waits for an operator; the walk goes on as if it had been given up.
        walked = changed(retrying, result=Result.DEAD) if step.holds else retrying
        await self._advance(step, walked, (self._row(step, retrying, attempt, {APART: "yes"}),), (job,), None)

    async def _hold(
        self,
        step: Step,
        outcome: Outcome,
        attempt: int,
        retry_at: datetime,
        expires_at: datetime,
        *,
        is_unmade: bool = False,
    ) -> None:
        """Give the walk back until the step is due again."""
        row = self._row(step, outcome, attempt, {EXPIRES_AT: expires_at.isoformat()})
        change = JobChange(
            id=self._job.id, state=JobState.READY, not_before=retry_at, last=outcome.detail, is_unmade=is_unmade
        )
        unit = Recorded(message_id=self._job.message_id, ledger=(*self._unrecorded, row), job=change)
        await self._recorded()
        await self._drive.recorder.record(unit)
        self._over = True

    async def _stand_still(self, step: Step, pause: Pause, made: int, expires_at: datetime) -> None:
        """Give the walk back until its destination is tried again: no attempt, but its time goes on."""
        outcome = Outcome(result=Result.FAILED, detail=str(pause))
        if made and expires_at <= self._drive.clock():
            await self._pass(step, given_up(outcome), made)
        else:
            again = min(self._drive.behind(pause), expires_at)
            await self._hold(step, outcome, made, again, expires_at, is_unmade=True)

    async def _advance(
        self,
        step: Step,
        outcome: Outcome,
        rows: tuple[LedgerRow, ...],
        jobs: tuple[NewJob, ...],
        end: JobChange | None,
    ) -> None:
        self._evaluation = self._evaluation.advance(outcome)
        self._unrecorded += rows
        if end is not None or self._evaluation.step is None:
            await self._end(end or JobChange(id=self._job.id), jobs)
        elif jobs or step.spec.type not in _PURE:
            unit = Recorded(message_id=self._job.message_id, ledger=self._unrecorded, new_jobs=jobs)
            self._unrecorded = ()
            await self._recorded()
            self._recording = asyncio.create_task(self._drive.recorder.record(unit))
            if step.holds or jobs:  # what follows rests on this outcome
                await self._recorded()

    async def _recorded(self) -> None:
        """Wait until what happened so far is durable: one unit at a time, while the next step is under way."""
        recording, self._recording = self._recording, None
        if recording is not None:
            await recording

    async def _end(self, change: JobChange, jobs: tuple[NewJob, ...] = ()) -> None:
        """The last outcome and the end of the walk are one unit."""
        unit = Recorded(message_id=self._job.message_id, ledger=self._unrecorded, job=change, new_jobs=jobs)
        self._drive.recorder.ending(self._job)
        await self._recorded()
        await self._drive.recorder.end_job(self._job, self._loaded, self._evaluation, unit)
        self._over = True

    def _row(self, step: Step, outcome: Outcome, attempt: int, notes: Mapping[str, str] | None = None) -> LedgerRow:
        return row_for(step, outcome, at=self._drive.clock(), attempts=attempt, notes=notes)

    def _own_job(
        self, step: Step, outcome: Outcome, attempt: int, *, not_before: datetime, expires_at: datetime
    ) -> NewJob:
        return NewJob(
            kind=JobKind.STEP,
            message_id=step.message_id,
            key=step.key,
            not_before=not_before,
            expires_at=expires_at,
            destination=self._drive.attempts.destination(step),
            evaluation=step.evaluation,
            attempts=attempt,
            last=outcome.detail,
        )
