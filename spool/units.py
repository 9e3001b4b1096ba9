"""What a writer is given: all-or-nothing changes, alone or in groups, and whose fault it is when one fails."""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from spool.ports import Broken

T = TypeVar("T")
_log = logging.getLogger("gatepost.spool")

GROUP_UNITS = 64
GROUP_OCTETS = 4 * 2**20


@dataclass(slots=True, kw_only=True)
class Change(Generic[T]):
    """What a unit did: its answer, and what it adds to the shard's counters. `after` runs on the loop once it is durable.

    `moves_due`: some ready job may have come, gone or moved, so that another one is due next.
    """

    result: T
    ready: int = 0
    leased: int = 0
    octets: int = 0
    after: Callable[[], None] | None = None
    moves_due: bool = True


class Unit:
    """One all-or-nothing change. `apply` may run twice (the first time rolled back), so it touches nothing but the database.

    It is `due` when its patience ends: until then it waits for company, and after that for the writer.
    """

    __slots__ = ("abandoned", "apply", "change", "due", "error", "future", "is_accept", "is_bare", "octets")

    def __init__(
        self,
        apply: Callable[[sqlite3.Connection], Change[Any]],
        future: "asyncio.Future[Any]",
        octets: int,
        due: float,
        abandoned: Callable[[Any], None] | None,
        *,
        is_accept: bool,
        is_bare: bool = False,
    ) -> None:
        self.apply = apply
        self.future = future
        self.octets = octets
        self.due = due
        self.abandoned = abandoned
        self.is_accept = is_accept
        self.is_bare = is_bare
        self.change: Change[Any] | None = None
        self.error: BaseException | None = None


@dataclass(slots=True)
class Group:
    units: list[Unit]
    staged: bool  # applied already: what is left is the COMMIT
    failure: Broken | None = None
    seconds: float = 0.0  # that its commit took, fsync included


def is_of_the_store(error: Exception) -> bool:
    """Whether it is the file, the disk or SQLite that failed, and not this one unit (a constraint, a value it cannot bind)."""
    return isinstance(error, sqlite3.Error) and not isinstance(
        error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.DataError | sqlite3.InterfaceError
    )


def broken(error: sqlite3.Error) -> Broken:
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return Broken(f"the store failed: {error} ({name})")


def note_failure(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.warning("a change that nobody waited for was not kept: %s", error)


def take(line: deque[Unit]) -> list[Unit]:
    """The next units of a line, within the bounds of a group."""
    taken: list[Unit] = []
    octets = 0
    while line and len(taken) < GROUP_UNITS and octets < GROUP_OCTETS:
        unit = line.popleft()
        octets += unit.octets
        taken.append(unit)
    return taken
