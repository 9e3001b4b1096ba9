"""When the next group begins: as soon as the least patient of those who wait will not wait longer for company.

Groups have a price of their own: a message was measured at twice the CPU with two connections that it takes with forty. So while
groups follow each other an accept waits a little for the transactions that are open beside it, as PostgreSQL's `commit_delay` does.
"""

import asyncio
import math
from collections.abc import Callable

ACCEPT_SECONDS = 0.012  # so long an accept waits for company while groups follow each other
OUTCOME_SECONDS = 0.025  # and an outcome, which would mostly come alone between two groups of accepts
CLOSE_SECONDS = 0.02  # accepts further apart than this expect nobody
_FOLLOW_SECONDS = 0.005  # groups closer than this follow each other


class Company:
    """How long one may wait for others, by what the last groups were. `now` is in seconds of one clock."""

    def __init__(self) -> None:
        self._answered_at = -math.inf
        self._accepted_at = -math.inf
        self._is_busy = False

    def of_outcome(self, now: float) -> float:
        """Seconds for a unit that nobody outside waits for. Between messages that come one by one it would only be late."""
        return OUTCOME_SECONDS if self._is_busy and now - self._answered_at < _FOLLOW_SECONDS else 0.0

    def of_accept(self, waiting: int, expected: int, now: float) -> float:
        """Seconds for an accept that makes it `waiting` of those `expected`. A client who is alone never waits."""
        return ACCEPT_SECONDS if waiting < expected and now - self._accepted_at < CLOSE_SECONDS else 0.0

    def answered(self, units: int, accepts: int, now: float) -> None:
        """A group ended that had so many."""
        self._answered_at = now
        self._is_busy = units > 1 or (accepts > 0 and now - self._accepted_at < 2 * _FOLLOW_SECONDS)
        if accepts:
            self._accepted_at = now


class Pace:
    """Belongs to one event loop. `begin` is called on it, never from within `note` or `arm`."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._due = math.inf
        self._handle: asyncio.Handle | None = None
        self._set_for = math.inf

    def note(self, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        """Somebody waits, and has so many seconds."""
        self._due = min(self._due, loop.time() + patience)

    def arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """No group is under way: the next may begin. Who is not patient waits for the turn of those that were just answered."""
        if self._due >= self._set_for:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._set_for = self._due
        late = self._due <= loop.time()
        self._handle = loop.call_soon(self._begin) if late else loop.call_at(self._due, self._begin)

    def clear(self) -> None:
        """A group has begun: whoever still waits is to be noted anew."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._due = self._set_for = math.inf
