"""What walks and lone steps share: their means, and the few decisions that are the same for both (semantics.md §4)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from actions.attempts import Attempts
from actions.destinations import LONGEST_PAUSE_SECONDS
from actions.recorder import Recorder
from actions.retry import RETRY_SECONDS, Schedule
from mail.outcome import Outcome, Result
from mail.values import changed
from rules.step import Step
from spool.ports import Job, JobChange, JobState, Pause, Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """`chance` gives a random number from [0, 1); `stopping` says that the runner drains."""

    attempts: Attempts
    recorder: Recorder
    schedule: Schedule
    clock: Callable[[], datetime]
    chance: Callable[[], float]
    stopping: Callable[[], bool]
    patience_seconds: float

    def retry_at(self, attempt: int, expires_at: datetime, outcome: Outcome) -> datetime | None:
        """When to try again after this failed attempt; None: given up."""
        wait = outcome.retry_after_seconds
        return self.schedule.next_attempt(
            attempt, self.clock(), expires_at, chance=self.chance(), retry_after_seconds=wait
        )

    def behind(self, pause: Pause) -> datetime:
        """When to look again at what waits behind a pause: spread, so that not all of it comes at once."""
        now = self.clock()
        return max(pause.until, now) + timedelta(seconds=LONGEST_PAUSE_SECONDS * self.chance() / 2)

    async def store_next(self, job: Job, attempt: int, expires_at: datetime) -> None:
        """Put down when attempt number `attempt` is to be repeated, before it is made.

        If we die in it, the destination sees one attempt for each interval and not one for each restart.
        """
        at = self.schedule.next_attempt(attempt, self.clock(), expires_at, chance=self.chance())
        change = JobChange(id=job.id, state=JobState.LEASED, not_before=at or self.clock(), last=job.last)
        await self.recorder.record(Recorded(message_id=job.message_id, job=change))


def expiry(step: Step, now: datetime) -> datetime:
    """When a step that fails for the first time now is given up; `retry_for` is in seconds."""
    return now + timedelta(seconds=float(step.spec.parameters.get("retry_for", RETRY_SECONDS)))


def given_up(outcome: Outcome) -> Outcome:
    return changed(outcome, result=Result.DEAD, detail=f"given up: {outcome.detail}", retry_after_seconds=None)
