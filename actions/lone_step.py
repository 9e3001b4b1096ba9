"""A step that retries as its own job, apart from its walk (semantics.md §4)."""

import asyncio

from actions.drive import Drive, given_up
from actions.ledger import APART, row_for
from actions.loading import Loaded
from actions.notices import NO_NOTICES, Notices, notices
from actions.topic_notification import notification_step, notifies
from mail.errors import Misuse
from mail.outcome import Control, Outcome, Result
from mail.values import changed
from rules.step import Step
from spool.ports import Job, JobChange, JobState, LedgerRow, Recorded


async def run_step(drive: Drive, job: Job, loaded: Loaded, paused: str = "") -> None:
    """One lease of a STEP job; its place at the destination is the runner's affair. `paused`: why it makes no attempt."""
    step, row = _find(job, loaded)
    expires_at = job.expires_at or drive.clock()
    if row.result is Result.DEAD and expires_at <= drive.clock():
        return await _end(
            drive, job, loaded, JobChange(id=job.id, state=JobState.DEAD, last=row.detail, is_unmade=True)
        )
    if row.result not in (Result.RETRYING, Result.DEAD):
        return await _end(drive, job, loaded, JobChange(id=job.id))
    if paused:
        attempt, outcome = row.attempts, Outcome(result=Result.FAILED, detail=paused)
    else:
        attempt, outcome = await _attempt(drive, job, loaded, step, row)
    unmade = attempt == row.attempts  # the walk has made and counted it, or none was made
    retry_at = drive.retry_at(attempt, expires_at, outcome) if outcome.result is Result.FAILED else None
    if retry_at is not None:
        retrying = changed(outcome, result=Result.RETRYING)
        change = JobChange(id=job.id, state=JobState.READY, not_before=retry_at, last=outcome.detail, is_unmade=unmade)
        unit = Recorded(message_id=job.message_id, ledger=(_row(drive, step, retrying, attempt),), job=change)
        return await drive.recorder.record(unit)
    if outcome.result is Result.FAILED:
        outcome = given_up(outcome)
    dead = outcome.result is Result.DEAD
    change = JobChange(id=job.id, state=JobState.DEAD if dead else None, last=outcome.detail, is_unmade=unmade)
    return await _end(drive, job, loaded, change, (_row(drive, step, outcome, attempt),), notices(drive, step, outcome))


def _find(job: Job, loaded: Loaded) -> tuple[Step, LedgerRow]:
    for trace in loaded.evaluation.steps:
        steps = (trace.step, notification_step(trace.step)) if notifies(trace.step) else (trace.step,)
        for step in steps:
            row = loaded.row(step)
            if step.key == job.key and row is not None:
                return step, row
    raise Misuse(f"the walk has not reached {job.key}")


async def _attempt(drive: Drive, job: Job, loaded: Loaded, step: Step, row: LedgerRow) -> tuple[int, Outcome]:
    """The attempt that the walk left under way, or a new one."""
    task = drive.attempts.detached.pop(step.key, None)
    attempt = row.attempts if task is not None else row.attempts + 1
    if task is None:
        if row.attempts and job.expires_at is not None:
            await drive.store_next(job, attempt, job.expires_at)
        task = drive.attempts.start(loaded, step, attempt, "")
    await asyncio.wait({task})
    return attempt, task.result()


def _row(drive: Drive, step: Step, outcome: Outcome, attempt: int) -> LedgerRow:
    # The walk went on without it, so what a function says now can steer nothing any more.
    apart = changed(outcome, control=Control.CONTINUE)
    return row_for(step, apart, at=drive.clock(), attempts=attempt, notes={APART: "yes"})


async def _end(
    drive: Drive,
    job: Job,
    loaded: Loaded,
    change: JobChange,
    ledger: tuple[LedgerRow, ...] = (),
    told: Notices = NO_NOTICES,
) -> None:
    unit = Recorded(message_id=job.message_id, ledger=(*ledger, *told.rows), job=change, new_jobs=told.jobs)
    drive.recorder.ending(job)
    await drive.recorder.end_job(job, loaded, loaded.evaluation, unit)
