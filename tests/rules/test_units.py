"""Storing actions: one step for each object that the key's template tells apart, and what `{match.NAME}` stands for in it."""

from __future__ import annotations

from typing import Any

import pytest
from rule_examples import book, condition, receipt, rule, string

from mail.outcome import DONE, Outcome, Result
from mail.receipt import Receipt
from rules.compiled import CompiledBook
from rules.machine import Evaluation, replay
from rules.model import ActionSpec, Condition
from rules.patterns import group_names
from rules.step import Step

DEAD = Outcome(result=Result.DEAD)
RETRYING = Outcome(result=Result.RETRYING)
THREE = ("a@example.com", "b@example.com", "c@sub.example.com")
TICKET = condition("subject", string("matches", r"\[(?P<queue>[a-z]+)-(?P<number>\d+)\]"))


def stored(prefix: str, **rest: Any) -> ActionSpec:
    return ActionSpec(type="disk", parameters={"path": "mail", "object_key_prefix": prefix, **rest})


def steps(compiled: CompiledBook, message: Receipt, *outcomes: Outcome) -> list[Step]:
    at = replay(compiled, message, outcomes)
    while not at.is_finished:
        at = at.advance(DONE)
    return [trace.step for trace in at.steps]


def test_a_key_that_names_the_recipient_is_a_step_for_each() -> None:
    found = steps(book(rule("r", stored("{recipient.local_part}/"), stored("all/"))), receipt(*THREE))
    assert [(step.key, [str(each) for each in step.recipients], step.position) for step in found] == [
        ("m1/0/r/0/a@example.com", ["a@example.com"], 0),
        ("m1/0/r/0/b@example.com", ["b@example.com"], 1),
        ("m1/0/r/0/c@sub.example.com", ["c@sub.example.com"], 2),
        ("m1/0/r/1", list(THREE), 3),
    ]


def test_recipients_that_the_key_does_not_tell_apart_share_an_object() -> None:
    found = steps(book(rule("r", stored("{recipient.domain}/"))), receipt(*THREE))
    assert [[str(each) for each in step.recipients] for step in found] == [list(THREE[:2]), [THREE[2]]]
    assert [step.part for step in found] == [THREE[0], THREE[2]]


def test_metadata_tells_nobody_apart() -> None:
    compiled = book(rule("r", stored("in/", metadata={"for": "{recipient.address}"})))
    assert [step.part for step in steps(compiled, receipt(*THREE))] == [""]


def test_one_object_that_dies_or_waits_keeps_no_other_from_being_stored() -> None:
    compiled = book(rule("r", stored("{recipient.local_part}/")), rule("next", stored("")))
    found = steps(compiled, receipt(*THREE), DEAD, RETRYING)
    assert [step.part for step in found] == [*THREE, ""]


def test_one_that_dies_under_on_failure_stop_ends_the_rest() -> None:
    compiled = book(rule("r", stored("{recipient.local_part}/"), on_failure="stop"), rule("next", stored("")))
    assert [step.part for step in steps(compiled, receipt(*THREE), DONE, DEAD)] == list(THREE[:2])


def captured(*when: Condition, prefix: str = "{match.queue}/", **given: Any) -> list[dict[str, str]]:
    compiled = book(rule("r", stored(prefix), when=when))
    return [dict(step.captured) for step in steps(compiled, receipt(*given.pop("to", ()), **given))]


def header(subject: str) -> str:
    return f"From: sender@sender.example\nSubject: {subject}\n"


@pytest.mark.parametrize(
    "when",
    [
        TICKET,
        condition("any", [{"name": "size", "value": {"lt": 1}}, {"name": "subject", "value": TICKET.value}]),
        condition("header", {"name": "Subject", **TICKET.value}),
    ],
)
def test_a_group_of_a_pattern_is_what_it_captured_wherever_it_stands(when: Condition) -> None:
    assert captured(when, header=header("Re: [Billing-42] late")) == [{"queue": "Billing", "number": "42"}]


def test_the_first_pattern_that_is_found_says_what_a_name_is() -> None:
    first = condition("subject", string("matches", r"(?P<queue>nowhere)|.", r"\[(?P<queue>\w+)"))
    assert captured(first, TICKET, header=header("[vip-1]")) == [{"queue": "vip", "number": "1"}]


def test_a_group_of_the_recipient_tells_recipients_apart() -> None:
    when = condition("recipient", string("matches", r"^(?P<queue>\w+)-\w+@"))
    compiled = book(rule("r", stored("{match.queue}/"), when=(when,)))
    found = steps(compiled, receipt("sales-a@example.com", "sales-b@example.com", "help-c@example.com"))
    assert [(step.part, dict(step.captured), len(step.recipients)) for step in found] == [
        ("sales-a@example.com", {"queue": "sales"}, 2),
        ("help-c@example.com", {"queue": "help"}, 1),
    ]


def test_nothing_is_captured_for_templates_that_do_not_ask() -> None:
    assert captured(TICKET, prefix="all/", header=header("[vip-1]")) == [{}]


def test_names_are_those_of_the_pattern() -> None:
    assert group_names(r"(?P<a>x)(y)(?P<b>z)?") == ["a", "b"]
    assert group_names("(") == []


def test_a_walk_resumed_in_the_middle_of_an_action_goes_on_with_its_next_object() -> None:
    compiled = book(rule("r", stored("{recipient.local_part}/")))
    live = Evaluation.start(compiled, receipt(*THREE)).advance(DONE)
    assert replay(compiled, receipt(*THREE), [DONE]) == live
    assert live.step is not None
    assert live.step.part == THREE[1]


def test_the_explanation_says_what_was_captured() -> None:
    compiled = book(rule("r", stored("{match.queue}/"), when=(TICKET,)))
    [trace] = Evaluation.start(compiled, receipt(header=header("[billing-42]"))).advance(DONE).rules
    assert trace.reason == "takes a@example.com; match.number is 42; match.queue is billing"
