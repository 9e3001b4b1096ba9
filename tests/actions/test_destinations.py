"""Destinations: places, pauses and probes, and what waits behind them (semantics.md §4)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from acting import NOW, Clock, House, Make, Told, failed, function, quick, rule, until, webhook

from actions.destinations import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, OPENS_AFTER, Destinations
from actions.protocol import Context
from mail.ids import message_id
from mail.outcome import DONE, Outcome, Result
from spool.ports import Job, JobQuery, JobState

HOOKS = "hooks.example:443"
OTHER = "other.example:443"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def destinations(clock: Clock) -> Destinations:
    return Destinations(2, clock=clock)


def fail(destinations: Destinations, times: int = OPENS_AFTER, outcome: Outcome | None = None) -> None:
    for _ in range(times):
        assert destinations.try_enter(HOOKS)
        destinations.came_of(HOOKS, outcome or failed("HTTP 502"), 0.1)
        destinations.leave(HOOKS)


class TestPauses:
    def test_so_many_failures_in_a_row_pause_a_destination_and_no_other(self, destinations: Destinations) -> None:
        fail(destinations, OPENS_AFTER - 1)
        assert destinations.pause(HOOKS) is None
        fail(destinations, 1)
        assert not destinations.try_enter(HOOKS)
        assert destinations.try_enter(OTHER)
        assert destinations.paused == {HOOKS}

    def test_a_pause_says_why_and_until_when(self, destinations: Destinations) -> None:
        fail(destinations)
        assert str(destinations.pause(HOOKS)) == (
            "paused: hooks.example:443 failed 5 times, last: HTTP 502, tries again at 2026-01-13T21:02:50Z"
        )

    def test_an_answer_in_between_begins_the_count_anew(self, destinations: Destinations) -> None:
        for _ in range(3):
            fail(destinations, OPENS_AFTER - 1)
            fail(destinations, 1, DONE)
        assert destinations.pause(HOOKS) is None

    def test_a_refusal_is_an_answer_too(self, destinations: Destinations) -> None:
        fail(destinations, 3 * OPENS_AFTER, Outcome(result=Result.DEAD, detail="HTTP 410"))
        assert destinations.pause(HOOKS) is None

    def test_one_attempt_probes_when_the_pause_is_over(self, destinations: Destinations, clock: Clock) -> None:
        fail(destinations)
        clock.now += timedelta(seconds=FIRST_PAUSE_SECONDS)
        assert destinations.to_probe() == [HOOKS]
        assert destinations.to_probe() == []
        assert destinations.try_enter(HOOKS)
        assert not destinations.try_enter(HOOKS)
        destinations.came_of(HOOKS, DONE, 0.1)
        assert destinations.try_enter(HOOKS)
        assert destinations.pauses == ()

    def test_a_probe_that_fails_pauses_for_twice_as_long_up_to_a_minute(
        self, destinations: Destinations, clock: Clock
    ) -> None:
        fail(destinations)
        lengths = []
        for _ in range(6):
            pause = destinations.pause(HOOKS)
            assert pause is not None
            lengths.append((pause.until - clock.now).total_seconds())
            clock.now = pause.until
            fail(destinations, 1)
        assert lengths == [5, 10, 20, 40, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]

    def test_a_probe_that_ends_without_an_answer_leaves_the_way_free(
        self, destinations: Destinations, clock: Clock
    ) -> None:
        fail(destinations)
        clock.now += timedelta(seconds=FIRST_PAUSE_SECONDS)
        assert destinations.try_enter(HOOKS)
        destinations.leave(HOOKS)
        assert destinations.try_enter(HOOKS)

    def test_attempts_that_began_before_the_pause_do_not_lengthen_it(
        self, destinations: Destinations, clock: Clock
    ) -> None:
        fail(destinations)
        clock.now += timedelta(seconds=1)
        destinations.came_of(HOOKS, failed("late"), 9.0)
        pause = destinations.pause(HOOKS)
        assert pause is not None
        assert (pause.until, pause.last, pause.failures) == (NOW + timedelta(seconds=5), "late", OPENS_AFTER + 1)

    def test_what_a_destination_asks_for_it_gets_within_reason(self, destinations: Destinations) -> None:
        fail(destinations, outcome=failed("HTTP 429", retry_after_seconds=86_400.0))
        pause = destinations.pause(HOOKS)
        assert pause is not None
        assert pause.until == NOW + timedelta(minutes=15)

    def test_nothing_is_kept_of_a_destination_that_fares_well(self, destinations: Destinations) -> None:
        fail(destinations, 3, DONE)
        assert destinations._standing == {}


class TestPlaces:
    async def fill(self, destinations: Destinations, seconds: float) -> None:
        for _ in range(2):
            assert destinations.try_enter(HOOKS)
        destinations.came_of(HOOKS, DONE, seconds * 8)

    async def test_a_place_that_is_free_in_a_moment_is_waited_for(self, destinations: Destinations) -> None:
        await self.fill(destinations, 0.001)
        soon = asyncio.create_task(destinations.enter_soon(HOOKS))
        await asyncio.sleep(0)
        destinations.leave(HOOKS)
        assert await soon

    async def test_nobody_waits_where_attempts_take_long(self, destinations: Destinations) -> None:
        await self.fill(destinations, 5.0)
        assert not await destinations.enter_soon(HOOKS)

    async def test_nobody_waits_behind_a_pause(self, destinations: Destinations) -> None:
        fail(destinations)
        assert not await destinations.enter_soon(HOOKS)

    async def test_the_turn_of_one_that_went_away_is_the_next_ones(self, destinations: Destinations) -> None:
        await self.fill(destinations, 0.001)
        first, second = (asyncio.create_task(destinations.enter(HOOKS, 5.0)) for _ in range(2))
        await asyncio.sleep(0)
        destinations.leave(HOOKS)
        first.cancel()
        await second
        assert first.cancelled() or first.cancelling()


class Crowd:
    """Messages of one house, so many seconds apart in their ids."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def arrive(self, count: int, start: int = 0) -> None:
        for number in range(start, start + count):
            identifier = message_id(NOW, 0, number.to_bytes(17, "big"))
            self.house.runner.take(await self.house.accept(identifier=identifier))

    async def jobs(self, count: int = 0, **query: Any) -> list[Job]:
        """The jobs that answer, when there are so many."""
        while len(found := await self.house.spool.jobs(JobQuery(**query))) < count:  # noqa: ASYNC110
            await asyncio.sleep(0)
        return found

    def move(self, seconds: float) -> None:
        """Time passes, and nobody says that anything is to be tried now."""
        self.house.clock.now += timedelta(seconds=seconds)
        self.house.runner._go_on()


