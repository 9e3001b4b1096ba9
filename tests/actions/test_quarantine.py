"""quarantine: what is held stays, goes on behind its rule when it is released, and ends by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from acting import ID, NOW, House, Make, Told, add_header, disk, failed, reopen, rule

from actions.hold import ended, released
from actions.quarantine import Quarantine
from actions.stop import Stop
from mail.errors import Temporary
from mail.outcome import Result
from mail.values import changed
from rules.model import ActionSpec
from spool.ports import Job, JobKind, JobState, MessageState, NotFound, Retention

HOLD = ActionSpec(type="quarantine", parameters={"reason": "spam", "keep": 30 * 86_400})
RETENTION = Retention()


def holding(make: Make, *rules: object, **actions: object) -> House:
    return make(*rules, quarantine=Quarantine(), **actions)


async def the_hold(house: House) -> Job:
    (job,) = [job for job in await house.jobs() if job.kind is JobKind.HOLD]
    return job


async def release(house: House) -> None:
    await house.spool.record(await released(house.spool, await the_hold(house), house.clock()))
    await house.pass_time(0)


async def test_a_held_message_goes_no_further_and_says_until_when(make: Make) -> None:
    later = Told()
    house = holding(make, rule("spam", HOLD), rule("store", disk("x")), disk=later)
    await house.deliver()
    assert (await house.results(), await house.state()) == (["done"], MessageState.QUARANTINED)
    assert later.seen == []
    (row,) = await house.ledger()
    assert (row.data["quarantine"], row.data["reason"], row.data["recipients"]) == (
        "held",
        "spam",
        "support@example.com",
    )
    assert (await the_hold(house)).not_before == NOW + timedelta(days=30)


async def test_a_release_goes_on_behind_the_rule_and_repeats_nothing(make: Make) -> None:
    store = Told()
    first = rule("first", disk("x"), add_header("X-A", "1"))
    house = holding(make, first, rule("spam", HOLD, disk("never")), rule("later", disk("y")), disk=store)
    await house.deliver()
    assert store.keys == [f"{ID}/0/first/0"]
    await release(house)
    assert store.keys == [f"{ID}/0/first/0", f"{ID}/1/later/0"]
    assert store.seen[1].prepended == b"X-A: 1\r\n"
    assert (await house.state(), await house.jobs()) == (MessageState.DONE, [])
    held = (await house.ledger())[2]
    assert (held.data["quarantine"], held.data["released_as"]) == ("released", "1")


async def test_a_released_message_that_nobody_takes_is_unhandled_and_kept(make: Make) -> None:
    house = holding(make, rule("spam", HOLD))
    await house.deliver()
    await release(house)
    assert await house.state() is MessageState.UNHANDLED


async def test_a_second_hold_behind_the_first_is_released_by_itself(make: Make) -> None:
    store = Told()
    house = holding(make, rule("spam", HOLD), rule("virus", HOLD), rule("later", disk("y")), disk=store)
    await house.deliver()
    await release(house)
    assert (await house.state(), store.seen) == (MessageState.QUARANTINED, [])
    await release(house)
    assert (store.keys, await house.state()) == ([f"{ID}/2/later/0"], MessageState.DONE)


async def test_a_step_that_retries_behind_a_release_finds_its_way(make: Make) -> None:
    store = Told(failed(), failed(), changed(failed(), result=Result.DONE))
    house = holding(make, rule("spam", HOLD), rule("later", disk("y")), disk=store)
    await house.deliver()
    await release(house)
    assert await house.state() is MessageState.RETRYING
    await house.pass_time(10)
    await house.pass_time(60)
    assert (await house.state(), set(store.keys)) == (MessageState.DONE, {f"{ID}/1/later/0"})


async def test_a_release_survives_a_restart_before_its_walk(make: Make) -> None:
    store = Told()
    house = holding(make, rule("spam", HOLD), rule("later", disk("y")), disk=store)
    await house.deliver()
    await house.stop()
    await house.spool.record(await released(house.spool, await the_hold(house), house.clock()))
    await reopen(house)
    house.start()
    await house.runner.idle()
    assert (store.keys, await house.state()) == ([f"{ID}/1/later/0"], MessageState.DONE)


async def test_nothing_is_deleted_while_it_is_held_and_then_it_goes(make: Make) -> None:
    house = holding(make, rule("spam", HOLD), rule("later", disk("y")))
    await house.deliver()
    await house.spool.sweep(NOW + timedelta(days=29), RETENTION)
    assert (await house.spool.message(ID)).has_body
    await house.pass_time(30 * 86_400)
    assert (await house.jobs(), await house.state()) == ([], MessageState.DONE)
    assert (await house.ledger())[0].data["quarantine"] == "expired"
    await house.spool.sweep(house.clock(), RETENTION)
    assert not (await house.spool.message(ID)).has_body


async def test_a_deleted_hold_leaves_the_message_to_retention(make: Make) -> None:
    house = holding(make, rule("spam", HOLD), rule("later", disk("y")))
    await house.deliver()
    job = await the_hold(house)
    await house.spool.record(await ended(house.spool, job, "deleted"))
    assert (await house.state(), await house.jobs()) == (MessageState.DONE, [])
    with pytest.raises(NotFound):
        await house.spool.record(await released(house.spool, job, house.clock()))


async def test_a_message_refused_in_the_session_stays_refused(make: Make) -> None:
    house = holding(make, rule("spam", HOLD))
    await house.deliver(state=MessageState.REJECTED)
    assert await house.state() is MessageState.REJECTED
    await house.pass_time(30 * 86_400)
    assert (await house.state(), await house.jobs()) == (MessageState.REJECTED, [])


async def test_a_dead_step_beside_a_hold_is_still_seen(make: Make) -> None:
    house = holding(
        make, rule("first", disk("x", retry_for=0)), rule("spam", HOLD), disk=Told(Temporary("no")), stop=Stop()
    )
    await house.deliver()
    assert await house.state() is MessageState.DEAD
    await release(house)
    assert [job.state for job in await house.jobs()] == [JobState.DEAD]
    assert await house.state() is MessageState.DEAD


async def test_a_hold_is_no_work_that_waits(make: Make) -> None:
    house = holding(make, rule("spam", HOLD))
    await house.deliver()
    assert house.spool.load().ready_jobs == 0
