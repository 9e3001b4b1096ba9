"""Judging: order, evidence, deadlines, budgets, crashes and scanners."""

import asyncio
import gc
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from signing import LATER, MESSAGE, RECORD, sign

from mail.address import parse_mailbox
from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Permanent, Temporary
from mail.message import Message
from mail.values import changed
from mail.verdict import ScanResult, Status
from verdicts import judge as judge_module
from verdicts.dns_recorded import RecordedResolver
from verdicts.dns_zone import ZoneResolver
from verdicts.judge import Judgement, judge
from verdicts.null_scanners import RecordedScanner, bounded, recorded_reply
from verdicts.policy import Policy
from verdicts.ports import Answer

SAMPLES = Path(__file__).parents[2] / "samples"
ZONE: dict[str, Any] = {
    "acme.example": {"TXT": ["v=spf1 include:spf.acme.example -all"]},
    "spf.acme.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
    "s._domainkey.acme.example": {"TXT": [RECORD]},
    "_dmarc.acme.example": {"TXT": ["v=DMARC1; p=reject"]},
}
ENVELOPE = Envelope(reverse_path=parse_mailbox("ann@acme.example"), recipients=())
CLIENT = Client(ip="192.0.2.1", helo="mx.acme.example")
SIGNED = sign()


class Late:
    """A resolver that knows nothing at first and answers in an order that chance decides."""

    def __init__(self, zone: ZoneResolver, seed: int) -> None:
        self._zone = zone
        self._random = random.Random(seed)
        self._known: dict[tuple[str, str], Answer] = {}
        self.asked: list[tuple[str, str]] = []

    async def lookup(self, name: str, type: str) -> Answer:  # noqa: A002
        self.asked.append((name, type))
        for _ in range(self._random.randrange(5)):
            await asyncio.sleep(0)
        self._known[name, type] = self._zone.cached(name, type)
        return self._known[name, type]

    def cached(self, name: str, type: str) -> Answer | None:  # noqa: A002
        return self._known.get((name, type))


class Hanging:
    async def lookup(self, name: str, type: str) -> Answer:  # noqa: A002
        await asyncio.Event().wait()
        raise AssertionError

    def cached(self, name: str, type: str) -> Answer | None:  # noqa: A002
        return None


class Broken(Hanging):
    async def lookup(self, name: str, type: str) -> Answer:  # noqa: A002
        raise ZeroDivisionError("password=secret")


class Engine:
    name = "engine"

    def __init__(self, result: ScanResult | Exception | None) -> None:
        self._result = result
        self.scanned = 0

    async def scan(self, raw: bytes, envelope: Envelope, client: Client, message_id: str = "") -> ScanResult:
        self.scanned += 1
        if self._result is None:
            await asyncio.Event().wait()
        if isinstance(self._result, Exception):
            raise self._result
        assert self._result is not None
        return self._result


async def judged(raw: bytes = b"", resolver: Any = None, **options: Any) -> Judgement:
    message = Message.of(raw or SIGNED)
    return await judge(message, ENVELOPE, CLIENT, received_at=LATER, resolver=resolver or ZoneResolver(ZONE), **options)


async def test_all_methods_are_judged() -> None:
    verdicts = (await judged()).verdicts
    assert (verdicts.spf.result, [one.result for one in verdicts.dkim], verdicts.arc.result) == (
        "pass",
        ["pass"],
        "none",
    )
    assert (verdicts.dmarc.result, verdicts.dmarc_policy, verdicts.from_domain) == ("pass", "reject", "acme.example")
    assert verdicts.spam.status is verdicts.virus.status is Status.DISABLED


@pytest.mark.parametrize(
    ("checks", "statuses"),
    [
        ((), "DISABLED DISABLED DISABLED DISABLED"),
        (("spf",), "PASS DISABLED DISABLED DISABLED"),
        (("dkim", "arc"), "DISABLED PASS DISABLED GRAY"),
        (("spf", "dkim", "dmarc"), "PASS PASS PASS DISABLED"),
        (("spf", "dmarc"), "PASS DISABLED DISABLED DISABLED"),  # half of what DMARC rests on would fail honest mail
    ],
)
async def test_a_check_that_is_off_is_disabled_and_asks_nothing(checks: tuple[str, ...], statuses: str) -> None:
    judgement = await judged(policy=Policy(checks=checks))
    assert " ".join(judgement.verdicts.status(method) for method in ("spf", "dkim", "dmarc", "arc")) == statuses
    asked = {query.check for query in judgement.evidence.queries}
    assert asked <= set(checks) - ({"dmarc"} if "dkim" not in checks else set())
    assert judgement.crashes == ()


async def test_nothing_stands_behind_a_check_that_is_off() -> None:
    verdicts = (await judged(policy=Policy(checks=()))).verdicts
    assert [verdicts.results(method) for method in ("spf", "dkim", "dmarc", "arc")] == [()] * 4
    assert (verdicts.spf_domain, verdicts.dkim_domains, verdicts.from_domain_aligned) == (None, (), None)


