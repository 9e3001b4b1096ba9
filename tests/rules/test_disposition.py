import pytest
from rule_examples import (
    DISK,
    DROP,
    TLS,
    add_header,
    book,
    bounce,
    condition,
    function,
    mailbox,
    receipt,
    rule,
    scan,
    status,
    stop,
    string,
    verdicts,
)

from mail.reply import UNHANDLED_REJECTED, VERDICT_UNAVAILABLE
from rules.compiled import CompiledBook
from rules.disposition import at_rcpt, disposition
from rules.machine import Evaluation
from rules.model import ActionSpec, Condition, Rule
from rules.step import Disposition

BLOCKED = condition("mail_from", string("equals", "sender.example"))


def answered(
    *rules: Rule, recipients: tuple[str, ...] = ("a@example.com", "b@example.com"), **given: object
) -> Disposition:
    on_unhandled = given.pop("on_unhandled", "keep")
    return disposition(Evaluation.start(book(*rules, on_unhandled=on_unhandled), receipt(*recipients, **given)))


def test_every_recipient_bounced_is_refused_with_the_first_bounces_words() -> None:
    answer = answered(
        rule("a", bounce("550", "5.7.26", "first"), recipients=("a@example.com",)),
        rule("b", bounce("554", None, "second")),
    )
    assert answer.kind == "reject"
    assert str(answer.reply) == "550 5.7.26 first"
    assert answer.rule == "a"
    assert not answer.runs_on


def test_some_recipient_not_bounced_is_accepted() -> None:
    assert answered(rule("a", bounce(), recipients=("a@example.com",)), rule("all", DISK)).kind == "accept"


@pytest.mark.parametrize("place", [0, 2])
def test_other_steps_run_on_after_a_refusal(place: int) -> None:
    rules = [rule("mark", add_header("X", "y")), rule("b", bounce())]
    rules.insert(place, rule("archive", DISK))
    assert answered(*rules) == Disposition(kind="reject", reply=answered(*rules).reply, rule="b", runs_on=True)


def test_a_bounce_that_notifies_a_topic_runs_on() -> None:
    parameters = {"smtp_reply_code": "550", "message": "no", "topic_arn": "bounces"}
    assert answered(rule("b", ActionSpec(type="bounce", parameters=parameters))).runs_on


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        (rule("x", function()), "accept"),
        (rule("x", function("Event")), "reject"),
        (rule("x", DISK, on_failure="stop"), "accept"),
        (rule("x", DISK), "reject"),
        (rule("x", add_header("X", "y")), "reject"),
        (rule("x", stop("Recipients"), recipients=("a@example.com",)), "accept"),
        (rule("x", stop()), "accept"),
        (rule("x", DROP), "accept"),
        (rule("x", stop(), enabled=False), "reject"),
        (rule("x", stop(), tls_policy="Require"), "reject"),
    ],
)
def test_what_stands_before_the_bounce_decides_whether_it_is_sure(before: Rule, kind: str) -> None:
    assert answered(before, rule("b", bounce())).kind == kind


def test_bounce_before_a_function_in_its_own_rule_is_sure() -> None:
    assert answered(rule("b", bounce(), function())).kind == "reject"
    assert answered(rule("b", function(), bounce())).kind == "accept"


DMARC_FAIL = status("dmarc", "FAIL")
UNSURE = verdicts(dmarc="temperror")


@pytest.mark.parametrize(
    ("on_unknown", "when", "kind"),
    [
        (None, DMARC_FAIL, "defer"),
        ("defer", DMARC_FAIL, "defer"),
        ("skip", DMARC_FAIL, "accept"),
        (None, condition("line_too_long", True), "accept"),  # unknown for good: a later attempt would not help
        ("defer", condition("line_too_long", True), "defer"),
    ],
)
def test_unknown_rule_defers_by_default_while_the_cause_may_pass(
    on_unknown: str | None, when: Condition, kind: str
) -> None:
    answer = answered(rule("r", stop(), when=(when,), on_unknown=on_unknown), rule("b", bounce()), verdicts=UNSURE)
    assert answer.kind == kind
    if kind == "defer":
        assert (answer.reply, answer.rule) == (VERDICT_UNAVAILABLE, "r")


@pytest.mark.parametrize(("is_temporary", "kind"), [(True, "defer"), (False, "accept")])
def test_a_scan_that_will_never_succeed_defers_nobody_for_ever(is_temporary: bool, kind: str) -> None:
    failed = verdicts(virus=scan("PROCESSING_FAILED", reason="too large", is_temporary=is_temporary))
    infected = rule("infected", stop("Recipients"), when=(status("virus", "FAIL"),))
    assert answered(infected, rule("b", bounce()), verdicts=failed).kind == kind


def test_unknown_rule_that_cannot_change_the_course_leaves_the_bounce_sure() -> None:
    unsure = rule("r", DISK, when=(DMARC_FAIL,), on_unknown="skip")
    assert answered(unsure, rule("b", bounce()), verdicts=UNSURE).kind == "reject"


