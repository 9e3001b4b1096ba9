"""The state of a message when a job of it has ended (docs/operations.md has the table; semantics.md §3). Pure."""

from collections.abc import Iterable

from mail.outcome import Result
from spool.ports import Job, JobKind, JobState, MessageState


def state_after(
    results: Iterable[Result], *, handled: bool, others: Iterable[Job], was: MessageState, is_held: bool = False
) -> MessageState | None:
    """The state to record; None leaves it as it is.

    `results` are of every step of the evaluation, `others` the message's other jobs; `is_held`: a hold is queued with this one's
    end. A walk that is not finished decides for itself later; a message that was refused in the session stays so unless a step
    of it still needs care.
    """
    jobs, found = list(others), set(results)
    if any(job.state is JobState.PARKED for job in jobs):
        return MessageState.PARKED
    walks = [job for job in jobs if job.kind is JobKind.WALK]
    if any(job.state is JobState.DEAD for job in walks):
        return MessageState.DEAD
    if walks:
        return None
    steps = [job.state for job in jobs if job.kind is JobKind.STEP]
    if Result.DEAD in found or JobState.DEAD in steps:
        return MessageState.DEAD
    if found & {Result.RETRYING, Result.FAILED}:
        return MessageState.RETRYING
    if was is MessageState.REJECTED:
        return None
    if is_held or any(job.kind is JobKind.HOLD for job in jobs):
        return MessageState.QUARANTINED
    if handled:
        return MessageState.DONE
    return MessageState.SUPPRESSED if Result.SUPPRESSED in found else MessageState.UNHANDLED
