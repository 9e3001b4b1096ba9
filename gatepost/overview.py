"""What the parent does with requests that concern every worker: it asks them all, and says who did not answer.

A worker's counts end with it, and a sum that falls is read as one that began anew (Prometheus adds all of it to a rate). So the
parent keeps what each was last seen to have counted: no count that anybody was told of ever falls.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gatepost.control import OBSERVE
from gatepost.metrics import family_of, merged
from gatepost.observation import PARENT, Check, Observation, observations_of
from mail.counters import Key, key
from mail.errors import GatepostError

EVERYWHERE = frozenset(("observe", "trace", "traced"))
"""Operations that every worker answers with a list; theirs are put together to one."""

_ANSWER_SECONDS = 5.0

AskWorker = Callable[[int, dict[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """What one process of a worker was last seen to have counted."""

    pid: int
    counted: Mapping[Key, float]


def _is_common_count(what: Key) -> bool:
    """Whether it only grows and is added up over the workers; a row with a worker's own label is that process's."""
    family = family_of(what[0])
    return family is not None and family.kind != "gauge" and "worker" not in family.labels


class Overview:
    """`ask` asks the worker of a number. `restarts` counts workers that ended by themselves."""

    def __init__(self, count: int, ask: AskWorker, started_at: datetime) -> None:
        self._count, self._ask, self._started_at = count, ask, started_at
        self._seen: dict[int, _Counted] = {}
        self._ended: dict[Key, float] = {}
        self.restarts = 0

    async def everywhere(self, request: dict[str, Any]) -> list[Any]:
        """All lists as one; raises what a worker raises, except where that only says how it is."""
        if request != OBSERVE:
            answers = await asyncio.gather(*(self._ask(number, request) for number in range(self._count)))
            return [each for answer in answers for each in answer]
        answers = await asyncio.gather(*(self._observed(number) for number in range(self._count)))
        silent = [number for number, answer in enumerate(answers) if answer is None]
        told = [each for answer in answers if answer is not None for each in answer]
        for observation in observations_of(told):
            self._keep(observation)
        return [*told, self._own(silent)]

    def _keep(self, observation: Observation) -> None:
        """What it has counted; what its forerunner had counted is nobody's from now on."""
        counted = {key: value for key, value in observation.samples if _is_common_count(key)}
        before = self._seen.get(observation.worker)
        if before is not None and before.pid != observation.pid:
            self._ended = merged((self._ended, before.counted))
        elif before is not None:
            # An answer that was overtaken by a later one is less than what is known.
            counted = {key: max(value, before.counted.get(key, 0)) for key, value in counted.items()}
        self._seen[observation.worker] = _Counted(pid=observation.pid, counted=counted)

    async def _observed(self, number: int) -> list[Any] | None:
        """None: it does not answer, or not in time."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                found: list[Any] = await self._ask(number, OBSERVE)
                return found
        except (GatepostError, TimeoutError):
            return None

    def _own(self, silent: list[int]) -> dict[str, Any]:
        """What the parent knows: who does not answer, how often one was started again, and what those had counted."""
        named = ", ".join(map(str, silent))
        detail = f"worker {named} does not answer; the log says why" if silent else f"{self._count} answer"
        counted = (self._seen[number].counted for number in silent if number in self._seen)
        samples: dict[Key, float] = {
            **merged((self._ended, *counted)),
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
