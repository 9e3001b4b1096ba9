"""What the parent does with requests that concern every worker: it asks them all, and says who did not answer."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from gatepost.control import OBSERVE
from gatepost.observation import PARENT, Check, Observation
from mail.counters import Key, key
from mail.errors import GatepostError

EVERYWHERE = frozenset(("observe", "trace", "traced"))
"""Operations that every worker answers with a list; theirs are put together to one."""

_ANSWER_SECONDS = 5.0

AskWorker = Callable[[int, dict[str, Any]], Awaitable[Any]]


class Overview:
    """`ask` asks the worker of a number. `restarts` counts workers that ended by themselves."""

    def __init__(self, count: int, ask: AskWorker, started_at: datetime) -> None:
        self._count, self._ask, self._started_at = count, ask, started_at
        self.restarts = 0

    async def everywhere(self, request: dict[str, Any]) -> list[Any]:
        """All lists as one; raises what a worker raises, except where that only says how it is."""
        if request != OBSERVE:
            answers = await asyncio.gather(*(self._ask(number, request) for number in range(self._count)))
            return [each for answer in answers for each in answer]
        answers = await asyncio.gather(*(self._observed(number) for number in range(self._count)))
        silent = [str(number) for number, answer in enumerate(answers) if answer is None]
        return [each for answer in answers if answer is not None for each in answer] + [self._own(silent)]

    async def _observed(self, number: int) -> list[Any] | None:
        """None: it does not answer, or not in time."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                found: list[Any] = await self._ask(number, OBSERVE)
                return found
        except (GatepostError, TimeoutError):
            return None

    def _own(self, silent: list[str]) -> dict[str, Any]:
        """What the parent knows: who does not answer, and how often one was started again."""
        detail = f"worker {', '.join(silent)} does not answer; the log says why" if silent else f"{self._count} answer"
        samples: dict[Key, float] = {
            key("worker_restarts_total"): self.restarts,
            key("worker_cpu_seconds_total", worker="parent"): time.process_time(),
            key("worker_start_time_seconds", worker="parent"): self._started_at.timestamp(),
        }
        return Observation(
            worker=PARENT,
            pid=os.getpid(),
            started_at=self._started_at,
            samples=tuple(samples.items()),
            checks=(Check(name="workers", ok=not silent, detail=detail),),
        ).as_json()
