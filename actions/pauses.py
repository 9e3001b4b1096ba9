"""The paused destinations, written down in the spool whenever a pause begins or ends, for those who look on from outside."""

import asyncio
import logging
from collections.abc import Callable

from actions.destinations import Destinations
from spool.ports import Broken, Full, Pause, Spool

log = logging.getLogger("gatepost.actions")


class Pauses:
    """`broke` is told when the spool broke."""

    def __init__(self, spool: Spool, *, broke: Callable[[Broken], None]) -> None:
        self._spool = spool
        self._broke = broke
        self._task: asyncio.Task[None] | None = None

    def tell(self, destinations: Destinations) -> None:
        """Write them down; one writing at a time, the last of which says how it is."""
        for pause in destinations.pauses:
            log.warning("%s", pause)
        if self._task is None:
            self._task = asyncio.create_task(self._write(destinations))

    async def clear(self) -> None:
        """Nothing is paused any more where nobody works."""
        if self._task is not None:
            await self._task
        await self._note(())

    async def _write(self, destinations: Destinations) -> None:
        told: tuple[Pause, ...] | None = None
        while told != (pauses := destinations.pauses):
            told = pauses
            await self._note(pauses)
        self._task = None

    async def _note(self, pauses: tuple[Pause, ...]) -> None:
        try:
            await self._spool.pauses_are(pauses)
        except Full:
            log.warning("no room to note which destinations are paused")
        except Broken as error:
            self._broke(error)
