"""What `explain` tells of a message in the spool: its whole walk, with what the ledger says became of each step."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from actions.ledger import row_for
from gatepost.explanation import recorded_reply, reply_object, stored_story
from mail.address import parse_mailbox
from mail.client import Client
from mail.envelope import Envelope, Recipient
from mail.outcome import Outcome, Result
from mail.receipt import Receipt
from mail.reply import ACCEPTED, NO_SUCH_MAILBOX, TRY_AGAIN, reply_from
from mail.values import changed
from mail.verdict import AuthResult, Verdicts
from rules.compiled import compile_book
from rules.load import load_text
from rules.machine import Evaluation, walk

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCEPT = reply_object(ACCEPTED)
RULES = b"""\
version: 1
domains: [ours.example]
rule_sets:
  default:
    - {name: mark, actions: [{add_header: {header_name: X-A, header_value: b}}]}
    - {name: no, when: [{spf: FAIL}], actions: [{bounce: {smtp_reply_code: "550", message: No}}, {stop: {}}]}
    - {name: keep, actions: [{disk: {path: mail}}, {webhook: {url: "https://hooks.example/"}}]}
    - {name: last, actions: [{disk: {path: last}}]}
"""


def prepend(receipt, step):
    return b"".join(b"%s: %s\r\n" % (name.encode(), value.encode()) for name, value in step.added)


def book():
    loaded = load_text(RULES, "rules.yaml", Path())
    assert loaded.book is not None
    return compile_book(loaded.book)


def receipt(spf="pass"):
    compiled = book()
    return Receipt(
        message_id="0" * 39 + "1",
        received_at=NOW,
        client=Client(ip="192.0.2.7", helo="mx.b.example"),
        envelope=Envelope(
            reverse_path=parse_mailbox("a@b.example"), recipients=(Recipient(mailbox=parse_mailbox("x@ours.example")),)
        ),
        size=10,
        digest="0" * 64,
        verdicts=Verdicts(
            spf=AuthResult(method="spf", result=spf),
            dkim=(),
            dmarc=AuthResult(method="dmarc", result="none"),
            arc=AuthResult(method="arc", result="none"),
        ),
        rule_set=compiled.digest,
        header=b"Subject: x\r\n\r\n",
    )


DONE = Outcome(result=Result.DONE, detail="well")


def rows(count, last=DONE):
    """A ledger of the first steps, the last of them with this outcome."""
    *_, end = walk(Evaluation.start(book(), receipt()), DONE)
    reached = [trace.step for trace in end.steps[:count]]
    return [row_for(step, last if step is reached[-1] else DONE, at=NOW, attempts=1) for step in reached]


def told(ledger, reply=ACCEPT, spf="pass"):
    return stored_story(receipt(spf), book(), ledger, 0, reply, prepend)


def steps(story):
    return [(step["rule"], step["action"], step["outcome"]) for step in story["steps"]]


def test_every_rule_is_named_with_its_reason():
    story = told(rows(4))
    assert [(rule["name"], rule["matched"]) for rule in story["rules"]] == [
        ("mark", True),
        ("no", False),
        ("keep", True),
        ("last", True),
    ]
    assert all(rule["reason"] for rule in story["rules"])


def test_steps_have_the_outcome_of_the_ledger():
    story = told(rows(3, Outcome(result=Result.RETRYING, detail="HTTP 503")))
    assert steps(story) == [
        ("mark", "add_header", "done"),
        ("keep", "disk", "done"),
        ("keep", "webhook", "retrying"),
    ]
    assert story["steps"][-1]["detail"] == "HTTP 503"


def test_a_part_of_an_action_does_not_stand_for_the_next_step():
    ledger = rows(4)
    part = changed(ledger[1], recipient="topic", action="topic_notification", detail="published")
    story = told([*ledger[:2], part, *ledger[2:]])
    assert [step["action"] for step in story["steps"]] == [
        *(step["action"] for step in told(ledger)["steps"]),
        "topic_notification",
    ]
    assert story["steps"][-1]["detail"] == "published"
    assert story["steps"][-1]["recipients"] == ["x@ours.example"]


def test_a_step_that_holds_the_walk_is_told_with_its_recipients():
    story = told(rows(1, Outcome(result=Result.RETRYING, detail="later")))
    assert [(step["action"], step["recipients"]) for step in story["steps"]] == [("add_header", ["x@ours.example"])]


def test_objects_of_several_recipients_are_told_one_by_one():
    rules = RULES.replace(b"{disk: {path: mail}}", b'{disk: {path: mail, object_key_prefix: "{recipient.address}"}}')
    loaded = load_text(rules, "rules.yaml", Path())
    assert loaded.book is not None
    compiled = compile_book(loaded.book)
    both = Envelope(
        reverse_path=None,
        recipients=tuple(Recipient(mailbox=parse_mailbox(f"{name}@ours.example")) for name in "xy"),
    )
    message = changed(receipt(), envelope=both)
    *_, end = walk(Evaluation.start(compiled, message), DONE)
    late = Outcome(result=Result.RETRYING, detail="full")
    steps_run = [trace.step for trace in end.steps]
    ledger = [row_for(step, late if step.part == "y@ours.example" else DONE, at=NOW, attempts=1) for step in steps_run]
    story = stored_story(message, compiled, ledger, 0, ACCEPT, prepend)
    assert [(step["action"], step["recipients"], step["outcome"]) for step in story["steps"][:4]] == [
        ("add_header", ["x@ours.example", "y@ours.example"], "done"),
        ("disk", ["x@ours.example"], "done"),
        ("disk", ["y@ours.example"], "retrying"),
        ("webhook", ["x@ours.example", "y@ours.example"], "done"),
    ]


def test_a_message_that_was_refused_in_the_session_is_told_to_its_end():
    story = told([], reply_object(reply_from(550, None, "No")), spf="fail")
    assert [(rule["name"], rule["matched"]) for rule in story["rules"]] == [
        ("mark", True),
        ("no", True),
        ("keep", False),
        ("last", False),
    ]
    assert steps(story) == [("mark", "add_header", "done"), ("no", "bounce", "done"), ("no", "stop", "done")]
    assert {step["detail"] for step in story["steps"]} == {"answered in the session"}


def test_a_message_whose_first_step_has_not_run_yet_claims_nothing():
    story = told([])
    assert story["steps"] == []


@pytest.mark.parametrize("reply", [ACCEPTED.because("Ok 06gv"), NO_SUCH_MAILBOX, TRY_AGAIN])
def test_a_recorded_reply_is_read_back_in_its_parts(reply):
    assert recorded_reply(str(reply)) == reply_object(reply)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", (0, None, "")),
        ("no reply", (0, None, "no reply")),
        ("354 End data", (354, None, "End data")),
        ("221 Bye", (221, None, "Bye")),
        ("250 2.0.0 Ok", (250, "2.0.0", "Ok")),
    ],
)
def test_a_reply_of_another_form_is_kept_as_text(text, parts):
    assert tuple(recorded_reply(text).values()) == parts
