"""The rule machine over random rule sets, messages and outcomes: what must hold whatever the rules say."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mail.address import Mailbox
from mail.client import Client, Tls
from mail.envelope import Envelope, Recipient
from mail.outcome import Control, Outcome, Result
from mail.receipt import Receipt, decode_receipt, encode_receipt
from mail.reply import VERDICT_UNAVAILABLE
from mail.values import changed
from mail.verdict import AuthResult, ScanResult, Status, Verdicts
from rules.compiled import CompiledBook
from rules.conditions import compile_condition
from rules.conditions_strings import AddressLists
from rules.disposition import at_rcpt, bounce_reply, disposition
from rules.explain import explanation
from rules.facts import Facts
from rules.machine import EFFECTLESS, Evaluation, replay
from rules.model import ActionSpec, Condition, Rule, RuleBook, RuleSet, decode_book
from rules.recipients import matches
from rules.step import Disposition

ADDRESSES = ("a@example.com", "a+x@example.com", "b@example.com", "c@sub.example.com")
PATTERNS = st.sampled_from([*ADDRESSES, "example.com", ".example.com", "nobody@example.com"])
LISTS = {"partners": ("sender.example", "192.0.2.0/24", "b@example.com")}


def text(operator: str, *values: str) -> dict[str, Any]:
    return {"op": operator, "values": list(values)}


SIMPLE = st.sampled_from(
    [
        ("spf", {"status": ["FAIL"]}),
        ("spf", {"result": ["softfail", "none"]}),
        ("dmarc", {"status": ["FAIL"]}),
        ("dmarc", {"status": ["PASS", "PROCESSING_FAILED"]}),
        ("dkim", {"status": ["PASS"]}),
        ("dkim", {"result": ["fail"]}),
        ("spam", {"status": ["FAIL", "GRAY"]}),
        ("spam", {"score": {"gte": 5.0}}),
        ("dmarc_policy", {"policy": ["reject"]}),
        ("arc", {"trusted": True}),
        ("authenticated_domain", text("in_list", "partners")),
        ("authenticated_domain", text("not_equals", "sender.example")),
        ("mail_from", text("equals", "sender.example", "")),
        ("recipient", text("equals", "a@example.com")),
        ("recipient", text("not_equals", ".example.com")),
        ("recipient", text("in_list", "partners")),
        ("header", {"name": "X-Mark", "exists": True}),
        ("header", {"name": "X-Mark", **text("not_equals", "1")}),
        ("subject", text("matches", "h.llo")),
        ("source_ip", {"in_list": ["partners"]}),
        ("helo", text("ends_with", ".example")),
        ("tls", True),
        ("tls", {"min": "TLSv1.3"}),
        ("size", {"gt": 100}),
        ("recipients_count", {"gt": 1}),
        ("attachments_count", {"lt": 1}),
        ("line_too_long", False),
        ("auto_generated", True),
        ("mailing_list", False),
        ("reverse_dns", text("not_equals", "mx.sender.example")),
        ("dnsbl", {"lists": ["bl.example"]}),
    ]
).map(lambda pair: {"name": pair[0], "value": pair[1]})
NESTED = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(
            lambda name, parts: {"name": name, "value": parts},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        inner.map(lambda part: {"name": "not", "value": part}),
    ),
    max_leaves=4,
)
CONDITIONS = NESTED.map(lambda one: Condition(name=one["name"], value=one["value"]))


def spec(kind: str, **parameters: str) -> ActionSpec:
    return ActionSpec(type=kind, parameters=parameters)


BOUNCES = st.sampled_from(
    [
        spec("bounce", smtp_reply_code="550", status_code="5.7.1", message="no"),
        spec("bounce", smtp_reply_code="554", message="never"),
        spec("bounce", smtp_reply_code="450", message="later"),
    ]
)
ACTIONS = st.sampled_from(
    [
        spec("disk", path="mail", object_key_prefix="{recipient.local_part}/"),
        spec("webhook", url="https://a.example"),
        spec("bounce", smtp_reply_code="550", status_code="5.7.1", message="no"),
        spec("bounce", smtp_reply_code="550", status_code="5.7.1", message="no"),
        spec("bounce", smtp_reply_code="450", message="later"),
        spec("stop", scope="RuleSet"),
        spec("stop", scope="Recipients"),
        spec("drop"),
        spec("add_header", header_name="X-Mark", header_value="1"),
        spec("lambda", function_arn="python:a:b", invocation_type="RequestResponse"),
        spec("lambda", function_arn="python:a:b", invocation_type="Event"),
    ]
)
RULES = st.builds(
    Rule,
    name=st.just(""),
    enabled=st.sampled_from([True, True, True, False]),
    tls_policy=st.sampled_from(["Optional", "Optional", "Require"]),
    scan_enabled=st.booleans(),
    recipients=st.one_of(st.just(()), st.lists(PATTERNS, max_size=2).map(tuple)),
    when=st.one_of(st.just(()), st.lists(CONDITIONS, max_size=2).map(tuple)),
    unless=st.one_of(st.just(()), st.lists(CONDITIONS, max_size=1).map(tuple)),
    actions=st.lists(ACTIONS, max_size=4).map(tuple),
    on_unknown=st.sampled_from([None, "skip", "match", "defer"]),
    on_failure=st.sampled_from(["continue", "continue", "stop"]),
    ordered=st.booleans(),
)
REFUSING_RULES = st.builds(
    Rule,
    name=st.just(""),
    recipients=st.sampled_from([(), (), ("example.com", ".example.com"), ("a@example.com",)]),
    when=st.lists(CONDITIONS, max_size=1).map(tuple),
    actions=st.lists(st.one_of(BOUNCES, BOUNCES, ACTIONS), min_size=1, max_size=3).map(tuple),
    on_unknown=st.sampled_from([None, None, None, "skip", "match"]),
    on_failure=st.sampled_from(["continue", "continue", "continue", "stop"]),
)


def books(rules: st.SearchStrategy[Rule]) -> st.SearchStrategy[RuleBook]:
    return st.builds(book_of, st.lists(rules, max_size=6), st.sampled_from(["keep", "reject"]))


def book_of(rules: list[Rule], on_unhandled: str) -> RuleBook:
    return RuleBook(
        active="s",
        domains=("example.com", ".example.com"),
        address_lists=LISTS,
        rule_sets=(RuleSet(name="s", rules=tuple(replace(one, name=f"r{n}") for n, one in enumerate(rules))),),
        on_unhandled=on_unhandled,
    )


BOOKS = books(RULES)
REFUSING_BOOKS = st.one_of(BOOKS, books(REFUSING_RULES))

WORDS = st.sampled_from(["pass", "fail", "softfail", "none", "temperror", "temperror", "permerror"])
VERDICTS = st.builds(
    lambda spf, dkim, dmarc, arc, spam, policy: Verdicts(
        spf=AuthResult(method="spf", result=spf, properties={"smtp.mailfrom": "s@sender.example"}),
        dkim=tuple(AuthResult(method="dkim", result=one, properties={"header.d": "sender.example"}) for one in dkim),
        dmarc=AuthResult(method="dmarc", result=dmarc),
        arc=AuthResult(method="arc", result=arc, properties={"policy.trusted": "true"}),
        spam=ScanResult(status=spam, score=7.0 if spam is Status.FAIL else None),
        dmarc_policy=policy,
        from_domain="sender.example",
    ),
    WORDS,
    st.lists(WORDS, max_size=2),
    WORDS,
    WORDS,
    st.sampled_from(Status),
    st.sampled_from([None, "none", "reject"]),
)
HEADERS = [b"Subject: hello\r\n\r\n", b"X-Mark: 1\r\nList-Id: a\r\n\r\n", b"Auto-Submitted: auto-replied\r\n\r\n"]
MAILBOXES = {address: Mailbox(local_part=address.split("@")[0], domain=address.split("@")[1]) for address in ADDRESSES}
RECEIPTS = st.builds(
    lambda client, reverse_path, recipients, verdicts, size, header, longest, dnsbl: Receipt(
        message_id="m",
        received_at=datetime(2026, 1, 2, tzinfo=UTC),
        client=client,
        envelope=Envelope(
            reverse_path=reverse_path, recipients=tuple(Recipient(mailbox=MAILBOXES[r]) for r in recipients)
        ),
        size=size,
        digest="",
        verdicts=verdicts,
        header=header,
        longest_line=longest,
        attachments=None if longest is None else (),
        dnsbl=dnsbl,
    ),
    st.builds(
        Client,
        ip=st.sampled_from(["192.0.2.1", "198.51.100.1"]),
        helo=st.sampled_from(["mx.sender.example", "localhost"]),
        name=st.sampled_from([None, "mx.sender.example"]),
        tls=st.sampled_from([None, Tls(version="TLSv1.2", cipher="x")]),
    ),
    st.sampled_from(
        [None, Mailbox(local_part="s", domain="sender.example"), Mailbox(local_part="s", domain="x.example")]
    ),
    st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=3, unique=True),
    VERDICTS,
    st.sampled_from([50, 500]),
    st.sampled_from(HEADERS),
    st.sampled_from([None, 80, 1000]),
    st.sampled_from([(), ("bl.example",)]),
)
OUTCOMES = st.builds(Outcome, result=st.sampled_from(Result), control=st.sampled_from(Control))
FINAL = st.builds(
    Outcome,
    result=st.sampled_from([one for one in Result if one not in (Result.FAILED, Result.RETRYING)]),
    control=st.sampled_from(Control),
)


def live(compiled: CompiledBook, message: Receipt, data: st.DataObject, outcomes: Any = OUTCOMES) -> Evaluation:
    """Run to the end; attempts that move nothing are followed by one that does."""
    at = Evaluation.start(compiled, message)
    while not at.is_finished:
        moved = at.advance(data.draw(outcomes))
        at = moved if moved is not at else at.advance(data.draw(FINAL))
    return at


def told(at: Evaluation) -> tuple[Any, ...]:
    return at.step, at.rules, at.steps, at.handled


@given(BOOKS, RECEIPTS, st.data())
def test_replay_is_live(book: RuleBook, message: Receipt, data: st.DataObject) -> None:
    compiled = CompiledBook(book)
    end = live(compiled, message, data)
    assert told(replay(compiled, message, [trace.outcome for trace in end.steps])) == told(end)


@given(BOOKS, RECEIPTS, st.data())
def test_resume_after_a_crash_at_any_step_is_live(book: RuleBook, message: Receipt, data: st.DataObject) -> None:
    end = live(CompiledBook(book), message, data)
    # After the crash there is what the spool holds: the book's content, the receipt's parts, the ledger.
    stored_book = CompiledBook(decode_book(book.content))
    stored = decode_receipt(encode_receipt(message), message.header, {})
    outcomes = [trace.outcome for trace in end.steps]
    for crashed_at in range(len(outcomes) + 1):
        at = replay(stored_book, stored, outcomes[:crashed_at])
        assert at.steps == end.steps[:crashed_at]
        for trace in end.steps[crashed_at:]:
            assert at.step == trace.step
            at = at.advance(trace.outcome)
        assert told(at) == told(end)


@given(BOOKS, RECEIPTS, st.data())
def test_what_becomes_of_a_step_that_does_not_hold_changes_nothing_that_follows(
    book: RuleBook, message: Receipt, data: st.DataObject
) -> None:
    compiled = CompiledBook(book)
    end = live(compiled, message, data)
    worst = Outcome(result=Result.DEAD, control=Control.STOP_RULE_SET)
    later = [trace.outcome if trace.step.holds else worst for trace in end.steps]
    again = replay(compiled, message, later)
    assert [trace.step for trace in again.steps] == [trace.step for trace in end.steps]
    assert (again.rules, again.step) == (end.rules, None)


@given(BOOKS, RECEIPTS, st.data())
def test_a_rule_sees_only_recipients_that_it_wants_and_that_nothing_took_away(
    book: RuleBook, message: Receipt, data: st.DataObject
) -> None:
    rules = {one.name: one for one in book.rule_set.rules}
    gone: set[Mailbox] = set()
    for trace in live(CompiledBook(book), message, data).steps:
        step, rule = trace.step, rules[trace.step.rule]
        assert rule.enabled
        assert step.recipients
        assert set(step.recipients) <= set(message.envelope.mailboxes) - gone
        assert all(
            not rule.recipients or any(matches(one, mailbox) for one in rule.recipients) for mailbox in step.recipients
        )
        assert rule.tls_policy == "Optional" or message.client.tls is not None
        if step.spec.type == "drop" or step.spec.parameters.get("scope") == "Recipients":
            gone |= set(step.recipients)


@given(BOOKS, RECEIPTS, st.data())
def test_steps_are_finite_ordered_and_have_keys_of_their_own(
    book: RuleBook, message: Receipt, data: st.DataObject
) -> None:
    end = live(CompiledBook(book), message, data)
    most = len(message.envelope.mailboxes)  # an object for each
    assert len(end.steps) <= most * sum(len(rule.actions) for rule in book.rule_set.rules)
    assert len({trace.step.key for trace in end.steps}) == len(end.steps)
    assert [trace.step.position for trace in end.steps] == list(range(len(end.steps)))
    places = [(int(trace.step.rule[1:]), trace.step.index) for trace in end.steps]
    assert places == sorted(places)


@given(BOOKS, RECEIPTS, st.data())
def test_explanation_lists_each_rule_exactly_once_with_a_reason(
    book: RuleBook, message: Receipt, data: st.DataObject
) -> None:
    end = live(CompiledBook(book), message, data)
    listed = explanation(end)["rules"]
    assert [one["name"] for one in listed] == [rule.name for rule in book.rule_set.rules]
    assert all(one["reason"] for one in listed)
    ran = {trace.step.rule for trace in end.steps}
    assert all(one["matched"] is not False for one in listed if one["name"] in ran)


def bounced_first(end: Evaluation) -> dict[Mailbox, ActionSpec]:
    found: dict[Mailbox, ActionSpec] = {}
    for trace in end.steps:
        if trace.step.spec.type == "bounce":
            for mailbox in trace.step.recipients:
                found.setdefault(mailbox, trace.step.spec)
    return found


def assert_not_contradicted(answer: Disposition, end: Evaluation) -> None:
    if answer.kind in ("reject", "defer"):
        bounced = bounced_first(end)
        assert set(bounced) == set(end.receipt.envelope.mailboxes)
        assert answer.reply in [bounce_reply(spec) for spec in bounced.values()]
        transient = any(bounce_reply(spec).is_transient for spec in bounced.values())
        assert (answer.kind == "defer") is transient
    if answer.kind == "unhandled-reject":
        assert not end.handled
        assert all(trace.step.spec.type in EFFECTLESS for trace in end.steps)
    if answer.kind in ("reject", "unhandled-reject") and not answer.runs_on:
        assert all(trace.step.spec.type in (*EFFECTLESS, "bounce") for trace in end.steps)


@settings(max_examples=300)
@given(REFUSING_BOOKS, RECEIPTS, st.data())
def test_an_early_answer_to_data_is_contradicted_by_no_completion(
    book: RuleBook, message: Receipt, data: st.DataObject
) -> None:
    compiled = CompiledBook(book)
    answer = disposition(Evaluation.start(compiled, message))
    if answer.reply == VERDICT_UNAVAILABLE:
        assumed = replay(compiled, message, [Outcome(result=Result.WOULD_RUN)] * 100)
        assert any(one.name == answer.rule and "cannot tell" in one.reason for one in assumed.rules)
        return
    for _ in range(3):
        assert_not_contradicted(answer, live(compiled, message, data))


@settings(max_examples=300)
@given(REFUSING_BOOKS, RECEIPTS, st.data())
def test_a_refusal_at_rcpt_is_what_data_would_have_said_for_that_recipient(
    book: RuleBook, message: Receipt, data: st.DataObject
) -> None:
    compiled = CompiledBook(book)
    recipient = message.envelope.recipients[0]
    alone = changed(message, envelope=changed(message.envelope, recipients=(recipient,)))
    # The name may not have been looked up yet.
    client = changed(message.client, name=data.draw(st.sampled_from([None, message.client.name])))
    size = data.draw(st.sampled_from([None, message.size]))
    early = at_rcpt(compiled, client, message.envelope.reverse_path, size, recipient.mailbox)
    if early is None:
        return
    for _ in range(3):
        end = live(compiled, alone, data)
        (spec,) = bounced_first(end).values()
        assert bounce_reply(spec) == early.reply
        # Nothing that acts on the message came before: nothing is lost by never taking it.
        assert next(trace.step.spec.type for trace in end.steps if trace.step.spec.type != "add_header") == "bounce"


@given(CONDITIONS, RECEIPTS, st.data())
def test_an_answer_over_few_facts_holds_over_all(condition: Condition, message: Receipt, data: st.DataObject) -> None:
    full = Facts.of(message)
    # What may still be unknown at some moment of the session.
    unknowns = ("size", "recipients_count", "verdicts", "header", "attachments", "longest_line", "dnsbl")
    hidden = data.draw(st.sets(st.sampled_from(unknowns)))
    few = changed(full, **dict.fromkeys(hidden), name_is_final=False)
    if data.draw(st.booleans()):
        few = changed(few, client=changed(few.client, name=None))
    test = compile_condition(condition, AddressLists(LISTS)).test
    mailbox = message.envelope.mailboxes[0]
    early = test(few, mailbox).result
    assert early is None or early is test(full, mailbox).result


def test_the_strategies_reach_every_early_answer() -> None:
    """Guards the properties above against strategies that never make an early answer."""
    found: Counter[str] = Counter()

    @settings(max_examples=300, derandomize=True, database=None)
    @given(REFUSING_BOOKS, RECEIPTS)
    def search(book: RuleBook, message: Receipt) -> None:
        compiled = CompiledBook(book)
        answer = disposition(Evaluation.start(compiled, message))
        found["unknown" if answer.reply == VERDICT_UNAVAILABLE else answer.kind] += 1
        client, path = message.client, message.envelope.reverse_path
        if at_rcpt(compiled, client, path, message.size, message.envelope.mailboxes[0]):
            found["rcpt"] += 1

    search()
    assert all(found[kind] >= 3 for kind in ("accept", "reject", "defer", "unknown", "unhandled-reject", "rcpt")), found
