"""Crashes, drains and limits: nothing accepted is lost and nothing runs on unseen (house: promise 1)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from acting import (
    BOUNCE,
    ID,
    NOW,
    RAW,
    STOP,
    Make,
    Told,
    add_header,
    book_of,
    disk,
    failed,
    function,
    quick,
    receipt_of,
    reopen,
    rule,
    until,
    webhook,
)

from actions.loading import Fresh
from actions.protocol import Context, Parked
from mail.errors import Malformed, Permanent, Temporary
from mail.ids import message_id
from mail.octets import Octets
from mail.outcome import DONE, Outcome, Result
from mail.values import changed
from rules.machine import Evaluation
from spool.ports import Broken, Full, JobKind, JobState, MessageState, Recorded


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Temporary("full"), Result.RETRYING),
        (Permanent("no such thing"), Result.DEAD),
        (Malformed("not JSON"), Result.DEAD),
    ],
)
async def test_exceptions_of_the_family_are_outcomes(make: Make, error: Exception, result: Result) -> None:
    house = make(rule("a", webhook()), webhook=Told(error))
    await house.deliver()
    (row,) = await house.ledger()
    assert (row.result, row.detail) == (result, str(error))


async def test_crash_of_our_own_code_parks_the_message_and_loses_nothing(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    called = Told(ZeroDivisionError("by zero"), DONE)
    house = make(rule("a", disk(), webhook(), disk()), webhook=called)
    await house.deliver()
    (job,) = await house.jobs()
    assert (job.kind, job.state, job.last) == (JobKind.WALK, JobState.PARKED, "ZeroDivisionError: by zero")
    assert await house.state() is MessageState.PARKED
    assert "Traceback" in caplog.text
    await house.spool.change_jobs([job.id], JobState.READY, house.clock.now)
    await house.pass_time(0)
    assert await house.results() == ["done", "done", "done"]
    assert await house.state() is MessageState.DONE


async def test_crash_in_a_lone_step_parks_that_job(make: Make) -> None:
    house = make(rule("a", webhook(), disk()), webhook=Told(failed(), KeyError("url")))
    await house.deliver()
    await house.pass_time(2)
    (job,) = await house.jobs()
    assert (job.kind, job.state, job.last) == (JobKind.STEP, JobState.PARKED, "KeyError: 'url'")
    assert await house.state() is MessageState.PARKED


async def test_step_that_an_operator_must_help_parks_with_its_reason_alone(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    house = make(rule("a", BOUNCE, disk()), bounce=Told(Parked("no relay configured")))
    await house.deliver()
    (job,) = await house.jobs()
    assert (job.kind, job.state, job.last) == (JobKind.STEP, JobState.PARKED, "no relay configured")
    assert "Traceback" not in caplog.text


async def test_what_others_are_to_get_does_not_wait_for_the_operator(make: Make) -> None:
    stored = Told()
    parked = Parked("no relay configured")
    house = make(rule("a", BOUNCE), rule("b", disk()), bounce=Told(parked, parked, DONE), disk=stored)
    await house.deliver()
    assert await house.results() == ["retrying", "done"]
    assert await house.state() is MessageState.PARKED
    (job,) = await house.jobs()
    await house.spool.change_jobs([job.id], JobState.READY, house.clock.now)
    await house.pass_time(0)
    assert await house.results() == ["done", "done"]
    assert len(stored.seen) == 1


async def test_kill_between_effect_and_record_repeats_the_step_with_the_same_key(make: Make) -> None:
    stored, called = Told(), Told()
    house = make(rule("a", disk(), add_header("X-A", "1"), webhook()), disk=stored, webhook=called)
    record = house.spool.record

    async def die_at_the_webhook(unit: Recorded) -> None:
        if any(row.action == "webhook" for row in unit.ledger):
            await asyncio.Event().wait()  # the process is gone: nothing is recorded any more
        await record(unit)

    house.spool.record = die_at_the_webhook  # type: ignore[method-assign]
    house.runner.take(await house.accept())
    await until(lambda: bool(called.seen))
    while not await house.results():  # noqa: ASYNC110 - the object's outcome becomes durable beside the webhook
        await asyncio.sleep(0)
    await house.stop(0)
    assert await house.results() == ["done"]
    house.spool.record = record  # type: ignore[method-assign]
    await reopen(house)
    house.start()
    await house.runner.idle()
    assert stored.keys == [f"{ID}/0/a/0"]
    assert called.keys == [f"{ID}/0/a/2"] * 2
    assert [context.prepended for context in called.seen] == [b"X-A: 1\r\n"] * 2
    assert await house.results() == ["done", "done", "done"]


async def test_a_step_begins_while_the_outcome_before_it_becomes_durable(make: Make) -> None:
    stored, called = Told(), Told()
    house = make(rule("a", disk(), webhook()), disk=stored, webhook=called)
    record, durable = house.spool.record, asyncio.Event()

    async def slow(unit: Recorded) -> None:
        await durable.wait()
        await record(unit)

    house.spool.record = slow  # type: ignore[method-assign]
    house.runner.take(await house.accept())
    await until(lambda: bool(called.seen))
    assert await house.results() == []
    durable.set()
    await house.runner.idle()
    assert (len(stored.seen), len(called.seen)) == (1, 1)
    assert await house.results() == ["done", "done"]


async def test_a_kill_before_an_outcome_is_durable_repeats_what_began_since(make: Make) -> None:
    stored, called = Told(), Told()
    house = make(rule("a", disk(), webhook()), disk=stored, webhook=called)
    record = house.spool.record

    async def never(unit: Recorded) -> None:
        await asyncio.Event().wait()

    house.spool.record = never  # type: ignore[method-assign]
    house.runner.take(await house.accept())
    await until(lambda: bool(called.seen))
    await house.stop(0)
    house.spool.record = record  # type: ignore[method-assign]
    await reopen(house)
    house.start()
    await house.runner.idle()
    assert stored.keys == [f"{ID}/0/a/0"] * 2
    assert called.keys == [f"{ID}/0/a/1"] * 2
    assert await house.results() == ["done", "done"]


async def test_a_job_whose_end_is_all_that_is_left_to_write_keeps_nobody_waiting(make: Make) -> None:
    stored = Told()
    house = make(rule("a", disk()), disk=stored, tuning=quick(in_flight=1))
    record, durable = house.spool.record, asyncio.Event()

    async def slow(unit: Recorded) -> None:
        await durable.wait()
        await record(unit)

    house.spool.record = slow  # type: ignore[method-assign]
    for number in range(8):
        identifier = message_id(NOW, 0, number.to_bytes(17, "big"))
        house.runner.take(await house.accept(identifier=identifier))
    await until(lambda: len(stored.seen) == 4)
    for _ in range(50):
        await asyncio.sleep(0)
    assert (len(stored.seen), house.runner.backlog) == (4, 4), "no more than four for each slot"
    durable.set()
    await house.runner.idle()
    assert len(stored.seen) == 8


async def test_last_outcome_and_the_end_of_the_walk_are_one_unit(make: Make) -> None:
    house = make(rule("a", disk(), add_header("X-A", "1"), disk(), STOP))
    units: list[Recorded] = []
    record = house.spool.record

    async def note(unit: Recorded) -> None:
        units.append(unit)
        await record(unit)

    house.spool.record = note  # type: ignore[method-assign]
    await house.deliver()
    assert [[row.action for row in unit.ledger] for unit in units] == [["disk"], ["add_header", "disk"], ["stop"]]
    assert [unit.job is None for unit in units] == [True, True, False]
    assert units[-1].state is MessageState.DONE


async def test_next_attempt_is_stored_before_a_repeated_attempt_is_made(make: Make) -> None:
    stored: list[Any] = []

    async def look(context: Context) -> Outcome:
        stored.extend(await house.jobs())
        return DONE

    house = make(rule("a", webhook()), webhook=Told(failed(), look))
    await house.deliver()
    await house.pass_time(2)
    assert [(job.state, job.not_before - house.clock.now) for job in stored] == [
        (JobState.LEASED, timedelta(seconds=6))
    ]


async def test_full_disk_is_waited_for_when_an_outcome_is_recorded(make: Make) -> None:
    stored = Told()
    house = make(rule("a", disk()), disk=stored, tuning=quick(full_wait_seconds=0.0))
    record, refusals = house.spool.record, [Full("no room"), Full("no room")]

    async def refuse(unit: Recorded) -> None:
        if refusals:
            raise refusals.pop()
        await record(unit)

    house.spool.record = refuse  # type: ignore[method-assign]
    await house.deliver()
    assert len(stored.seen) == 1
    assert await house.state() is MessageState.DONE


async def test_a_body_that_lacks_a_descriptor_for_now_is_waited_for_and_parks_nothing(make: Make) -> None:
    stored = Told()
    house = make(rule("a", disk()), disk=stored, tuning=quick(full_wait_seconds=0.0))
    content, refusals = house.spool.content, [Full("Too many open files"), Full("Too many open files")]

    async def refuse(identifier: str) -> Octets:
        if refusals:
            raise refusals.pop()
        return await content(identifier)

    house.spool.content = refuse  # type: ignore[method-assign]
    house.runner.take(await house.accept())
    await house.runner.idle()
    assert len(stored.seen) == 1
    assert await house.state() is MessageState.DONE


async def test_drain_lets_the_running_step_end_and_begins_no_other(make: Make) -> None:
    let_go = asyncio.Event()

    async def slow(context: Context) -> Outcome:
        await let_go.wait()
        return DONE

    stored, called = Told(slow), Told()
    house = make(rule("a", disk(), webhook()), disk=stored, webhook=called)
    house.runner.take(await house.accept())
    await until(lambda: bool(stored.seen))
    draining = asyncio.create_task(house.stop())
    await asyncio.sleep(0)
    let_go.set()
    await draining
    assert await house.results() == ["done"]
    assert called.seen == []
    await reopen(house)
    house.start()
    await house.runner.idle()
    assert len(stored.seen) == len(called.seen) == 1
    assert await house.state() is MessageState.DONE


async def test_drain_abandons_what_does_not_end_in_time(make: Make) -> None:
    async def hang(context: Context) -> Outcome:
        await asyncio.Event().wait()
        return DONE

    stored = Told(hang, DONE)
    house = make(rule("a", disk(), webhook()), disk=stored)
    house.runner.take(await house.accept())
    await until(lambda: bool(stored.seen))
    await house.stop(0)
    assert await house.results() == []
    assert [job.state for job in await house.jobs()] == [JobState.LEASED]


async def test_at_most_so_many_jobs_are_in_flight(make: Make) -> None:
    let_go, most, now = asyncio.Event(), 0, 0

    async def count(context: Context) -> Outcome:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await let_go.wait()
        now -= 1
        return DONE

    house = make(rule("a", function("RequestResponse")), function=Told(count), tuning=quick(in_flight=3))
    for number in range(8):
        house.runner.take(await house.accept(identifier=message_id(NOW, 0, bytes(16) + bytes((number,)))))
    await until(lambda: now == 3)
    assert house.runner.backlog == 5
    let_go.set()
    await house.runner.idle()
    assert most == 3
    assert house.runner.backlog == 0


async def test_nothing_is_claimed_while_the_machine_is_held(make: Make) -> None:
    held = True
    stored = Told()
    house = make(rule("a", disk()), disk=stored, tuning=quick(held=lambda: held))
    await house.accept()
    await house.stop()
    await reopen(house)
    house.start()
    for _ in range(20):
        await asyncio.sleep(0)
    assert stored.seen == []
    held = False
    await house.runner.idle()
    assert len(stored.seen) == 1


async def test_parked_message_that_was_refused_is_still_known_as_refused(make: Make) -> None:
    bounced = Told(RuntimeError("boom"), DONE)
    house = make(rule("a", BOUNCE), bounce=bounced)
    await house.deliver(state=MessageState.REJECTED)
    (job,) = await house.jobs()
    assert job.state is JobState.PARKED
    await house.spool.change_jobs([job.id], JobState.READY, house.clock.now)
    await house.pass_time(0)
    assert [context.in_session for context in bounced.seen] == [True, True]


async def test_ledger_that_does_not_fit_the_rule_set_parks_instead_of_guessing(make: Make) -> None:
    house = make(rule("a", disk(), function("RequestResponse")), function=Told(failed()))
    await house.deliver()
    house.book = book_of(rule("other", disk(), disk()))
    await house.pass_time(2)
    (job,) = await house.jobs()
    assert job.state is JobState.PARKED
    assert job.last.startswith("Misuse: the ledger's step a/0")


async def test_large_messages_wait_until_there_is_memory_for_them(make: Make) -> None:
    let_go, most, now = asyncio.Event(), 0, 0

    async def count(context: Context) -> Outcome:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await let_go.wait()
        now -= 1
        return DONE

    asked = Told(count)
    house = make(rule("a", function("RequestResponse")), function=asked, tuning=quick(octets_in_flight=2 * len(RAW)))
    for number in range(5):
        raw = RAW if number else RAW * 10  # larger than the whole budget, and taken all the same
        house.runner.take(await house.accept(raw, identifier=message_id(NOW, 0, bytes(16) + bytes((number,)))))
    await until(lambda: now == 1)
    let_go.set()
    await house.runner.idle()
    assert len(asked.seen) == 5
    assert most <= 2


async def test_broken_spool_ends_the_runner(make: Make) -> None:
    house = make(rule("a", disk()))

    async def fail(unit: Recorded) -> None:
        raise Broken("I/O error")

    house.spool.record = fail  # type: ignore[method-assign]
    house.runner.take(await house.accept())
    assert house.running is not None
    with pytest.raises(Broken):
        await house.running
    house.running = None


async def test_job_whose_message_is_gone_disturbs_no_other(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    stored = Told()
    house = make(rule("a", disk()), disk=stored)
    job = await house.accept()
    house.runner.take(changed(job, message_id=message_id(NOW, 0, bytes(17))))
    house.runner.take(job)
    await house.runner.idle()
    assert len(stored.seen) == 1
    assert "has no message any more" in caplog.text


async def test_fresh_message_is_walked_without_being_read_back(make: Make) -> None:
    stored = Told()
    house = make(rule("a", disk()), disk=stored)

    async def refuse(message_id: str) -> bytes:
        raise AssertionError("it was read back")

    job = await house.accept()
    house.spool.body = refuse  # type: ignore[method-assign]
    receipt = receipt_of(RAW)
    house.runner.take(job, Fresh(state=MessageState.ACTIVE, raw=RAW, start=Evaluation.start(house.book, receipt)))
    await house.runner.idle()
    assert stored.keys == [f"{ID}/0/a/0"]
    assert await house.state() is MessageState.DONE


async def test_held_walk_takes_a_place_in_the_end_though_its_destination_stays_full(make: Make) -> None:
    """It has the memory that whoever has the place may be waiting for: neither may wait for ever."""
    bounced = Told(destination="relay:25")
    house = make(rule("a", BOUNCE), bounce=bounced, tuning=quick(per_destination=1))
    house.runner._destinations.try_enter("relay:25")
    await house.deliver()
    assert bounced.keys == [f"{ID}/0/a/0"]
    assert house.runner._destinations.full == {"relay:25"}
