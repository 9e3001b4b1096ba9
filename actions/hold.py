"""The hold of a quarantine: a job that is due when the hold ends by itself, and what ends it before.

While the job is there retention deletes nothing of its message. Each end is one unit: the step's row says what became of the hold,
the job goes, and a release queues a walk of its own that goes on behind the rule that held (`actions.loading.begun`).
"""

from datetime import datetime

from actions.ledger import HELD, HELD_UNTIL, RELEASED_AS
from mail.outcome import Outcome, Result
from mail.values import changed
from rules.step import Step
from spool.jobs import state_after
from spool.messages import next_walk
from spool.ports import (
    Job,
    JobChange,
    JobKind,
    JobQuery,
    LedgerRow,
    MessageState,
    NewJob,
    NotFound,
    Recorded,
    Spool,
)


def hold(step: Step, outcome: Outcome) -> tuple[NewJob, ...]:
    """The job to queue beside the outcome of a step that holds its message here; nothing for any other."""
    if outcome.result is not Result.DONE or HELD_UNTIL not in outcome.data:
        return ()
    until = datetime.fromisoformat(outcome.data[HELD_UNTIL])
    job = NewJob(
        kind=JobKind.HOLD,
        message_id=step.message_id,
        key=step.key,
        not_before=until,
        evaluation=step.evaluation,
        last=outcome.detail,  # never empty: a hold is no work that waits, and does not count for backpressure
    )
    return (job,)


async def held_row(spool: Spool, job: Job) -> LedgerRow:
    """The row of the step that holds. Raises `NotFound`."""
    for row in await spool.ledger(job.message_id):
        if f"{row.message_id}/{row.evaluation}/{row.rule}/{row.index}" == job.key and not row.recipient:
            return row
    raise NotFound(f"the ledger has no {job.key}")


async def ended(spool: Spool, job: Job, fate: str) -> Recorded:
    """The unit that ends a hold as `expired` or `deleted`: the message goes the way of all others."""
    row = await held_row(spool, job)
    left = [each for each in await spool.jobs(JobQuery(message_id=job.message_id)) if each.id != job.id]
    is_rejected = (await spool.message(job.message_id)).state is MessageState.REJECTED
    return Recorded(
        message_id=job.message_id,
        ledger=(changed(row, data={**row.data, HELD: fate}),),
        job=JobChange(id=job.id, was=job.state),
        state=None if is_rejected else state_after(left),
    )


async def released(spool: Spool, job: Job, now: datetime) -> Recorded:
    """The unit that lets a held message go on: an evaluation of its own for the recipients that were held."""
    row = await held_row(spool, job)
    message = await spool.message(job.message_id)
    walk = next_walk(job.message_id, message.evaluation + 1, now)
    data = {**row.data, HELD: "released", RELEASED_AS: str(walk.evaluation)}
    return Recorded(
        message_id=job.message_id,
        ledger=(changed(row, data=data),),
        job=JobChange(id=job.id, was=job.state),
        new_jobs=(walk,),
        state=None if message.state is MessageState.REJECTED else MessageState.ACTIVE,
        evaluation=walk.evaluation,
    )
