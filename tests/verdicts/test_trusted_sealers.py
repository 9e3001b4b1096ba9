"""Trusted ARC sealers: whose word lifts a DMARC failure, and all the ways in which a stranger's does not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dkim
import pytest
import yaml
from signing import LATER, MESSAGE, PRIVATE_2048, RECORD

from mail.address import parse_mailbox
from mail.client import Client
from mail.crlf import wire_bytes
from mail.envelope import Envelope
from mail.message import Message
from mail.receipt import Receipt
from mail.values import changed
from mail.verdict import AuthResult, Status, Verdicts
from verdicts.auth_results import authentication_results
from verdicts.dns_recorded import RecordedResolver
from verdicts.dns_zone import ZoneResolver
from verdicts.judge import Judgement, judge
from verdicts.policy import Policy
from verdicts.trusted_sealers import attestations, is_trusted

SAMPLES = Path(__file__).parents[2] / "samples"
PASSED = b"dmarc=pass header.from=acme.example"
LISTS = Policy(trusted_sealers=("lists.example",))
ZONE: dict[str, Any] = {
    **{f"s._domainkey.{name}": {"TXT": [RECORD]} for name in ("lists.example", "hub.example", "evil.example")},
    "s._domainkey.xn--bcher-kva.example": {"TXT": [RECORD]},
    "_dmarc.acme.example": {"TXT": ["v=DMARC1; p=reject"]},
}


def sealed(
    message: bytes, results: bytes, *, sealer: bytes = b"lists.example", arc: bytes = b"none", **options: Any
) -> bytes:
    """The message with one more ARC set, by stock dkimpy, whose Authentication-Results say this."""
    field = b"Authentication-Results: " + sealer + b"; arc=" + arc + b"; " + results + b"\r\n"
    include = options.pop("include", [b"from", b"to", b"subject", b"date", b"message-id", b"from"])
    made = dkim.arc_sign(field + message, b"s", sealer, PRIVATE_2048, sealer, include_headers=include)
    return b"".join(made) + message


async def judged(raw: bytes, policy: Policy = LISTS, zone: dict[str, Any] | None = None, **more: Any) -> Judgement:
    return await judge(
        Message.of(raw),
        Envelope(reverse_path=parse_mailbox("bounces@lists.example"), recipients=()),
        Client(ip="192.0.2.9", helo="lists.example"),
        received_at=more.get("received_at", LATER),
        resolver=ZoneResolver(ZONE if zone is None else zone),
        policy=policy,
    )


def outcome(verdicts: Verdicts) -> tuple[str, str, str | None]:
    return verdicts.arc.result, verdicts.dmarc.result, verdicts.arc.properties.get("policy.trusted")


LIFTED, NOT_LIFTED = ("pass", "pass", "true"), ("pass", "fail", None)


async def test_a_failure_is_lifted_on_the_word_of_a_trusted_sealer_and_reported_as_such() -> None:
    raw = sealed(MESSAGE, PASSED)
    verdicts = (await judged(raw)).verdicts
    assert outcome(verdicts) == LIFTED
    assert verdicts.status("dmarc") is Status.PASS
    assert verdicts.dmarc.properties["policy.arc"] == "lists.example"
    assert verdicts.dmarc.reason.endswith("; lifted by the trusted ARC chain of lists.example")
    assert verdicts.dmarc_policy == "reject"
    # Nobody proved it to us: what bypasses rest on does not see it.
    assert verdicts.from_domain_aligned is None
    assert outcome((await judged(raw, Policy())).verdicts) == NOT_LIFTED


@pytest.mark.parametrize("style", ["ses", "rfc8601"])
async def test_authentication_results_tell_on_whose_word(style: str) -> None:
    judgement = await judged(sealed(MESSAGE, PASSED))
    receipt = Receipt(
        message_id="0",
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        client=Client(ip="192.0.2.9", helo="lists.example"),
        envelope=Envelope(reverse_path=None, recipients=()),
        size=1,
        digest="",
        verdicts=judgement.verdicts,
    )
    field = authentication_results(receipt, authserv_id="mx.example", style=style)
    assert b"policy.arc=lists.example" in field
    untold = changed(judgement.verdicts, dmarc=changed(judgement.verdicts.dmarc, properties={}))
    assert b"policy.arc" not in authentication_results(
        changed(receipt, verdicts=untold), authserv_id="mx.example", style=style
    )


async def test_the_samples_forwarded_message_is_lifted() -> None:
    beside = yaml.safe_load((SAMPLES / "messages" / "forwarded-arc.eml.yaml").read_text())
    raw, _ = wire_bytes((SAMPLES / "messages" / "forwarded-arc.eml").read_bytes())
    zone = yaml.safe_load((SAMPLES / "dns" / "zone.yaml").read_text())
    at = datetime.fromisoformat(beside["now"])
    trusting = Policy(trusted_sealers=("alumni.example.org",))
    assert outcome((await judged(raw, trusting, zone, received_at=at)).verdicts) == LIFTED
    assert outcome((await judged(raw, LISTS, zone, received_at=at)).verdicts) == NOT_LIFTED


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (PASSED, LIFTED),
        (b"dmarc=pass (p=REJECT dis=NONE) header.from=ACME.example", LIFTED),
        (b"dmarc=pass header.from=other.example", NOT_LIFTED),
        (b"dmarc=pass", NOT_LIFTED),
        (b"dmarc=fail header.from=acme.example", NOT_LIFTED),
        (b"dmarc=none header.from=acme.example; spf=pass smtp.mailfrom=acme.example", NOT_LIFTED),
        (b"dmarc=fail header.from=acme.example; " + PASSED, NOT_LIFTED),
        # Without a word about DMARC: what passed must be aligned, as if we had seen it.
        (b"spf=pass smtp.mailfrom=ann@acme.example", LIFTED),
        (b"spf=pass smtp.mailfrom=mail.acme.example", LIFTED),
        (b"spf=pass smtp.mailfrom=acme.example.evil.example", NOT_LIFTED),
        (b"spf=softfail smtp.mailfrom=acme.example", NOT_LIFTED),
        (b"spf=pass smtp.helo=acme.example", NOT_LIFTED),
        (b"dkim=pass header.d=acme.example", LIFTED),
        (b"dkim=pass header.i=@acme.example", LIFTED),
        (b"dkim=pass header.d=other.example; dkim=pass header.d=acme.example", LIFTED),
        (b"dkim=pass header.d=example", NOT_LIFTED),
        (b"dkim=fail header.d=acme.example", NOT_LIFTED),
        (b'dkim=fail header.d="x; dmarc=pass header.from=acme.example"', NOT_LIFTED),
    ],
)  # fmt: skip
async def test_what_the_sealer_says_decides(results: bytes, expected: tuple[str, str, str | None]) -> None:
    assert outcome((await judged(sealed(MESSAGE, results))).verdicts) == expected


async def test_a_field_that_cannot_be_read_in_full_says_nothing() -> None:
    # Written by hand: dkimpy's own parser would drop what ours stumbles over.
    raw = sealed(MESSAGE, PASSED)
    said = Message.of(raw).header.all("arc-authentication-results")[0].raw
    assert outcome((await judged(raw.replace(said, said.replace(b"dmarc=", b"what is this dmarc="))))
                   .verdicts)[1:] == ("fail", None)  # fmt: skip


async def test_strict_alignment_needs_the_signing_domain_itself() -> None:
    zone = {**ZONE, "_dmarc.acme.example": {"TXT": ["v=DMARC1; p=reject; adkim=s; aspf=s"]}}
    for results, result in (
        (b"dkim=pass header.d=acme.example", "pass"),
        (b"dkim=pass header.i=@acme.example", "fail"),
        (b"spf=pass smtp.mailfrom=mail.acme.example", "fail"),
        (b"spf=pass smtp.mailfrom=a@acme.example", "pass"),
    ):
        verdicts = (await judged(sealed(MESSAGE, results), LISTS, zone)).verdicts
        assert verdicts.dmarc.result == result, results


async def test_a_strangers_claim_below_a_trusted_seal_is_not_believed() -> None:
    """The trusted list seals what evil.example sealed before it; what the list saw itself is a failure."""
    forged = sealed(MESSAGE, PASSED, sealer=b"evil.example")
    raw = sealed(forged, b"dmarc=fail header.from=acme.example", arc=b"pass")
    assert outcome((await judged(raw)).verdicts) == NOT_LIFTED
    assert outcome((await judged(raw, Policy(trusted_sealers=("evil.example",)))).verdicts) == NOT_LIFTED
    both = Policy(trusted_sealers=("lists.example", "evil.example"))
    assert outcome((await judged(raw, both)).verdicts) == LIFTED


async def test_a_trusted_seal_below_a_strangers_is_not_believed() -> None:
    raw = sealed(sealed(MESSAGE, PASSED), PASSED, sealer=b"evil.example", arc=b"pass")
    assert outcome((await judged(raw)).verdicts) == NOT_LIFTED


async def test_what_an_older_trusted_sealer_saw_counts_while_all_after_it_are_trusted() -> None:
    raw = sealed(sealed(MESSAGE, PASSED), b"dmarc=fail header.from=acme.example", sealer=b"hub.example", arc=b"pass")
    policy = Policy(trusted_sealers=("hub.example", "lists.example"))
    verdicts = (await judged(raw, policy)).verdicts
    assert outcome(verdicts) == LIFTED
    assert verdicts.dmarc.properties["policy.arc"] == "lists.example"


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"Hello  Bob", b"Hello Rob"), (b"dmarc=pass", b"dmarc=PASS"), (b"Seal: i=1", b"Seal: i=2"), (b"cv=none", b"cv=fail")],
)  # fmt: skip
async def test_a_chain_that_does_not_pass_is_worth_nothing(before: bytes, after: bytes) -> None:
    raw = sealed(MESSAGE, PASSED).replace(before, after, 1)
    assert outcome((await judged(raw)).verdicts) == ("fail", "fail", None)


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"h=from", b"h=to"), (b"h=from", b"l=0; h=from"), (b"\r\nTo:", b"\r\nFrom: <x@y.example>\r\nTo:")],
)
def test_a_message_signature_vouches_for_every_from_and_the_whole_body_or_for_nothing(
    before: bytes, after: bytes
) -> None:
    """Whatever the chain's result: dkimpy takes h= without From, and l= covers what it covers."""
    raw = sealed(MESSAGE, PASSED, include=[b"from", b"to"])
    passed = AuthResult(method="arc", result="pass")
    assert before in raw
    assert [each.sealer for each in attestations(Message.of(raw), passed, LISTS)] == ["lists.example"]
    assert attestations(Message.of(raw.replace(before, after)), passed, LISTS) == ()