def test_a_warm_cache_never_touches_the_scheduler() -> None:
    """The coroutine ends at its first step: nothing was awaited, no task was made, there is not even a loop."""
    with pytest.raises(StopIteration) as ended:
        judged().send(None)
    assert ended.value.value.verdicts.dmarc.result == "pass"


@pytest.mark.parametrize("seed", range(20))
async def test_order_of_answers_changes_neither_verdicts_nor_evidence(seed: int) -> None:
    warm = await judged()
    cold = await judged(resolver=Late(ZoneResolver(ZONE), seed))
    assert cold == warm
    assert [(one.check, one.name) for one in cold.evidence.queries] == [
        ("spf", "acme.example"),
        ("spf", "spf.acme.example"),
        ("dkim", "s._domainkey.acme.example"),
        ("dmarc", "_dmarc.acme.example"),
    ]


async def test_no_question_is_asked_twice_and_the_policy_record_is_asked_for_early() -> None:
    resolver = Late(ZoneResolver(ZONE), 0)
    await judged(sign(sign()), resolver)
    assert len(resolver.asked) == len(set(resolver.asked)) == 4
    assert ("_dmarc.acme.example", "TXT") in resolver.asked[:3]


async def test_samples_replay_identically_from_their_evidence() -> None:
    """With the zone gone: promise 2."""
    zone = ZoneResolver(yaml.safe_load((SAMPLES / "dns" / "zone.yaml").read_text()))
    paths = sorted((SAMPLES / "messages").glob("*.eml"))
    for path in paths:
        facts = yaml.safe_load(path.with_suffix(".eml.yaml").read_text())
        message = Message.of(path.read_bytes())
        mail_from = facts.get("mail_from") or ""
        envelope = Envelope(reverse_path=parse_mailbox(mail_from) if "@" in mail_from else None, recipients=())
        client = Client(ip=facts.get("client_ip"), helo=facts.get("helo"))
        when = datetime.fromisoformat(facts["now"]) if "now" in facts else LATER
        first = await judge(message, envelope, client, received_at=when, resolver=zone)
        again = await judge(message, envelope, client, received_at=when, resolver=RecordedResolver(first.evidence))
        assert again == first, path.name
        assert first.crashes == ()
    assert len(paths) >= 20


# --- trouble ---


async def test_dns_deadline_is_a_temperror_with_its_reason() -> None:
    judgement = await judged(resolver=Hanging(), policy=Policy(dns_deadline_seconds=0.05))
    verdicts = judgement.verdicts
    assert [one.result for one in (verdicts.spf, *verdicts.dkim, verdicts.dmarc)] == ["temperror"] * 3
    assert "no DNS answer before the deadline" in verdicts.spf.reason
    again = await judged(resolver=RecordedResolver(judgement.evidence))
    assert again.verdicts == verdicts


async def test_a_broken_resolver_is_temperror_and_leaks_nothing() -> None:
    judgement = await judged(resolver=Broken())
    assert judgement.verdicts.spf.result == "temperror"
    assert "secret" not in repr(judgement)


async def test_a_check_that_crashes_touches_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError("password=secret")

    monkeypatch.setattr(judge_module, "check_dkim", crash)
    judgement = await judged()
    verdicts = judgement.verdicts
    assert (verdicts.dkim[0].result, verdicts.dkim[0].reason) == ("permerror", "check crashed (ZeroDivisionError)")
    assert verdicts.status("dkim") is Status.PROCESSING_FAILED
    assert (verdicts.spf.result, verdicts.dmarc.result) == ("pass", "pass")
    assert "secret" not in repr(verdicts)
    assert "password=secret" in judgement.crashes[0]


async def test_a_strangers_spf_record_cannot_use_up_the_queries_of_dmarc() -> None:
    zone = dict(ZONE)
    zone["acme.example"] = {"TXT": ["v=spf1 " + " ".join(f"mx:m{i}.example" for i in range(10)) + " -all"]}
    for i in range(10):
        zone[f"m{i}.example"] = {"MX": [[1, f"h{i}-{j}.example"] for j in range(10)]}
        zone.update({f"h{i}-{j}.example": {"A": ["198.51.100.1"]} for j in range(10)})
    judgement = await judged(MESSAGE, ZoneResolver(zone))
    verdicts = judgement.verdicts
    assert (verdicts.spf.result, verdicts.spf.reason) == ("permerror", "needs more than 30 DNS queries")
    assert (verdicts.dmarc.result, verdicts.dmarc_policy) == ("fail", "reject")
    assert len(judgement.evidence.queries) <= 60
    again = await judged(MESSAGE, RecordedResolver(judgement.evidence))
    assert again.verdicts == verdicts


