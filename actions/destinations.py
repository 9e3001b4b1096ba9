"""How many attempts each destination has on its hands, so that one dead target holds up nobody else."""

import asyncio
from collections import deque
from collections.abc import Callable


class Destinations:
    """At most `limit` attempts at a time for each; "" is no destination and has no limit. `left` is called when a place is free."""

    def __init__(self, limit: int, *, left: Callable[[], None] = lambda: None) -> None:
        self._limit = limit
        self._left = left
        self._busy: dict[str, int] = {}
        self._waiters: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def full(self) -> frozenset[str]:
        return frozenset(name for name, count in self._busy.items() if count >= self._limit)

    def try_enter(self, name: str) -> bool:
        if name and self._busy.get(name, 0) >= self._limit:
            return False
        self._take(name)
        return True

    async def enter(self, name: str, patience_seconds: float) -> None:
        """Wait for a place, first come, first served; after `patience_seconds` take one beyond the limit.

        Whoever waits here holds a message in memory that those with a place may be waiting to load: not for ever.
        """
        try:
            async with asyncio.timeout(patience_seconds):
                while not self.try_enter(name):
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.setdefault(name, deque()).append(waiter)
                    await waiter
        except TimeoutError:
            self._take(name)

    def _take(self, name: str) -> None:
        if name:
            self._busy[name] = self._busy.get(name, 0) + 1

    def leave(self, name: str) -> None:
        if not name:
            return
        self._busy[name] -= 1
        if not self._busy[name]:
            del self._busy[name]
        waiters = self._waiters.get(name)
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break
        if not waiters:
            self._waiters.pop(name, None)
        self._left()
