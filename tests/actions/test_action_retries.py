"""What fails is tried again, apart from its walk or holding it, and is given up in the end (semantics.md §4)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from acting import (
    ID,
    NOW,
    Make,
    Told,
    dead,
    disk,
    failed,
    function,
    quick,
    reopen,
    rule,
    until,
    webhook,
)

from actions.protocol import Context
from mail.address import parse_mailbox
from mail.ids import message_id
from mail.outcome import DONE, Control, Outcome, Result
from spool.ports import JobKind, JobState, MessageState


async def test_dead_webhook_does_not_delay_the_object_behind_it(make: Make) -> None:
    stored = Told()
    house = make(rule("a", webhook(), disk()), webhook=Told(failed(), destination="hooks.example:443"), disk=stored)
    await house.deliver()
    assert len(stored.seen) == 1
    assert await house.results() == ["retrying", "done"]
    assert await house.state() is MessageState.RETRYING
    (job,) = await house.jobs()
    assert (job.kind, job.state, job.key, job.destination) == (
        JobKind.STEP,
        JobState.READY,
        f"{ID}/0/a/0",
        "hooks.example:443",
    )
    assert job.last == "HTTP 500"
    assert job.expires_at == NOW + timedelta(hours=4)


async def test_hanging_webhook_does_not_delay_the_object_and_is_not_called_twice(make: Make) -> None:
    answer = asyncio.Event()

    async def hang(context: Context) -> Outcome:
        await answer.wait()
        return DONE

    called, stored = Told(hang, destination="slow:443"), Told()
    house = make(rule("a", webhook(), disk()), webhook=called, disk=stored, tuning=quick())
    house.runner.take(await house.accept())
    await until(lambda: bool(stored.seen))
    assert (await house.ledger())[0].result is Result.RETRYING
    answer.set()
    await house.runner.idle()
    assert len(called.seen) == 1
    assert await house.results() == ["done", "done"]
    assert await house.state() is MessageState.DONE
    assert await house.jobs() == []


async def test_busy_destination_makes_a_step_wait_apart_from_its_walk(make: Make) -> None:
    answer = asyncio.Event()

    async def hang(context: Context) -> Outcome:
        await answer.wait()
        return DONE

    called, stored = Told(hang, destination="slow:443"), Told()
    house = make(rule("a", webhook(), disk()), webhook=called, disk=stored, tuning=quick(per_destination=2))
    identifiers = [message_id(NOW, 0, bytes(16) + bytes((number,))) for number in range(6)]
    for identifier in identifiers:
        house.runner.take(await house.accept(identifier=identifier))
    await until(lambda: len(stored.seen) == 6)
    assert len(called.seen) == 2
    answer.set()
    await house.runner.idle()
    assert sorted(called.keys) == sorted(f"{identifier}/0/a/0" for identifier in identifiers)
    assert {(await house.spool.message(identifier)).state for identifier in identifiers} == {MessageState.DONE}


async def test_step_that_retries_succeeds_later_and_the_message_is_done(make: Make) -> None:
    called = Told(failed(), DONE)
    house = make(rule("a", webhook(), disk()), webhook=called)
    await house.deliver()
    await house.pass_time(1.9)
    assert len(called.seen) == 1
    await house.pass_time(0.1)
    assert [context.attempt for context in called.seen] == [1, 2]
    assert called.keys[0] == called.keys[1]
    assert await house.results() == ["done", "done"]
    assert await house.jobs() == []
    assert await house.state() is MessageState.DONE


async def test_retries_wait_longer_each_time_and_end_after_four_hours(make: Make) -> None:
    called = Told(failed())
    house = make(rule("a", webhook()), webhook=called)
    await house.deliver()
    waits = []
    for _ in range(40):
        (job,) = await house.jobs()
        if job.state is JobState.DEAD:
            break
        waits.append((job.not_before - house.clock.now).total_seconds())
        await house.pass_time(waits[-1])
    assert waits[:7] == [2, 6, 18, 54, 162, 486, 900]
    assert house.clock.now == NOW + timedelta(hours=4)
    (row,) = await house.ledger()
    assert (row.result, row.detail) == (Result.DEAD, "given up: HTTP 500")
    assert row.attempts == job.attempts == len(called.seen) == len(waits) + 1
    assert await house.state() is MessageState.DEAD


async def test_a_step_that_is_dead_at_once_was_tried_once(make: Make) -> None:
    house = make(rule("a", webhook(retry_for=0)), webhook=Told(failed()))
    await house.deliver()
    await house.pass_time(1)
    (job,) = await house.jobs()
    assert (job.state, job.attempts) == (JobState.DEAD, 1)


async def test_retry_for_of_a_step_takes_the_place_of_four_hours(make: Make) -> None:
    house = make(rule("a", webhook(retry_for=60)), webhook=Told(failed()))
    await house.deliver()
    (job,) = await house.jobs()
    assert job.expires_at == NOW + timedelta(seconds=60)


async def test_destination_that_asks_for_time_gets_it(make: Make) -> None:
    house = make(rule("a", webhook()), webhook=Told(failed(retry_after_seconds=120.0)))
    await house.deliver()
    (job,) = await house.jobs()
    assert job.not_before == NOW + timedelta(seconds=120)


async def test_dead_step_is_kept_as_a_dead_job_and_can_be_redriven(make: Make) -> None:
    called = Told(dead(), DONE)
    house = make(rule("a", webhook(), disk()), webhook=called)
    await house.deliver()
    assert await house.results() == ["dead", "done"]
    assert await house.state() is MessageState.DEAD
    (job,) = await house.jobs()
    assert (job.state, job.last) == (JobState.DEAD, "HTTP 410")
    await house.spool.change_jobs([job.id], JobState.READY, house.clock.now)
    await house.pass_time(0)
    assert await house.results() == ["done", "done"]
    assert await house.jobs() == []
    assert await house.state() is MessageState.DONE


async def test_function_that_answers_holds_the_walk_until_it_has_an_outcome(make: Make) -> None:
    asked, stored = Told(failed("raised"), DONE), Told()
    house = make(rule("a", function("RequestResponse"), disk()), function=asked, disk=stored)
    await house.deliver()
    assert stored.seen == []
    (job,) = await house.jobs()
    assert (job.kind, job.state, job.last) == (JobKind.WALK, JobState.READY, "raised")
    assert await house.state() is MessageState.ACTIVE
    await house.pass_time(2)
    assert [context.attempt for context in asked.seen] == [1, 2]
    assert await house.results() == ["done", "done"]
    assert await house.jobs() == []


async def test_ordered_rule_holds_the_walk_for_any_step(make: Make) -> None:
    stored = Told()
    house = make(rule("a", webhook(), disk(), ordered=True), webhook=Told(failed(), DONE), disk=stored)
    await house.deliver()
    assert stored.seen == []
    await house.pass_time(2)
    assert len(stored.seen) == 1


async def test_held_step_that_dies_lets_the_walk_go_on_and_stays_redrivable(make: Make) -> None:
    asked, stored = Told(dead("no such function"), Outcome(result=Result.DONE, control=Control.STOP_RULE_SET)), Told()
    house = make(rule("a", function("RequestResponse"), disk()), function=asked, disk=stored)
    await house.deliver()
    assert await house.results() == ["dead", "done"]
    (job,) = await house.jobs()
    assert (job.kind, job.state) == (JobKind.STEP, JobState.DEAD)
    await house.spool.change_jobs([job.id], JobState.READY, house.clock.now)
    await house.pass_time(0)
    assert await house.results() == ["done", "done"]
    assert (await house.ledger())[0].control == "CONTINUE"  # the walk is long past it
    assert len(stored.seen) == 1


async def test_held_step_is_given_up_after_its_own_four_hours(make: Make) -> None:
    asked, stored = Told(failed("raised")), Told()
    house = make(rule("a", function("RequestResponse"), disk()), function=asked, disk=stored)
    await house.deliver()
    for _ in range(40):
        (job,) = await house.jobs()
        if job.kind is JobKind.STEP:
            break
        await house.pass_time((job.not_before - house.clock.now).total_seconds())
    assert house.clock.now == NOW + timedelta(hours=4)
    assert await house.results() == ["dead", "done"]
    assert len(stored.seen) == 1


async def test_on_failure_stop_ends_the_walk_and_a_redrive_goes_on_from_there(make: Make) -> None:
    called, stored = Told(dead(), DONE), Told()
    house = make(rule("a", webhook(), disk(), on_failure="stop"), rule("b", disk()), webhook=called, disk=stored)
    await house.deliver()
    assert stored.seen == []
    (job,) = await house.jobs()
    assert (job.kind, job.state) == (JobKind.WALK, JobState.DEAD)
    assert await house.state() is MessageState.DEAD
    await house.spool.change_jobs([job.id], JobState.READY, house.clock.now)
    await house.pass_time(0)
    assert await house.results() == ["done", "done", "done"]
    assert await house.jobs() == []
    assert await house.state() is MessageState.DONE


async def test_redriven_step_that_once_held_the_walk_may_fail_and_be_tried_again(make: Make) -> None:
    asked = Told(dead("no such function"), failed("raised"), DONE)
    house = make(rule("a", function("RequestResponse"), disk()), function=asked)
    await house.deliver()
    (job,) = await house.jobs()
    await house.spool.change_jobs([job.id], JobState.READY, house.clock.now)
    await house.pass_time(0)
    assert await house.results() == ["retrying", "done"]
    await house.pass_time(3600)
    assert await house.results() == ["done", "done"]
    assert await house.jobs() == []


async def test_message_is_done_when_the_last_of_several_lone_steps_is(make: Make) -> None:
    house = make(rule("a", webhook(), disk()), webhook=Told(failed(), DONE), disk=Told(failed(), failed(), DONE))
    await house.deliver()
    await house.pass_time(2)
    assert await house.results() == ["done", "retrying"]
    assert await house.state() is MessageState.RETRYING
    await house.pass_time(6)
    assert await house.results() == ["done", "done"]
    assert await house.state() is MessageState.DONE


async def test_step_that_went_apart_is_recorded_while_its_walk_is_held(make: Make) -> None:
    slow, recorded = asyncio.Event(), asyncio.Event()

    async def wait(context: Context) -> Outcome:
        await slow.wait()
        return DONE

    async def hold(context: Context) -> Outcome:
        slow.set()
        await recorded.wait()
        return DONE

    house = make(
        rule("a", webhook(), function("RequestResponse")), webhook=Told(wait), function=Told(hold), tuning=quick()
    )
    house.runner.take(await house.accept())
    await slow.wait()
    while not (rows := await house.ledger()) or rows[0].result is not Result.DONE:  # noqa: ASYNC110
        await asyncio.sleep(0)
    recorded.set()
    await house.runner.idle()
    assert await house.results() == ["done", "done"]
    assert await house.state() is MessageState.DONE


async def test_objects_of_several_recipients_are_stored_retried_and_told_apart(make: Make) -> None:
    async def store(context: Context) -> Outcome:
        is_down = context.step.part == "b@example.com" and context.attempt < 3
        return failed("disk full") if is_down else Outcome(result=Result.DONE, data={"object_key": context.step.part})

    stored, told = Told(store), Told()
    action = disk(object_key_prefix="{recipient.local_part}/", topic_arn="inbound")
    house = make(rule("a", action, webhook()), disk=stored, webhook=Told(), topic_notification=told)
    recipients = [parse_mailbox(f"{name}@example.com") for name in "abc"]
    await house.deliver(recipients=recipients)
    assert [(row.index, row.recipient, row.result) for row in await house.ledger() if row.action == "disk"] == [
        (0, "a@example.com", Result.DONE),
        (0, "b@example.com", Result.RETRYING),
        (0, "c@example.com", Result.DONE),
    ]
    assert [job.key for job in await house.jobs()] == [f"{ID}/0/a/0/b@example.com"]
    await house.pass_time(2.0)
    await house.pass_time(6.0)
    assert [context.step.part for context in stored.seen] == [f"{name}@example.com" for name in "abcbb"]
    assert await house.state() is MessageState.DONE
    assert sorted(told.keys) == [f"{ID}/0/a/0/{name}@example.com/topic" for name in "abc"]
    facts = {context.step.part: context.whole.data["object_key"] for context in told.seen if context.whole is not None}
    assert facts == {f"{name}@example.com/topic": f"{name}@example.com" for name in "abc"}


async def test_a_crash_between_two_objects_goes_on_with_the_second(make: Make) -> None:
    gate = asyncio.Event()

    async def store(context: Context) -> Outcome:
        if context.step.part == "b@example.com":
            await gate.wait()
        return DONE

    stored = Told(store)
    house = make(rule("a", disk(object_key_prefix="{recipient.address}/")), disk=stored)
    house.runner.take(await house.accept(recipients=[parse_mailbox(f"{name}@example.com") for name in "ab"]))
    await until(lambda: len(stored.seen) == 2)
    await house.stop(0.0)
    await reopen(house)
    gate.set()
    house.start()
    await house.runner.idle()
    assert [context.step.part for context in stored.seen] == ["a@example.com", "b@example.com", "b@example.com"]
    assert await house.results() == ["done", "done"]
