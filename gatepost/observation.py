"""What one process sees of itself when it is asked: its counts, its gauges, and whether it can do its work (`gatepost.observer`).

The request `OBSERVE` on the control socket is answered with a list of observations, one of each worker (`gatepost.survey` adds
them up).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from mail.counters import Key
from mail.errors import Temporary

PARENT = -1
"""The number under which the parent, which takes no mail, tells what it knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be so for mail to be taken. `detail` says what is so, or what is wrong and how to mend it."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rule set in force."""

    rule_set: str
    version: str
    pinned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """`samples` are pairs of key and value, since JSON has no other keys than text."""

    worker: int
    pid: int
    started_at: datetime
    samples: tuple[tuple[Key, float], ...]
    checks: tuple[Check, ...]
    rules: Rules | None = None

    def as_json(self) -> dict[str, Any]:
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


def observations_of(answer: Any) -> list[Observation]:
    """What a control socket answered to `OBSERVE`. Raises `Temporary` for anything else."""
    try:
        return msgspec.convert(answer, list[Observation])
    except msgspec.ValidationError as error:
        raise Temporary(f"the server answers in other words; is it of another version? {error}") from error
