"""How each destination fares, so that a slow or dead one holds up nobody else and costs nobody an attempt.

Theory of operation. A destination has so many places; an attempt holds one. Whoever comes to one that is full goes away, unless a
place is likely to be free in a moment: attempts there have lately been short, and few wait already.

After `OPENS_AFTER` failures in a row, whoever's they were, the destination is paused: nobody is let in until the pause is over.
Then one attempt is, as a probe. Any answer but a failure ends all of it; a failure pauses it again, for twice as long. What waits
behind a pause makes no attempt, so its retries are not used up, and expires when it would.

*Failure.* An attempt that never ends keeps its place.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mail.outcome import Outcome, Result
from spool.ports import Pause

OPENS_AFTER = 5
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0  # a probe a minute costs nobody anything
LONGEST_ASKED_SECONDS = 900.0  # what a destination may ask for (Retry-After)
_SOON_SECONDS = 0.1
_LATELY = 8  # attempts over which the time of one is averaged


@dataclass(slots=True)
class _Standing:
    busy: int = 0
    waiters: "deque[asyncio.Future[None]]" = field(default_factory=deque)
    took_seconds: float = 0.0
    failures: int = 0  # in a row
    last: str = ""
    pause_seconds: float = 0.0
    until: datetime | None = None  # None: not paused
    is_probed: bool = False
    is_sought: bool = False  # a job for the probe was looked for, once

    @property
    def is_plain(self) -> bool:
        return not (self.busy or self.failures or self.waiters)


class Destinations:
    """At most `limit` attempts at a time for each; "" is no destination, has no limit and never fails.

    `left` is called when a place is free where none was, `changed` when a pause begins or ends.
    """

    def __init__(
        self,
        limit: int,
        *,
        clock: Callable[[], datetime],
        left: Callable[[], None] = lambda: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._left = left
        self._changed = changed
        self._standing: dict[str, _Standing] = {}

    @property
    def full(self) -> frozenset[str]:
        return frozenset(name for name, at in self._standing.items() if at.busy >= self._limit)

    @property
    def paused(self) -> frozenset[str]:
        """Where nobody is let in, or only the probe that is there."""
        now = self._clock()
        return frozenset(name for name, at in self._standing.items() if _is_closed(at, now))

    @property
    def pauses(self) -> tuple[Pause, ...]:
        return tuple(pause for name in self._standing if (pause := self._told(name)) is not None)

    def to_probe(self) -> list[str]:
        """Where a pause is over and nobody has come by to try it; each pause is told once."""
        now = self._clock()
        found = [
            name
            for name, at in self._standing.items()
            if at.until is not None and not at.is_sought and not _is_closed(at, now)
        ]
        for name in found:
            self._standing[name].is_sought = True
        return found

    def pause(self, name: str) -> Pause | None:
        """Why nobody is let in now."""
        at = self._standing.get(name)
        return self._told(name) if at is not None and _is_closed(at, self._clock()) else None

    def hurry(self) -> None:
        """End every pause: somebody says that it is to be tried now."""
        for at in self._standing.values():
            if at.until is not None:
                at.until, at.is_sought = min(at.until, self._clock()), False

    def try_enter(self, name: str) -> bool:
        if not name:
            return True
        at = self._at(name)
        if at.busy >= self._limit or _is_closed(at, self._clock()):
            self._forget(name)
            return False
        self._take(at)
        return True

    async def enter_soon(self, name: str) -> bool:
        """A place that is free now or will be in a moment; False: do not wait for it."""
        if self.try_enter(name):
            return True
        at = self._at(name)
        likely_seconds = (len(at.waiters) + 1) * at.took_seconds / self._limit
        if at.until is not None or likely_seconds > _SOON_SECONDS:
            return False
        try:
            async with asyncio.timeout(2 * _SOON_SECONDS):
                await self._enter_in_turn(name)
        except TimeoutError:
            # Nobody left it all that time: whoever comes next need not find that out again.
            at.took_seconds = max(at.took_seconds, 2 * _SOON_SECONDS * self._limit)
            return False
        return True

    async def enter(self, name: str, patience_seconds: float) -> None:
        """Wait for a place, first come, first served; after `patience_seconds` take one beyond the limit.

        Whoever waits here holds a message in memory that those with a place may be waiting to load: not for ever.
        """
        if self.try_enter(name):
            return
        try:
            async with asyncio.timeout(patience_seconds):
                await self._enter_in_turn(name)
        except TimeoutError:
            self._take(self._at(name))

    async def _enter_in_turn(self, name: str) -> None:
        while not self.try_enter(name):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiters = self._at(name).waiters
            waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in waiters:
                    waiters.remove(waiter)
                else:
                    self._call_next(self._at(name))  # the turn came, and nobody is left to take it
                raise

    def leave(self, name: str) -> None:
        if not name:
            return
        at = self._at(name)
        was_open = at.busy < self._limit and at.until is None and not at.waiters
        at.busy -= 1
        at.is_probed = at.is_sought = False  # a probe that ended without an answer leaves the way free for the next
        self._call_next(at)
        self._forget(name)
        if not was_open:
            self._left()

    def came_of(self, name: str, outcome: Outcome, seconds: float) -> None:
        """What an attempt there ended with, and how long it took."""
        if not name:
            return
        at = self._at(name)
        at.took_seconds += (seconds - at.took_seconds) / _LATELY
        was = at.until
        if outcome.result is not Result.FAILED:
            at.failures, at.pause_seconds, at.until, at.is_probed = 0, 0.0, None, False
            self._call_next(at)
        else:
            self._failed(at, outcome)
        if at.until is not was:
            self._changed()

    def _failed(self, at: _Standing, outcome: Outcome) -> None:
        now = self._clock()
        at.failures += 1
        at.last = outcome.detail
        if at.failures < OPENS_AFTER or (at.until is not None and now < at.until):
            return  # one that began before the pause says nothing new
        at.pause_seconds = min(max(2 * at.pause_seconds, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        asked = min(outcome.retry_after_seconds or 0.0, LONGEST_ASKED_SECONDS)
        at.until = now + timedelta(seconds=max(at.pause_seconds, asked))
        at.is_probed = at.is_sought = False

    def _told(self, name: str) -> Pause | None:
        at = self._standing[name]
        if at.until is None:
            return None
        return Pause(destination=name, failures=at.failures, last=at.last, until=at.until)

    def _at(self, name: str) -> _Standing:
        at = self._standing.get(name)
        if at is None:
            at = self._standing[name] = _Standing()
        return at

    def _forget(self, name: str) -> None:
        if self._standing[name].is_plain:
            del self._standing[name]

    def _take(self, at: _Standing) -> None:
        at.busy += 1
        at.is_probed = at.until is not None

    @staticmethod
    def _call_next(at: _Standing) -> None:
        while at.waiters:
            waiter = at.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


def _is_closed(at: _Standing, now: datetime) -> bool:
    return at.until is not None and (at.is_probed or now < at.until)
