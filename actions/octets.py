"""How many octets of messages are in hand: sixty-four jobs of forty megabytes each would not fit in memory."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class OctetBudget:
    """First come, first served. A message larger than the whole budget is taken when nothing else is in hand."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, octets: int) -> AsyncIterator[None]:
        if self._waiting or not self._fits(octets):
            await self._wait(octets)
        else:
            self._held += octets
        try:
            yield
        finally:
            self._held -= octets
            self._admit()

    def _fits(self, octets: int) -> bool:
        return not self._held or self._held + octets <= self._limit

    async def _wait(self, octets: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((octets, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._held -= octets  # the turn came and nobody is left to take it
                self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting:
            octets, turn = self._waiting[0]
            if not turn.done():
                if not self._fits(octets):
                    return
                self._held += octets
                turn.set_result(None)
            self._waiting.popleft()
