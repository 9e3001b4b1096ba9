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
    status,
    stop,
    string,
    verdicts,
)

from mail.outcome import DONE, Control, Outcome, Result
from mail.receipt import Receipt
from rules.compiled import CompiledBook, CompiledRule, compile_book
from rules.machine import Evaluation, replay
from rules.model import ActionSpec

DEAD = Outcome(result=Result.DEAD)


def ran(compiled: CompiledBook, message: Receipt, *outcomes: Outcome) -> list[str]:
    """`rule/index` of each step, the given outcomes first and DONE after them."""
    return [f"{trace.step.rule}/{trace.step.index}" for trace in finished(compiled, message, *outcomes).steps]


def finished(compiled: CompiledBook, message: Receipt, *outcomes: Outcome) -> Evaluation:
    at = replay(compiled, message, outcomes)
    while not at.is_finished:
        at = at.advance(DONE)
    return at


def reasons(at: Evaluation) -> dict[str, tuple[bool | None, str]]:
    return {trace.name: (trace.matched, trace.reason) for trace in at.rules}


def test_all_matching_rules_run_in_order_and_bounce_does_not_stop() -> None:
    compiled = book(rule("one", bounce(), DISK), rule("two", DISK), rule("three", DISK, recipients=("b@example.com",)))
    assert ran(compiled, receipt()) == ["one/0", "one/1", "two/0"]


def test_a_rule_sees_only_its_own_recipients() -> None:
    compiled = book(rule("b", DISK, recipients=("b@example.com",)), rule("all", DISK))
    at = finished(compiled, receipt("a@example.com", "b+x@example.com"))
    assert [trace.step.recipients for trace in at.steps] == [
        (mailbox("b+x@example.com"),),
        (mailbox("a@example.com"), mailbox("b+x@example.com")),
    ]


def test_stop_rule_set_ends_it_for_the_whole_message() -> None:
    compiled = book(
        rule("b", stop(), recipients=("b@example.com",)), rule("all", DISK), rule("c", recipients=("c@example.com",))
    )
    at = finished(compiled, receipt("a@example.com", "b@example.com"))
    assert len(at.steps) == 1
    assert not at.handled
    assert reasons(at) == {
        "b": (True, "takes b@example.com"),
        "all": (False, "not reached: rule b ended the evaluation"),
        "c": (False, "no recipient matches: it wants c@example.com"),
    }


@pytest.mark.parametrize("ends", [stop("Recipients"), DROP])
def test_stop_for_recipients_and_drop_end_it_for_those_that_the_rule_took(ends: object) -> None:
    compiled = book(
        rule("b", ends, recipients=("b@example.com",)),  # type: ignore[arg-type]
        rule("all", DISK),
        rule("b-again", DISK, recipients=("b@example.com",)),
    )
    at = finished(compiled, receipt("a@example.com", "b@example.com"))
    assert [(trace.step.rule, trace.step.recipients) for trace in at.steps] == [
        ("b", (mailbox("b@example.com"),)),
        ("all", (mailbox("a@example.com"),)),
    ]
    assert reasons(at)["b-again"] == (False, "not asked: the evaluation had ended for every recipient that it wants")


def test_added_header_is_seen_by_later_steps_and_later_conditions() -> None:
    compiled = book(
        rule("before", DISK, when=(condition("header", {"name": "X-Team", "exists": True}),)),
        rule("mark", DISK, add_header("X-Team", "support"), DISK),
        rule("after", DISK, when=(condition("header", {"name": "X-Team", **string("equals", "support")}),)),
    )
    at = finished(compiled, receipt())
    assert [(trace.step.rule, trace.step.added) for trace in at.steps] == [
        ("mark", ()),
        ("mark", ()),
        ("mark", (("X-Team", "support"),)),
        ("after", (("X-Team", "support"),)),
    ]


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        (Control.CONTINUE, ["f/0", "f/1", "next/0"]),
        (Control.STOP_RULE, ["f/0", "next/0"]),
        (Control.STOP_RULE_SET, ["f/0"]),
    ],
)
def test_a_synchronous_function_disposes(control: Control, expected: list[str]) -> None:
    answered = Outcome(result=Result.DONE, control=control)
    assert ran(book(rule("f", function(), DISK), rule("next", DISK)), receipt(), answered) == expected
    told = book(rule("f", function("Event"), DISK), rule("next", DISK))
    assert ran(told, receipt(), answered) == ["f/0", "f/1", "next/0"]


