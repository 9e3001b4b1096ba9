"""A sweep of one shard, from pass to pass, with the writer's other units in between."""

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial

from spool import sweep
from spool.blobs import BlobFiles
from spool.messages import used_day
from spool.ports import Retention, Swept
from spool.sweep import Pass
from spool.units import Change
from spool.writer import Writer


class Sweeper:
    """`octets` says how many octets of bodies are kept now; `forget` is called when DNS answers were deleted."""

    def __init__(
        self, writer: Writer, blobs: BlobFiles, *, octets: Callable[[], int], forget: Callable[[], None]
    ) -> None:
        self._writer = writer
        self._blobs = blobs
        self._octets = octets
        self._forget = forget
        self._answers_day = -1
        self.cap_reached = False

    async def sweep(self, now: datetime, retention: Retention) -> Swept:
        cutoffs = sweep.Cutoffs.at(now, retention)
        bodies = await self._passes(partial(sweep.bodies, before=cutoffs.bodies))
        cap = retention.cap_octets
        if cap is not None and self._octets() > cap:
            bodies += await self._passes(partial(self._over_cap, before=now, cap_octets=cap))
        headers = await self._passes(partial(sweep.headers, before=cutoffs.headers))
        messages = await self._passes(partial(sweep.transactions, before=cutoffs.metadata))
        await self._sweep_answers(cutoffs.metadata)
        self.cap_reached = cap is not None and self._octets() > cap
        return Swept(bodies=bodies, headers=headers, messages=messages)

    def _over_cap(self, connection: sqlite3.Connection, cursor: int, before: datetime, cap_octets: int) -> Change[Pass]:
        return sweep.bodies(connection, cursor, before, excess_octets=self._octets() - cap_octets)

    async def _passes(self, one: Callable[[sqlite3.Connection, int], Change[Pass]]) -> int:
        count = 0
        cursor: int | None = 0
        while cursor is not None:
            done = await self._writer.submit(partial(_from, one, cursor), alone=True)
            if done.files:
                await asyncio.to_thread(self._blobs.remove, done.files)
            count += done.count
            cursor = done.cursor
        return count

    async def _sweep_answers(self, before: datetime) -> None:
        """Once for each day that retention moves on: answers are noted by the day."""
        if used_day(before) == self._answers_day:
            return
        if await self._writer.submit(partial(sweep.answers, before=before), alone=True):
            self._forget()
        self._answers_day = used_day(before)


def _from(
    one: Callable[[sqlite3.Connection, int], Change[Pass]], cursor: int, connection: sqlite3.Connection
) -> Change[Pass]:
    return one(connection, cursor)
