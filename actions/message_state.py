"""The state of a message when a job of it has ended (docs/operations.md has the table; semantics.md §3). Pure."""

from collections.abc import Iterable

from mail.outcome import Result
from spool.ports import Job, JobKind, JobState, MessageState


def state_after(
    results: Iterable[Result], *, handled: bool, others: Iterable[Job], was: MessageState
) -> MessageState | None:
    """The state to record; None leaves it as it is.

    `results` are of every step of the evaluation, `others` the message's other jobs. A walk that is not finished decides for
    itself later; a message that was refused in the session stays so unless a step of it still needs care.
    """
    jobs, found = list(others), set(results)
    if any(job.state is JobState.PARKED for job in jobs):
        return MessageState.PARKED
    walks = [job for job in jobs if job.kind is JobKind.WALK]
    if any(job.state is JobState.DEAD for job in walks):
        return MessageState.DEAD
    if walks:
        return None
    if Result.DEAD in found:
        return MessageState.DEAD
    if found & {Result.RETRYING, Result.FAILED}:
        return MessageState.RETRYING
    if was is MessageState.REJECTED:
        return None
    if handled:
        return MessageState.DONE
    return MessageState.SUPPRESSED if Result.SUPPRESSED in found else MessageState.UNHANDLED
