"""Writing down what happened: every unit durable before the runner goes on, whatever the disk says (semantics.md §6)."""

import asyncio
import logging
from collections.abc import Callable
from weakref import WeakValueDictionary

from actions.hold import ended
from actions.ledger import of_evaluation
from actions.loading import Loaded
from actions.message_state import state_after
from actions.topic_notification import notifies
from mail.counters import Counters
from mail.outcome import Result
from mail.values import changed
from rules.machine import Evaluation
from spool.ports import Full, Job, JobKind, JobQuery, JobState, MessageState, Recorded, Spool

log = logging.getLogger("gatepost.actions")


class Recorder:
    """`queued` is called when a job was queued, `ending` when a job's end is all that is left to record.

    `stopping`: the runner drains, and a full disk is no longer waited for. `counters` get every outcome of a step once it is
    durable, and the rules that a finished walk matched.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        queued: Callable[[], None],
        ending: Callable[[Job], None],
        stopping: Callable[[], bool],
        full_wait_seconds: float,
        counters: Counters,
    ) -> None:
        self._spool = spool
        self._queued = queued
        self.ending = ending
        self._stopping = stopping
        self._full_wait_seconds = full_wait_seconds
        self._counters = counters
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def record(self, unit: Recorded) -> None:
        """Durable when this returns. The effect has happened, so a full disk is waited for; raises `Full` only while stopping."""
        while True:
            try:
                await self._spool.record(unit)
                break
            except Full:
                if self._stopping():
                    raise
                log.warning("no room to record an outcome of %s, trying again", unit.message_id)
                await asyncio.sleep(self._full_wait_seconds)
        for row in unit.ledger:
            self._counters.add("steps_total", action=row.action, outcome=row.result)
        if unit.new_jobs or (unit.job is not None and unit.job.state is JobState.READY):
            self._queued()

    async def end_job(self, job: Job, loaded: Loaded, evaluation: Evaluation, unit: Recorded) -> None:
        """Record the unit that ends `job`, with the state that its message is in then.

        Two jobs of one message may end at once: only under this lock does the second see what the first recorded.
        """
        async with self._locks.setdefault(job.message_id, asyncio.Lock()):
            await self.record(changed(unit, state=await self._state(job, loaded, evaluation, unit)))
        if job.kind is JobKind.WALK:
            for decided in evaluation.decided:
                if decided.trace.recipients:
                    self._counters.add("rule_matches_total", rule=decided.trace.name)

    async def end_hold(self, job: Job) -> None:
        """Its time is over (`actions.hold`)."""
        async with self._locks.setdefault(job.message_id, asyncio.Lock()):
            await self.record(await ended(self._spool, job, "expired"))

    async def _state(self, job: Job, loaded: Loaded, evaluation: Evaluation, unit: Recorded) -> MessageState | None:
        results = {(trace.step.position, trace.step.part): trace.outcome.result for trace in evaluation.steps}
        apart = Result.RETRYING in results.values() or any(notifies(trace.step) for trace in evaluation.steps)
        others: list[Job] = []
        # A walk none of whose steps went on apart has nothing beside it, which spares it two reads.
        if job.kind is JobKind.STEP or apart or job.evaluation or _holds(evaluation):
            rows = of_evaluation(await self._spool.ledger(job.message_id), job.evaluation)
            results |= {(row.position, row.recipient): row.result for row in rows}
            jobs = await self._spool.jobs(JobQuery(message_id=job.message_id))
            others = [other for other in jobs if other.id != job.id]
        results |= {(row.position, row.recipient): row.result for row in unit.ledger}
        is_held = any(new.kind is JobKind.HOLD for new in unit.new_jobs)
        return state_after(
            results.values(), handled=evaluation.handled, others=others, was=loaded.state, is_held=is_held
        )


def _holds(evaluation: Evaluation) -> bool:
    return any(trace.step.spec.type == "quarantine" for trace in evaluation.steps)
