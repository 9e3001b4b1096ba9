"""What is queued beside the outcome of an action that was done: the telling of its topic, in the same unit (semantics.md §4)."""

from dataclasses import dataclass

from actions.drive import Drive, expiry
from actions.ledger import APART, row_for
from actions.topic_notification import notification_step, notifies
from mail.outcome import Outcome, Result
from rules.step import Step
from spool.ports import JobKind, LedgerRow, NewJob

_QUEUED = Outcome(result=Result.RETRYING, detail="queued")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    rows: tuple[LedgerRow, ...] = ()
    jobs: tuple[NewJob, ...] = ()


NO_NOTICES = Notices()


def notices(drive: Drive, step: Step, outcome: Outcome) -> Notices:
    """Nothing for an action that was not done, or that names no topic."""
    if outcome.result is not Result.DONE or not notifies(step):
        return NO_NOTICES
    told, now = notification_step(step), drive.clock()
    job = NewJob(
        kind=JobKind.STEP,
        message_id=step.message_id,
        key=told.key,
        not_before=now,
        expires_at=expiry(told, now),
        destination=drive.attempts.destination(told),
        evaluation=step.evaluation,
    )
    return Notices(rows=(row_for(told, _QUEUED, at=now, attempts=0, notes={APART: "yes"}),), jobs=(job,))
