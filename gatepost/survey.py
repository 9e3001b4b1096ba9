"""The gateway as a whole at one moment: all workers' observations as one, and what waits in the spool.

Metrics, health, status, top and alerts all look at a survey. It is made by asking the control socket, so whoever makes it need not
know how many processes there are.
"""

import platform
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gatepost.control import OBSERVE, SOCKET
from gatepost.metrics import merged
from gatepost.metrics_table import FAMILIES
from gatepost.observation import PARENT, Check, Observation, Rules, observations_of
from gatepost.version import VERSION
from mail.counters import Key, key
from spool.control import ask
from spool.ports import Broken, HistoryQuery
from spool.reader import open_reader
from spool.standing import Standing

_TIMES_ITS_COST = 20  # the queue is counted anew once this many times what counting took has passed: a 20th of one core
_AT_MOST_EVERY_SECONDS = 2.0
# What a rate is taken of must be there before it is more than nothing.
_FROM_THE_START = tuple(key(family.name) for family in FAMILIES if family.kind == "counter" and not family.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """`checks` hold where they hold in every worker. `workers` are in order. Not whole: a shard could not be read."""

    at: datetime
    samples: dict[Key, float]
    checks: tuple[Check, ...]
    rules: Rules | None
    workers: tuple[Observation, ...]
    standing: Standing
    is_whole: bool = True

    @property
    def is_ready(self) -> bool:
        return bool(self.workers) and all(check.ok for check in self.checks)


def survey_of(observations: Sequence[Observation], standing: Standing, now: datetime, unread: str = "") -> Survey:
    """Pure. `unread` is why some shard could not be read, which `standing` then lacks."""
    workers = tuple(sorted((each for each in observations if each.worker != PARENT), key=lambda each: each.worker))
    parent = [each for each in observations if each.worker == PARENT]
    checks = (*_checks(workers), *_checks(parent))
    if unread:
        checks = (Check(name="spool", ok=False, detail=unread), *(check for check in checks if check.name != "spool"))
    samples = dict.fromkeys(_FROM_THE_START, 0.0) | merged(dict(each.samples) for each in (*workers, *parent))
    samples |= _standing_samples(standing, now)
    samples |= {key("check_ok", check=check.name): int(check.ok) for check in checks}
    samples[key("build_info", python=platform.python_version(), version=VERSION)] = 1
    rules = next((each.rules for each in workers if each.rules is not None), None)
    survey = Survey(
        at=now,
        samples=samples,
        checks=checks,
        rules=rules,
        workers=workers,
        standing=standing,
        is_whole=not unread,
    )
    samples[key("ready")] = int(survey.is_ready)
    return survey


def _checks(workers: Sequence[Observation]) -> tuple[Check, ...]:
    """One for each name, in the first worker's order; the details of the workers where it fails, else the first one's."""
    found: dict[str, list[tuple[int, Check]]] = {}
    for each in workers:
        for check in each.checks:
            found.setdefault(check.name, []).append((each.worker, check))
    return tuple(_as_one(checks) for checks in found.values())


def _as_one(checks: list[tuple[int, Check]]) -> Check:
    failed = [(worker, check) for worker, check in checks if not check.ok]
    if not failed:
        return checks[0][1]
    details = dict.fromkeys(check.detail for _, check in failed)
    if len(failed) == len(checks):
        return Check(name=failed[0][1].name, ok=False, detail="; ".join(details))
    which = ", ".join(str(worker) for worker, _ in failed)
    return Check(name=failed[0][1].name, ok=False, detail=f"worker {which}: {'; '.join(details)}")


def _standing_samples(standing: Standing, now: datetime) -> dict[Key, float]:
    samples: dict[Key, float] = {key("jobs", state=state): count for state, count in standing.jobs.items()}
    samples |= {key("messages", state=state): count for state, count in standing.messages.items()}
    oldest = standing.oldest_retry
    samples[key("oldest_retry_age_seconds")] = 0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    return samples


class Surveyor:
    """Makes surveys of the server of one state directory. Raises `NoServer`, or what its control socket answers."""

    def __init__(
        self,
        data: Path,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        observe: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        """`observe` stands for the control socket."""
        self._clock, self._monotonic = clock, monotonic
        self._observe = observe or (lambda: ask(data / SOCKET, OBSERVE))
        self._reader = open_reader(data)
        self._standing = Standing()
        self._count_again_at = float("-inf")

    async def survey(self) -> Survey:
        observations = observations_of(await self._observe())
        try:
            return survey_of(observations, await self.standing(), self._clock())
        except Broken as error:
            # One shard that cannot be read hides neither the others' workers nor what they say.
            return survey_of(observations, self._standing, self._clock(), unread=str(error))

    async def newest(self) -> datetime | None:
        """When the last message was accepted that the history knows; None where it knows none, or cannot be read."""
        try:
            found = await self._reader.find(HistoryQuery(outcome="accepted", limit=1))
        except Broken:
            return None
        return found[0][0].at if found else None

    async def standing(self) -> Standing:
        """What waits in the spool: counted a moment ago at most, unless counting takes long."""
        began = self._monotonic()
        if began >= self._count_again_at:
            self._standing = await self._reader.standing()
            ended = self._monotonic()
            self._count_again_at = ended + max(_AT_MOST_EVERY_SECONDS, _TIMES_ITS_COST * (ended - began))
        return self._standing