async def test_giant_answers_are_over_budget() -> None:
    zone = {**ZONE, "acme.example": {"TXT": ["v=spf1 -all", *("x" * 60_000 for _ in range(2))]}}
    judgement = await judged(resolver=ZoneResolver(zone))
    assert judgement.verdicts.spf.reason == "needs more than 64 KiB of DNS answers"
    kept = sum(len(text) for records in judgement.evidence.answers.values() for text in records)
    assert kept <= 256 * 1024


async def test_a_large_body_is_hashed_beside_the_loop() -> None:
    raw = sign(MESSAGE + b"line of text\r\n" * 40_000)
    judgement = await judged(raw)
    assert judgement.verdicts.dkim[0].result == "pass"
    assert (await judged(raw.replace(b"line of", b"lime of", 1))).verdicts.dkim[0].result == "fail"


async def test_cancellation_is_not_swallowed() -> None:
    task = asyncio.create_task(judged(resolver=Hanging(), spam=Engine(None), wants_spam=True))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- scanners ---

CLEAN = ScanResult(status=Status.PASS, engine="engine", version="1")


async def test_scans_run_only_where_they_are_wanted() -> None:
    engine = Engine(CLEAN)
    judgement = await judged(spam=engine, virus=engine)
    assert (engine.scanned, judgement.verdicts.spam.status) == (0, Status.DISABLED)
    judgement = await judged(spam=engine, wants_spam=True, wants_virus=True)
    assert (engine.scanned, judgement.verdicts.spam, judgement.verdicts.virus.status) == (1, CLEAN, Status.DISABLED)
    assert judgement.deferred is judgement.rejected is None


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Temporary("clamd is down"), "clamd is down"),
        (ZeroDivisionError("secret"), "engine crashed (ZeroDivisionError)"),
        (None, "no answer within 0.02 s"),
    ],
)
@pytest.mark.parametrize("on_error", ["defer", "accept", "reject"])
async def test_a_scan_that_fails_is_never_clean(failure: Exception | None, reason: str, on_error: str) -> None:
    policy = Policy(virus_on_error=on_error, virus_deadline_seconds=0.02)
    judgement = await judged(virus=Engine(failure), wants_virus=True, policy=policy)
    virus = judgement.verdicts.virus
    assert (virus.status, virus.reason, virus.engine) == (Status.PROCESSING_FAILED, reason, "engine")
    said = f"virus scan failed: {reason}"
    assert (judgement.deferred, judgement.rejected) == (
        said if on_error == "defer" else None,
        said if on_error == "reject" else None,
    )
    assert judgement.verdicts.spf.result == "pass"


def test_defaults_defer_for_virus_and_accept_for_spam() -> None:
    assert (Policy().virus_on_error, Policy().spam_on_error) == ("defer", "accept")


async def test_scans_replay_from_their_evidence() -> None:
    found = ScanResult(status=Status.FAIL, engine="engine", score=7.5, threshold=5.0, symbols=("GTUBE",))
    first = await judged(spam=Engine(found), wants_spam=True)
    recorded = RecordedScanner("spam", first.evidence)
    again = await judged(resolver=RecordedResolver(first.evidence), spam=recorded, wants_spam=True)
    assert again == first
    never = RecordedScanner("virus", first.evidence)
    judgement = await judged(virus=never, wants_virus=True)
    assert judgement.verdicts.virus.reason == "no scan was recorded"


def test_scanner_replies_are_bounded() -> None:
    many = changed(CLEAN, symbols=tuple(f"SYMBOL_{number}" for number in range(5000)), reason="x" * 100_000)
    assert len(recorded_reply(bounded(many)).encode()) <= 8 * 1024


async def test_a_verdict_longer_than_its_evidence_is_cut_before_it_is_given() -> None:
    many = changed(CLEAN, symbols=tuple(f"SYMBOL_{number}" for number in range(5000)), reason="é" * 100_000)
    first = await judged(spam=Engine(many), wants_spam=True)
    again = await judged(spam=RecordedScanner("spam", first.evidence), wants_spam=True)
    assert again.verdicts.spam == first.verdicts.spam
    assert first.verdicts.spam.symbols[:2] == ("SYMBOL_0", "SYMBOL_1")


async def test_a_failure_that_stays_is_told_from_one_that_may_pass() -> None:
    for failure, is_temporary in ((Temporary("down"), True), (Permanent("too large"), False)):
        virus = (await judged(virus=Engine(failure), wants_virus=True)).verdicts.virus
        assert (virus.status, virus.is_temporary) == (Status.PROCESSING_FAILED, is_temporary)


def test_policy_digest_tells_settings_apart() -> None:
    assert Policy().digest == Policy().digest != Policy(dmarc="rfc7489").digest
    assert LATER.tzinfo is UTC


async def test_a_judged_message_leaves_nothing_to_the_garbage_collector() -> None:
    async def judged() -> None:
        await judge(Message.of(SIGNED), ENVELOPE, CLIENT, received_at=LATER, resolver=ZoneResolver(ZONE))

    await judged()
    gc.collect()
    gc.disable()
    try:
        await judged()
        assert gc.collect() == 0
    finally:
        gc.enable()