async def test_a_second_from_is_not_lifted() -> None:
    raw = b"From: <ceo@acme.example>\r\n" + sealed(MESSAGE, PASSED)
    assert (await judged(raw)).verdicts.dmarc.result == "fail"


async def test_a_message_that_passes_by_itself_is_trusted_too_and_not_lifted() -> None:
    zone = {**ZONE, "_dmarc.lists.example": {"TXT": ["v=DMARC1; p=reject"]}, "lists.example": {"TXT": ["v=spf1 +all"]}}
    raw = sealed(MESSAGE.replace(b"acme.example", b"lists.example"), b"dmarc=pass header.from=lists.example")
    verdicts = (await judged(raw, LISTS, zone)).verdicts
    assert outcome(verdicts) == LIFTED
    assert "policy.arc" not in verdicts.dmarc.properties
    assert verdicts.from_domain_aligned == "lists.example"


async def test_without_a_policy_there_is_nothing_to_lift_but_trust_is_told() -> None:
    zone = {name: entry for name, entry in ZONE.items() if not name.startswith("_dmarc")}
    assert outcome((await judged(sealed(MESSAGE, PASSED), LISTS, zone)).verdicts) == ("pass", "none", "true")


@pytest.mark.parametrize("name", ["_dmarc.acme.example", "s._domainkey.lists.example"])
async def test_dns_that_does_not_answer_lifts_nothing(name: str) -> None:
    verdicts = (await judged(sealed(MESSAGE, PASSED), LISTS, {**ZONE, name: "SERVFAIL"})).verdicts
    assert "temperror" in (verdicts.dmarc.result, verdicts.arc.result)
    assert verdicts.dmarc.result != "pass"
    assert "policy.trusted" not in verdicts.arc.properties


async def test_a_lifted_failure_replays_from_its_evidence() -> None:
    raw = sealed(MESSAGE, b"dkim=pass header.d=mail.acme.example")
    first = await judged(raw)
    again = await judge(
        Message.of(raw),
        Envelope(reverse_path=parse_mailbox("bounces@lists.example"), recipients=()),
        Client(ip="192.0.2.9", helo="lists.example"),
        received_at=LATER,
        resolver=RecordedResolver(first.evidence),
        policy=LISTS,
    )
    assert outcome(first.verdicts) == LIFTED
    assert again.verdicts == first.verdicts


@pytest.mark.parametrize(
    ("domain", "is_listed"),
    [("lists.example", True), ("a.lists.example", False), ("evillists.example", False), ("hub.example", False),
     ("a.hub.example", True), ("a.b.hub.example", True), ("xhub.example", False), ("", False)],
)  # fmt: skip
def test_a_leading_dot_lists_what_is_below(domain: str, is_listed: bool) -> None:
    assert is_trusted(domain, ("lists.example", ".hub.example")) is is_listed


def test_trust_is_part_of_what_a_replay_compares() -> None:
    assert LISTS.digest != Policy().digest