@pytest.fixture
async def broken(make: Make) -> tuple[Crowd, Told]:
    hooks = Told(failed("HTTP 502"), destination=HOOKS)
    house = make(rule("a", webhook()), webhook=hooks)
    crowd = Crowd(house)
    await crowd.arrive(OPENS_AFTER)
    await until(lambda: len(hooks.seen) == OPENS_AFTER)
    await house.runner.idle()
    return crowd, hooks


async def test_what_waits_behind_a_pause_makes_no_attempt_and_says_why(broken: tuple[Crowd, Told]) -> None:
    crowd, hooks = broken
    await crowd.arrive(20, start=100)
    jobs = await crowd.jobs(20, error="paused: ")
    assert len(hooks.seen) == OPENS_AFTER
    assert {job.last for job in jobs} == {
        "paused: hooks.example:443 failed 5 times, last: HTTP 502, tries again at 2026-01-13T21:02:50Z"
    }
    [row] = await crowd.house.spool.ledger(jobs[0].message_id)
    assert (row.result, row.attempts, row.detail) == (Result.RETRYING, 0, jobs[0].last)


async def test_one_probe_goes_first_and_the_rest_when_it_came_through(broken: tuple[Crowd, Told]) -> None:
    crowd, hooks = broken
    await crowd.arrive(20, start=100)
    gate: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def answer(context: Context) -> Outcome:
        return await gate

    hooks._answers = [answer, DONE]
    crowd.move(FIRST_PAUSE_SECONDS)
    await until(lambda: len(hooks.seen) == OPENS_AFTER + 1)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(hooks.seen) == OPENS_AFTER + 1
    gate.set_result(DONE)
    await crowd.house.runner.idle()
    assert await crowd.jobs() == []


async def test_what_waits_behind_a_pause_expires_when_it_would(broken: tuple[Crowd, Told]) -> None:
    crowd, hooks = broken
    await crowd.arrive(1, start=100)
    await crowd.jobs(1, error="paused: ")
    destinations = crowd.house.runner._destinations
    crowd.house.clock.now += timedelta(hours=5)
    destinations._standing[HOOKS].until = crowd.house.clock.now + timedelta(minutes=1)
    made = len(hooks.seen)
    crowd.move(0)
    dead = await crowd.jobs(OPENS_AFTER + 1, state=JobState.DEAD)
    assert len(hooks.seen) == made
    assert dead[-1].last.startswith("given up: paused: hooks.example:443 failed 5 times, last: HTTP 502")


async def test_an_operators_word_ends_the_pause(broken: tuple[Crowd, Told]) -> None:
    crowd, hooks = broken
    hooks._answers = [DONE]
    await crowd.house.pass_time(2.5)
    assert await crowd.jobs() == []


async def test_nothing_is_under_way_while_all_that_is_due_waits_behind_a_pause(broken: tuple[Crowd, Told]) -> None:
    crowd, hooks = broken
    async with asyncio.timeout(5.0):
        await crowd.house.pass_time(2.5)  # all are due, and the probe fails
    assert len(hooks.seen) == OPENS_AFTER + 1
    assert len(await crowd.jobs()) == OPENS_AFTER
    hooks._answers = [DONE]
    await crowd.house.pass_time(2 * FIRST_PAUSE_SECONDS)
    assert await crowd.jobs() == []


async def test_a_walk_that_a_paused_destination_holds_waits_without_an_attempt(make: Make) -> None:
    answers = Told(failed("exploded"), destination="python:m:f")
    house = make(rule("a", function("RequestResponse")), **{"lambda": answers, "tuning": quick()})
    crowd = Crowd(house)
    await crowd.arrive(OPENS_AFTER)
    await house.runner.idle()
    await crowd.arrive(1, start=100)
    await house.runner.idle()
    assert len(answers.seen) == OPENS_AFTER
    job = (await crowd.jobs())[-1]
    assert job.last.startswith("paused: python:m:f failed 5 times, last: exploded")
    assert job.not_before >= NOW + timedelta(seconds=FIRST_PAUSE_SECONDS)
    [row] = await house.spool.ledger(job.message_id)
    assert (row.result, row.attempts) == (Result.FAILED, 0)
    answers._answers = [DONE]
    await house.pass_time(60)  # one of them is the probe
    await house.pass_time(60)
    assert await crowd.jobs() == []