def test_unknown_rule_told_to_match_bounces_for_sure() -> None:
    unsure = rule("r", bounce(), stop("Recipients"), when=(DMARC_FAIL,), on_unknown="match")
    assert answered(unsure, rule("all", DISK), verdicts=UNSURE).kind == "reject"


def test_unknown_rule_that_is_not_reached_does_not_defer() -> None:
    unsure = rule("r", DISK, when=(DMARC_FAIL,))
    assert answered(rule("b", bounce(), stop()), unsure, verdicts=UNSURE).kind == "reject"


def test_temporary_bounce_defers_and_is_not_made_permanent_by_another_recipients() -> None:
    answer = answered(
        rule("a", bounce("550", "5.1.1", "gone"), recipients=("a@example.com",)),
        rule("b", bounce("450", "4.2.1", "later"), recipients=("b@example.com",)),
    )
    assert (answer.kind, str(answer.reply), answer.rule) == ("defer", "450 4.2.1 later", "b")


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ((rule("r", add_header("X", "y"), stop()),), "unhandled-reject"),
        ((), "unhandled-reject"),
        ((rule("r", DISK),), "accept"),
        ((rule("r", DROP),), "accept"),
        ((rule("r", DISK, when=(DMARC_FAIL,), on_unknown="skip"),), "accept"),
    ],
)
def test_message_that_nothing_handles_is_refused_only_if_told_so_and_sure(rules: tuple[Rule, ...], kind: str) -> None:
    assert answered(*rules, on_unhandled="reject", verdicts=UNSURE).kind == kind
    assert answered(*rules, verdicts=UNSURE).kind == "accept"
    if kind == "unhandled-reject":
        assert answered(*rules, on_unhandled="reject").reply == UNHANDLED_REJECTED


def rcpt(
    compiled: CompiledBook, address: str = "a@example.com", size: int | None = None, **given: object
) -> str | None:
    message = receipt(address, **given)
    answer = at_rcpt(compiled, message.client, message.envelope.reverse_path, size, mailbox(address))
    return None if answer is None else f"{answer.kind} {answer.reply} by {answer.rule}"


@pytest.mark.parametrize(
    "when",
    [
        BLOCKED,
        condition("source_ip", {"cidrs": ["192.0.2.0/24"]}),
        condition("tls", False),
        condition("helo", string("equals", "mx.sender.example")),
        condition("recipient", string("equals", "a@example.com")),
        condition("not", {"name": "mail_from", "value": string("equals", "other.example")}),
    ],
)
def test_bounce_known_at_rcpt_is_answered_there(when: Condition) -> None:
    assert rcpt(book(rule("b", bounce("550", "5.7.1", "no"), when=(when,)))) == "reject 550 5.7.1 no by b"


def test_declared_size_is_held_against_the_client() -> None:
    compiled = book(rule("b", bounce("552", "5.3.4", "too large"), when=(condition("size", {"gt": 100}),)))
    assert rcpt(compiled, size=101) == "reject 552 5.3.4 too large by b"
    assert rcpt(compiled, size=100) is None
    assert rcpt(compiled, size=0) is None
    assert rcpt(compiled) is None


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (rule("x", stop("Recipients")), None),
        (rule("x", stop(), when=(condition("subject", string("equals", "x")),)), None),
        (rule("x", function()), None),
        (rule("x", DISK), None),  # the copy would be lost
        (rule("x", bounce("450", None, "later"), when=(DMARC_FAIL,)), None),
        (rule("x", bounce("450", None, "later")), "defer 450 4.0.0 later by x"),
        (rule("x", add_header("X", "y"), when=(DMARC_FAIL,)), "reject 550 5.0.0 no by b"),
        (rule("x", stop(), when=(condition("tls", True),)), "reject 550 5.0.0 no by b"),
        (rule("x", stop(), tls_policy="Require"), "reject 550 5.0.0 no by b"),
        (rule("x", stop(), enabled=False), "reject 550 5.0.0 no by b"),
        (rule("x", stop(), recipients=("other@example.com",)), "reject 550 5.0.0 no by b"),
    ],
)
def test_what_stands_before_it_may_keep_a_bounce_from_rcpt(before: Rule, expected: str | None) -> None:
    assert rcpt(book(before, rule("b", bounce(), stop("Recipients"), when=(BLOCKED,)), rule("all", DISK))) == expected


def test_bounce_of_another_recipient_or_domain_is_not_answered() -> None:
    compiled = book(rule("b", bounce(), recipients=("b@example.com",)))
    assert rcpt(compiled) is None
    assert rcpt(compiled, "b+x@example.com") == "reject 550 5.0.0 no by b"
    assert rcpt(compiled, "b@elsewhere.example") is None


def test_tls_client_meets_the_rule_that_requires_it() -> None:
    compiled = book(rule("b", bounce(), tls_policy="Require"))
    assert rcpt(compiled) is None
    assert rcpt(compiled, tls=TLS) == "reject 550 5.0.0 no by b"
