"""What a shard's work costs does not grow with the jobs that wait in it: SQLite's own steps, counted, not timed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from spool_units import NOON

from spool import jobs, schema, sweep
from spool.ports import JobState, Wanted
from spool.schema import micros

FEW, MANY = 40, 4000
EACH = 5  # jobs of each destination that is not the one with very many
LATER = NOON + timedelta(hours=4)


def shard(count: int, *, due: bool) -> sqlite3.Connection:
    """So many messages that are retried at `down`, due or not, and a few at each of three others that are due."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.SHARD.bring_up(connection)
    places = ["down"] * count + [name for name in ("a", "up", "z") for _ in range(EACH)]
    for number, place in enumerate(places, 1):
        name, at = f"m{number:06}", NOON - timedelta(seconds=1) if due or place != "down" else LATER
        connection.execute(
            "INSERT INTO history VALUES (?, ?, ?, 's', '', '', NULL, '', 'accepted', 'accepted', '', '', '', 0, '', '',"
            " 'retrying', 0, '')",
            (number, name, micros(NOON)),
        )
        connection.execute("INSERT INTO content VALUES (?, 0, x'', x'', x'', 1, '')", (number,))
        # Those at `down` came first, so that whoever goes by time comes to them first.
        row = (number << 8, name, micros(at) + number, micros(LATER), place)
        connection.execute("INSERT INTO job VALUES (?, 'step', ?, ?1, 'ready', 1, ?, ?, ?, '503', 0)", row)
    return connection


def steps(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any]) -> int:
    """Instructions of SQLite's machine, to the nearest ten."""
    counted = [0]

    def count() -> None:
        counted[0] += 10

    connection.execute("BEGIN")
    connection.set_progress_handler(count, 10)
    work(connection)
    connection.set_progress_handler(None, 0)
    connection.execute("ROLLBACK")
    return counted[0]


def claim(wanted: Wanted) -> Callable[[sqlite3.Connection], Any]:
    return lambda connection: jobs.claim(connection, NOON, 4, wanted)


DOWN = frozenset({"down"})
WORK = {
    "claim": claim(Wanted()),
    "claim beside a pause": claim(Wanted(paused=DOWN)),
    "claim beside a full one": claim(Wanted(without=DOWN)),
    "claim beside both": claim(Wanted(without=frozenset({"a"}), paused=DOWN)),
    "probe": claim(Wanted(only="z")),
    "next due": jobs.next_due,
    "operator's change": lambda connection: jobs.change_many(connection, [512, 768], JobState.READY, NOON),
    "lease given back": lambda connection: jobs.release(connection, [512]),
}


@pytest.mark.parametrize("due", [False, True], ids=["deferred", "due"])
@pytest.mark.parametrize("name", WORK)
def test_work_costs_no_more_with_very_many_jobs(name: str, due: bool) -> None:
    few, many = (steps(shard(count, due=due), WORK[name]) for count in (FEW, MANY))
    assert many <= few * 1.5 + 200, f"{few} steps with {FEW} jobs, {many} with {MANY}"


def test_a_step_of_the_sweep_looks_at_a_bounded_number_of_messages() -> None:
    """Nothing may go: what is kept, however much it is, holds up nobody for long."""
    before = NOON + timedelta(days=1)
    for part in (partial(sweep.bodies, cursor=0, before=before), partial(sweep.transactions, cursor=0, before=before)):
        few, many = (steps(shard(count, due=True), part) for count in (2000, 4000))
        assert many <= few * 1.2 + 200
    connection = shard(4000, due=True)
    cursor: int | None = 0
    passes = 0
    while cursor is not None:
        cursor = sweep.bodies(connection, cursor, before).result.cursor
        passes += 1
    assert passes == 4015 // sweep.STRETCH + 2, "every message was looked at, and the last pass found the end"


def test_what_is_due_elsewhere_comes_by_time_and_what_expired_behind_a_pause_as_it_expired() -> None:
    connection = shard(3, due=True)
    found = jobs.claim(connection, NOON, 7, Wanted(paused=DOWN)).result
    assert [job.destination for job in found] == ["a"] * 5 + ["up"] * 2
    assert [job.id for job in found] == sorted(job.id for job in found)
    assert (
        jobs.claim(connection, NOON, 99, Wanted(paused=DOWN, without=frozenset({"z"}))).result[-1].destination == "up"
    )
    over = jobs.claim(connection, LATER, 2, Wanted(paused=DOWN)).result
    assert [job.destination for job in over] == ["down"] * 2
    assert jobs.claim(connection, NOON, 9, Wanted(only="down")).result[0].attempts == 2
