"""When a step is tried again: back-off with jitter inside SES's four hours (semantics.md §4). Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

RETRY_SECONDS = 4 * 3600.0  # SES: an action is retried for up to four hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`first_seconds` after the first failure, `factor` times as long after each further one, at most `cap_seconds`.

    `jitter` 0.2 spreads each delay over 80 % to 120 %, so that what failed together does not come back together.
    """

    first_seconds: float = 2.0
    factor: float = 3.0
    cap_seconds: float = 900.0
    jitter: float = 0.2

    def next_attempt(
        self,
        attempt: int,
        now: datetime,
        expires_at: datetime,
        *,
        chance: float,
        retry_after_seconds: float | None = None,
    ) -> datetime | None:
        """When to try after failed attempt number `attempt` (from 1); None: given up, the time is over.

        `chance` is from [0, 1). The last attempt falls on `expires_at` itself, however long the destination asked us to wait.
        """
        if now >= expires_at:
            return None
        # The exponent is bounded because a float power overflows long before four hours of attempts have passed.
        delay = min(self.first_seconds * self.factor ** min(attempt - 1, 32), self.cap_seconds)
        delay *= 1 + self.jitter * (2 * chance - 1)
        return min(now + timedelta(seconds=max(delay, min(retry_after_seconds or 0.0, RETRY_SECONDS * 6))), expires_at)
