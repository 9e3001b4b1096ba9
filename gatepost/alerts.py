"""When an operator is told of what is wrong: once when it begins, again when it lasts, and when it is over. Pure.

Nobody reads what comes every minute. A condition is told at most once an hour, however often it comes and goes; one that lasts is
told again after `remind_seconds`; the end is told if the beginning was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from gatepost.alert_conditions import Condition, Level

AT_MOST_EVERY = timedelta(hours=1)
REMIND_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing to tell. `state` is raised, repeated or resolved."""

    condition: str
    level: Level
    state: Literal["raised", "repeated", "resolved"]
    text: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was last told of a condition; `is_raised` until its end was told."""

    at: datetime
    level: Level
    text: str
    is_raised: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertBook:
    """What was told, by condition. Kept in a file, so that a restart tells nothing twice."""

    told: Mapping[str, Told] = field(default_factory=dict)


def judge(
    book: AlertBook,
    conditions: Iterable[Condition],
    now: datetime,
    *,
    sees_all: bool = True,
    remind_after: timedelta = REMIND_AFTER,
) -> tuple[tuple[Alert, ...], AlertBook]:
    """What is to be told now, and the book once it was told. What is not seen is not over either (`sees_all` false)."""
    alerts: list[Alert] = []
    told = dict(book.told)
    present = {condition.name: condition for condition in conditions}
    for name, condition in present.items():
        state = _state(told.get(name), now, remind_after)
        if state is not None:
            alerts.append(Alert(condition=name, level=condition.level, state=state, text=condition.text, at=now))
            told[name] = Told(at=now, level=condition.level, text=condition.text)
    for name, before in book.told.items():
        if name in present or not sees_all:
            continue
        if before.is_raised:
            alerts.append(Alert(condition=name, level=before.level, state="resolved", text=before.text, at=now))
            told[name] = Told(at=before.at, level=before.level, text=before.text, is_raised=False)
        elif _age(before, now) >= AT_MOST_EVERY:
            del told[name]
    return tuple(alerts), AlertBook(told=told)


def untold(before: AlertBook, after: AlertBook, conditions: Iterable[str]) -> AlertBook:
    """The book after a telling that failed for these conditions: they stand as before, and are told at the next look."""
    told = dict(after.told)
    for name in conditions:
        told.pop(name, None)
        if name in before.told:
            told[name] = before.told[name]
    return AlertBook(told=told)


def _state(before: Told | None, now: datetime, remind_after: timedelta) -> Literal["raised", "repeated"] | None:
    if before is None:
        return "raised"
    if before.is_raised:
        return "repeated" if _age(before, now) >= max(remind_after, AT_MOST_EVERY) else None
    return "raised" if _age(before, now) >= AT_MOST_EVERY else None


def _age(before: Told, now: datetime) -> timedelta:
    """What was told in the future was told by a clock that has been set back since: nobody knows when."""
    return now - before.at if before.at <= now else timedelta.max
