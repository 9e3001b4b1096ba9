"""Walks over the in-memory spool and a clock that stands still: order, ledger, states (semantics.md §3, §4)."""

from __future__ import annotations

import pytest
from acting import (
    BOUNCE,
    ID,
    RAW,
    Make,
    Told,
    add_header,
    disk,
    function,
    rule,
    webhook,
)

from actions.add_header import AddHeader
from mail.outcome import Control, Outcome, Result
from spool.ports import MessageState


async def test_walk_runs_every_step_in_order_and_ends_done(make: Make) -> None:
    stored, called = Told(), Told()
    house = make(rule("a", disk(), webhook()), rule("b", disk()), disk=stored, webhook=called)
    await house.deliver()
    assert stored.keys == [f"{ID}/0/a/0", f"{ID}/0/b/0"]
    assert [(row.rule, row.index, row.result.value) for row in await house.ledger()] == [
        ("a", 0, "done"),
        ("a", 1, "done"),
        ("b", 0, "done"),
    ]
    assert await house.jobs() == []
    assert await house.state() is MessageState.DONE


async def test_step_sees_the_message_with_the_headers_that_were_added_before_it(make: Make) -> None:
    stored = Told()
    house = make(rule("a", disk(), add_header("X-Team", "support"), disk()), disk=stored)
    await house.deliver()
    assert [context.content for context in stored.seen] == [RAW, b"X-Team: support\r\n" + RAW]


@pytest.mark.parametrize("value", ["a\r\nBcc: all@example.com", "a\nX: y", "a\rX: y", "\0"])
async def test_a_line_break_from_the_environment_becomes_no_field_and_holds_up_nothing(make: Make, value: str) -> None:
    stored = Told()
    house = make(rule("a", add_header("X-Team", "${TEAM}"), disk()), add_header=AddHeader(), disk=stored)
    house.environment["TEAM"] = value
    await house.deliver()
    assert await house.results() == ["dead", "done"]
    assert [context.step.added for context in stored.seen] == [()]


async def test_message_that_no_rule_handles_ends_unhandled(make: Make) -> None:
    house = make(rule("a", add_header("X-Seen", "yes")))
    await house.deliver()
    assert await house.state() is MessageState.UNHANDLED
    assert await house.results() == ["done"]


async def test_message_without_any_step_ends_unhandled(make: Make) -> None:
    house = make(rule("a", disk(), recipients=("other@example.com",)))
    await house.deliver()
    assert await house.state() is MessageState.UNHANDLED
    assert await house.jobs() == []


async def test_suppressed_bounce_alone_leaves_the_message_suppressed(make: Make) -> None:
    house = make(rule("a", BOUNCE), bounce=Told(Outcome(result=Result.SUPPRESSED, detail="null reverse-path")))
    await house.deliver()
    assert await house.state() is MessageState.SUPPRESSED


async def test_action_without_a_local_target_is_unmapped_and_the_walk_goes_on(make: Make) -> None:
    stored = Told()
    sns = disk().__class__(type="sns", parameters={"topic_arn": "arn:aws:sns:eu-west-1:1:t"})
    house = make(rule("a", sns, disk()), disk=stored)
    await house.deliver()
    assert await house.results() == ["unmapped", "done"]


async def test_answer_of_a_function_stops_the_rule_set(make: Make) -> None:
    stored = Told()
    answer = Outcome(result=Result.DONE, control=Control.STOP_RULE_SET)
    house = make(rule("a", function("RequestResponse"), disk()), rule("b", disk()), function=Told(answer), disk=stored)
    await house.deliver()
    assert stored.seen == []
    assert (await house.ledger())[0].control == "STOP_RULE_SET"
    assert await house.state() is MessageState.DONE


async def test_message_refused_in_the_session_tells_its_bounce_and_stays_rejected(make: Make) -> None:
    bounced, stored = Told(), Told()
    house = make(rule("a", BOUNCE, disk()), bounce=bounced, disk=stored)
    await house.deliver(state=MessageState.REJECTED)
    assert bounced.seen[0].in_session
    assert await house.state() is MessageState.REJECTED


async def test_placeholder_is_resolved_when_the_step_runs_and_never_stored(make: Make) -> None:
    called = Told()
    house = make(rule("a", webhook(secret="${HOOK_SECRET}")), webhook=called)
    await house.deliver()
    (row,) = await house.ledger()
    assert (row.result, row.detail) == (Result.RETRYING, "${HOOK_SECRET} is not set")
    house.environment["HOOK_SECRET"] = "s3cret"
    await house.pass_time(2)
    assert called.seen[0].parameters["secret"] == "s3cret"
    assert "s3cret" not in repr(await house.ledger())


async def test_bounce_always_of_the_book_reaches_the_step(make: Make) -> None:
    bounced = Told()
    house = make(rule("a", BOUNCE), bounce=bounced, book={"bounce": "always"})
    await house.deliver()
    assert bounced.seen[0].bounce_always


async def test_re_evaluation_walks_again_with_new_keys(make: Make) -> None:
    stored = Told()
    house = make(rule("a", disk()), disk=stored)
    await house.deliver()
    await house.spool.re_evaluate(ID, house.book.digest, house.clock.now)
    await house.pass_time(0)
    assert stored.keys == [f"{ID}/0/a/0", f"{ID}/1/a/0"]
    assert await house.state() is MessageState.DONE