def test_dead_step_goes_on_unless_the_rule_says_stop() -> None:
    assert ran(book(rule("a", DISK, DISK), rule("b", DISK)), receipt(), DEAD) == ["a/0", "a/1", "b/0"]
    stopping = book(rule("a", DISK, DISK, on_failure="stop"), rule("b", DISK))
    assert ran(stopping, receipt(), DEAD) == ["a/0"]
    assert ran(stopping, receipt(), DONE, DEAD) == ["a/0", "a/1"]


def test_an_action_s_own_word_on_failure_wins_over_its_rule_s() -> None:
    stopping = ActionSpec(type="disk", parameters={**DISK.parameters, "on_failure": "stop"})
    going_on = ActionSpec(type="disk", parameters={**DISK.parameters, "on_failure": "continue"})
    assert ran(book(rule("a", stopping), rule("b", DISK)), receipt(), DEAD) == ["a/0"]
    assert ran(book(rule("a", going_on, on_failure="stop"), rule("b", DISK)), receipt(), DEAD) == ["a/0", "b/0"]


def test_steps_that_can_change_what_follows_hold_the_walk() -> None:
    holding = [add_header("X", "y"), stop(), bounce(), DROP, function()]
    for spec in holding:
        step = Evaluation.start(book(rule("r", spec)), receipt()).step
        assert step is not None
        assert step.holds, spec.type
    for one, holds in [
        (rule("r", DISK), False),
        (rule("r", function("Event")), False),
        (rule("r", DISK, ordered=True), True),
        (rule("r", DISK, on_failure="stop"), True),
    ]:
        step = Evaluation.start(book(one), receipt()).step
        assert step is not None
        assert step.holds is holds


def test_failed_attempt_moves_nothing_and_retrying_moves_on_only_where_the_step_does_not_hold() -> None:
    at = Evaluation.start(book(rule("a", function(), DISK), rule("b", DISK)), receipt())
    assert at.advance(Outcome(result=Result.FAILED)) is at
    assert at.advance(Outcome(result=Result.RETRYING)) is at
    at = at.advance(DONE)
    assert at.advance(Outcome(result=Result.FAILED)) is at
    at = at.advance(Outcome(result=Result.RETRYING))
    assert at.step is not None
    assert at.step.key == "m1/0/b/0"
    assert at.handled


def test_rule_that_requires_tls_is_skipped_for_a_plaintext_client() -> None:
    compiled = book(rule("secret", DISK, tls_policy="Require"), rule("all", DISK))
    plain = finished(compiled, receipt())
    assert reasons(plain)["secret"] == (False, "it requires TLS and the message came without")
    assert ran(compiled, receipt()) == ["all/0"]
    assert ran(compiled, receipt(tls=TLS)) == ["secret/0", "all/0"]


UNSURE = receipt(verdicts=verdicts(dmarc="temperror"))


@pytest.mark.parametrize(
    ("on_unknown", "steps", "fate"),
    [
        ("match", ["r/0", "all/0"], "on_unknown: match, so it runs"),
        ("skip", ["all/0"], "on_unknown: skip, so it does not run"),
        ("defer", ["all/0"], "it does not run for them once the message is accepted"),
        (None, ["all/0"], "it does not run for them once the message is accepted"),
    ],
)
def test_unknown_rule_follows_on_unknown_and_says_so(on_unknown: str | None, steps: list[str], fate: str) -> None:
    compiled = book(rule("r", DISK, when=(status("dmarc", "FAIL"),), on_unknown=on_unknown), rule("all", DISK))
    assert ran(compiled, UNSURE) == steps
    assert reasons(finished(compiled, UNSURE))["r"] == (
        None,
        f"cannot tell for a@example.com: dmarc: FAIL cannot be told (saw PROCESSING_FAILED (temperror)); {fate}",
    )


def test_unless_that_cannot_be_told_is_unknown_and_not_no() -> None:
    compiled = book(rule("r", DISK, unless=(status("dmarc", "PASS"),)))
    assert reasons(finished(compiled, UNSURE))["r"][0] is None
    decided = book(rule("r", DISK, when=(status("spf", "PASS"),), unless=(status("dmarc", "PASS"),)))
    assert reasons(finished(decided, UNSURE))["r"] == (False, "spf: PASS does not hold (saw GRAY)")


def test_condition_on_recipient_narrows_the_rule() -> None:
    compiled = book(
        rule(
            "spam",
            DISK,
            when=(status("spf", "FAIL"),),
            unless=(condition("recipient", string("equals", "abuse@example.com")),),
        )
    )
    at = finished(compiled, receipt("a@example.com", "abuse@example.com", verdicts=verdicts(spf="fail")))
    assert at.steps[0].step.recipients == (mailbox("a@example.com"),)
    (trace,) = at.rules
    assert trace.reason == (
        "takes a@example.com; for others unless recipient: abuse@example.com holds (saw abuse@example.com)"
    )
    assert [(one.condition, one.saw, one.result) for one in trace.conditions] == [
        ("spf: FAIL", "FAIL", True),
        ("unless recipient: abuse@example.com", "a@example.com", False),
        ("unless recipient: abuse@example.com", "abuse@example.com", True),
    ]


