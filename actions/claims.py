"""When the spool is asked for jobs, and for which.

While the runner is nearly full, a claim waits a moment for more slots, since a claim of one costs as much as one of sixty.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

from actions.destinations import Destinations
from spool.ports import Job, Spool, Wanted

_WORTH_CLAIMING = 8  # slots
_FEW_WAIT_SECONDS = 0.02
_BLOCKED_RECHECK_SECONDS = 1.0
_JUST_DUE_SECONDS = 0.005


class Claims:
    """For one runner. `wait_seconds` is how long nothing will be due if nobody says otherwise; None: for ever.

    `is_nothing_due`: as things are, no job may begin now; what is due waits behind pauses.
    """

    def __init__(self, spool: Spool, destinations: Destinations, clock: Callable[[], datetime]) -> None:
        self._spool = spool
        self._destinations = destinations
        self._clock = clock
        self._claimed_at = 0.0
        self.is_nothing_due = False
        self.wait_seconds: float | None = 0.0

    async def take(self, free: int) -> list[Job]:
        """Jobs to begin now, at most so many, leased. Raises `Full` and `Broken`."""
        if self._nothing_until(await self._spool.next_due()):
            return []
        time = asyncio.get_running_loop().time()
        if free < _WORTH_CLAIMING and time - self._claimed_at < _FEW_WAIT_SECONDS:
            self.wait_seconds = _FEW_WAIT_SECONDS
            return []
        self._claimed_at = time
        jobs = await self._claimed(free)
        if jobs:
            self.wait_seconds = 0.0
        elif not self._nothing_until(await self._spool.next_due()):
            # Due and yet not claimed: its destination is full or paused, or it fell due just now.
            is_paused, is_full = bool(self._destinations.paused), bool(self._destinations.full)
            self.wait_seconds = _BLOCKED_RECHECK_SECONDS if is_paused or is_full else _JUST_DUE_SECONDS
            self.is_nothing_due = is_paused and not is_full  # time must pass before anything can be tried
        return jobs

    def _nothing_until(self, due: datetime | None) -> bool:
        self.wait_seconds = None if due is None else (due - self._clock()).total_seconds()
        self.is_nothing_due = self.wait_seconds is None or self.wait_seconds > 0
        return self.is_nothing_due

    async def _claimed(self, most: int) -> list[Job]:
        """What is due and has somewhere to go: a probe for each pause that is over, then the rest."""
        now, jobs = self._clock(), list[Job]()
        over = self._destinations.to_probe()
        for name in over:
            jobs += await self._spool.claim(now, 1, Wanted(only=name))
        wanted = Wanted(without=self._destinations.full, paused=self._destinations.paused.union(over))
        return jobs + await self._spool.claim(now, most, wanted)