def test_recipients_may_be_taken_and_unknown_at_once() -> None:
    nested = [
        {"name": "recipient", "value": string("equals", "a@example.com")},
        {"name": "dmarc", "value": {"status": ["FAIL"]}},
    ]
    message = receipt("a@example.com", "b@example.com", verdicts=verdicts(dmarc="temperror"))
    for on_unknown, taken in [("skip", 1), ("match", 2)]:
        at = finished(book(rule("r", DISK, when=(condition("any", nested),), on_unknown=on_unknown)), message)
        assert len(at.steps[0].step.recipients) == taken
        assert at.rules[0].matched is True
        assert "cannot tell for b@example.com" in at.rules[0].reason


def test_rule_that_neither_scans_nor_asks_is_told_so() -> None:
    compiled = book(
        rule("plain", DISK),
        rule("scans", DISK, scan_enabled=True),
        rule("asks", DISK, unless=(condition("any", [{"name": "virus", "value": {"status": ["FAIL"]}}]),)),
    )
    steps = finished(compiled, receipt()).steps
    assert [(trace.step.rule, trace.step.scanned) for trace in steps] == [
        ("plain", False),
        ("scans", True),
        ("asks", True),
    ]


def test_disabled_rule_and_rule_without_wanted_recipients_are_explained() -> None:
    compiled = book(
        rule("off", DISK, enabled=False), rule("other", recipients=tuple(f"u{n}@example.com" for n in range(5)))
    )
    assert reasons(finished(compiled, receipt())) == {
        "off": (False, "the rule is disabled"),
        "other": (False, "no recipient matches: it wants u0@example.com, u1@example.com, u2@example.com and 2 more"),
    }


def test_message_is_handled_by_anything_but_add_header_and_stop() -> None:
    assert not finished(book(rule("r", add_header("X", "y"), stop())), receipt()).handled
    assert finished(book(rule("r", DROP)), receipt()).handled
    assert not finished(book(rule("r", DISK)), receipt(), DEAD).handled
    assert not finished(book(rule("r", bounce())), receipt(), Outcome(result=Result.SUPPRESSED)).handled


def test_finished_walk_takes_no_outcome() -> None:
    with pytest.raises(ValueError, match="finished"):
        Evaluation.start(book(), receipt()).advance(DONE)


def test_needs_are_those_of_the_rules_that_want_a_recipient() -> None:
    compiled = book(
        rule("s", when=(status("spam", "FAIL"),), recipients=("s@example.com",)),
        rule(
            "a",
            when=(condition("not", {"name": "attachment", "value": {"name": ["*"]}}),),
            recipients=("a@example.com",),
        ),
        rule("scan", scan_enabled=True, recipients=("v@example.com",)),
        rule("off", when=(condition("dnsbl", {"lists": ["x"]}),), enabled=False),
    )
    needs = compiled.needs([mailbox("s@example.com"), mailbox("a@example.com")])
    assert (needs.spam, needs.virus, needs.attachments, needs.longest_line, needs.dnsbl) == (
        True,
        False,
        True,
        False,
        False,
    )
    assert compiled.needs([mailbox("v@example.com")]).virus
    assert not compiled.needs([mailbox("nobody@example.com")]).spam


def test_compiled_book_is_kept_by_digest() -> None:
    compiled = book(rule("r", DISK))
    assert compile_book(compiled.book) is compile_book(book(rule("r", DISK)).book)
    assert compile_book(compiled.book) is not compile_book(book(rule("other", DISK)).book)
    assert compiled.postmaster_domain == "example.com"
    assert compiled.has_domains
    assert book(domains=(".example.com", "b.example")).postmaster_domain == "b.example"
    assert book(domains=()).postmaster_domain is None


def test_only_rules_that_want_a_recipient_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = [rule(f"r{n}", DISK, recipients=(f"u{n}@example.com",)) for n in range(2_000)]
    compiled = book(*crowd)
    asked: list[str] = []
    decide = CompiledRule.decide
    monkeypatch.setattr(
        CompiledRule, "decide", lambda self, *given: (asked.append(self.rule.name), decide(self, *given))[1]
    )
    at = finished(compiled, receipt("u500@example.com"))
    assert asked == ["r500"]
    assert len(at.rules) == 2_000
