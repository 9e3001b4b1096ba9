"""forward: who gets what, from whom, and what ends a loop."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from acting import NOW, RAW, Make, context_of, receipt_of, rule
from carriers import Told, onward

from actions.forward import MARK, Forward
from actions.onward import Onward
from actions.protocol import Context, Parked
from actions.srs import SenderRewriting
from mail.address import parse_mailbox
from mail.errors import Malformed
from mail.headers import parse_header
from mail.outcome import Outcome, Result
from mail.receipt import Receipt
from rules.model import ActionSpec

SRS = SenderRewriting("srs.example.com", "a secret of the tests")
PREPENDED = (
    b"Return-Path: <alice@sender.example>\r\nReceived: from x\r\n by mx.example.com with SMTP id 1; now\r\n"
    b"X-SES-Spam-Verdict: PASS\r\nReceived-SPF: pass\r\nAuthentication-Results: mx.example.com;\r\n spf=pass\r\n"
    b"X-SES-RECEIPT: AAAA\r\nX-Team: support\r\n"
)
TARGET = "team@elsewhere.example"


def attempt(
    to: list[str] | None = None, *, earlier: Outcome | None = None, raw: bytes = RAW, via: str = "", **rest: Any
) -> Context:
    parameters = {"to": to or [TARGET], "from": rest.pop("from_", "keep"), **({"via": via} if via else {})}
    receipt = receipt_of(raw, **rest)
    return context_of("forward", parameters, raw=raw, receipt=receipt, prepended=PREPENDED, earlier=earlier)


async def forward(carrier: Told, context: Context | None = None, **ways: Any) -> Outcome:
    return await Forward(onward(carrier, **ways)).run(context or attempt())


async def test_each_target_gets_the_message_by_itself() -> None:
    carrier = Told()
    outcome = await forward(carrier, attempt([TARGET, "b@other.example", TARGET]))
    assert [sent.recipients for sent in carrier.sent] == [(TARGET,), ("b@other.example",)]
    assert outcome.result is Result.DONE


async def test_the_senders_fields_and_body_go_on_byte_by_byte_below_our_trace() -> None:
    carrier = Told()
    await forward(carrier)
    raw = carrier.sent[0].raw
    assert raw.endswith(b"X-Team: support\r\n" + RAW)
    names = [field.name for field in parse_header(raw).fields]
    assert names[:5] == [MARK, "Received", "Received-SPF", "Authentication-Results", "X-Team"]
    assert b"X-SES-" not in raw
    assert b"Return-Path" not in raw


async def test_without_a_relay_the_step_parks_and_says_what_to_set() -> None:
    ways = onward(None)
    with pytest.raises(Parked, match="relay"):
        await Forward(ways).run(attempt())


async def test_via_goes_around_the_relay() -> None:
    places: list[object] = []
    relay, host = Told(), Told()
    ways = onward(host, places=places)
    ways = Onward(relay=relay, smtp=ways.smtp, lmtp=ways.lmtp, hostname="mx.example.com")
    await Forward(ways).run(attempt(via="smtp.internal:587"))
    assert (places, len(host.sent), len(relay.sent)) == ([("smtp.internal", 587)], 1, 0)
    assert Forward(ways).destination({"to": [TARGET], "via": "smtp.internal:587"}) == "smtp.internal:587"
    assert Forward(ways).destination({"to": [TARGET]}) == "relay"


async def test_a_further_attempt_is_for_the_targets_that_are_left() -> None:
    carrier = Told({"b@other.example": ["delayed", "relayed"]})
    to = [TARGET, "b@other.example"]
    first = await forward(carrier, attempt(to))
    second = await forward(carrier, attempt(to, earlier=first))
    assert (first.result, second.result) == (Result.FAILED, Result.DONE)
    assert [sent.recipients for sent in carrier.sent] == [(TARGET,), ("b@other.example",), ("b@other.example",)]


async def test_without_srs_the_reverse_path_stays() -> None:
    carrier = Told()
    await forward(carrier)
    assert str(carrier.sent[0].mail_from) == "alice@sender.example"


async def test_with_srs_a_bounce_finds_its_way_back() -> None:
    carrier = Told()
    await forward(carrier, rewriting=SRS)
    reverse_path = carrier.sent[0].mail_from
    assert reverse_path is not None
    assert reverse_path.domain == "srs.example.com"
    bounce = attempt(["srs"], reverse_path=None, recipients=(reverse_path,))
    assert (await forward(carrier, bounce, rewriting=SRS)).result is Result.DONE
    assert (carrier.sent[1].mail_from, carrier.sent[1].recipients) == (None, ("alice@sender.example",))


async def test_the_null_reverse_path_stays_null() -> None:
    carrier = Told()
    await forward(carrier, attempt(reverse_path=None), rewriting=SRS)
    assert carrier.sent[0].mail_from is None


async def test_a_sender_too_long_for_srs_stays_and_the_outcome_says_so() -> None:
    carrier = Told()
    sender = f"{'b' * 60}@lists.sender.example"
    outcome = await forward(carrier, attempt(reverse_path=sender), rewriting=SRS)
    assert str(carrier.sent[0].mail_from) == sender
    assert "too long for SRS" in outcome.detail


@pytest.mark.parametrize("local", ["SRS0=AAAAAA=AA=sender.example=victim", "SRS0=A=22=x.example=v", "SRS1=x", "bob"])
async def test_forged_srs_addresses_reach_nobody(local: str) -> None:
    carrier = Told()
    context = attempt(["srs"], reverse_path=None, recipients=(parse_mailbox(f"{local}@srs.example.com"),))
    outcome = await forward(carrier, context, rewriting=SRS)
    assert (outcome.result, carrier.sent) == (Result.DEAD, [])
    assert "5.1.1" in outcome.detail


async def test_srs_targets_without_srs_settings_reach_nobody() -> None:
    carrier = Told()
    outcome = await forward(carrier, attempt(["srs"]))
    assert (outcome.result, carrier.sent) == (Result.DEAD, [])
    assert "srs.domain is not set" in outcome.detail


async def test_what_comes_back_is_not_sent_there_again() -> None:
    carrier = Told()
    await forward(carrier)
    returned = carrier.sent[0].raw
    outcome = await forward(carrier, attempt([TARGET, "new@other.example"], raw=returned))
    assert outcome.result is Result.DEAD
    assert "5.4.6" in outcome.data[f"to:{TARGET}"]
    assert [sent.recipients for sent in carrier.sent[1:]] == [("new@other.example",)]


async def test_a_loop_that_strips_the_mark_ends_by_our_own_received() -> None:
    hop = b"Received: from a by mx.example.com with SMTP id 1; now\r\n"
    other = b"Received: from a by mx.example.com.evil.example with SMTP; now\r\n"
    carrier = Told()
    assert (await forward(carrier, attempt(raw=hop * 4 + other * 9 + RAW))).result is Result.DONE
    assert (await forward(carrier, attempt(raw=hop * 5 + RAW))).result is Result.DEAD
    assert len(carrier.sent) == 1


async def test_the_mark_does_not_name_the_target() -> None:
    carrier = Told()
    await forward(carrier)
    assert TARGET.encode() not in carrier.sent[0].raw


async def test_the_seal_stands_above_what_it_covers() -> None:
    def seal(content: bytes, receipt: Receipt, now: object) -> bytes:
        assert content.endswith(RAW)
        return b"ARC-Seal: i=1\r\n"

    carrier = Told()
    outcome = await forward(carrier, seal=seal)
    names = [field.name for field in parse_header(carrier.sent[0].raw).fields]
    assert (names[:3], outcome.result) == ([MARK, "ARC-Seal", "Received"], Result.DONE)


async def test_what_cannot_be_sealed_goes_on_without_and_the_outcome_says_why() -> None:
    def seal(content: bytes, receipt: Receipt, now: object) -> bytes:
        raise Malformed("the check of the chain so far ended temperror")

    carrier = Told()
    outcome = await forward(carrier, seal=seal)
    assert (outcome.result, len(carrier.sent)) == (Result.DONE, 1)
    assert "not sealed: the check of the chain so far ended temperror" in outcome.detail


async def rewritten(raw: bytes) -> list[tuple[str, str]]:
    carrier = Told()
    await forward(carrier, attempt(raw=raw, from_="rewrite"))
    sent = carrier.sent[0].raw
    assert sent.partition(b"\r\n\r\n")[2] == raw.partition(b"\r\n\r\n")[2]
    return [
        (field.name, field.text)
        for field in parse_header(sent).fields
        if "from" in field.name.lower() or "reply" in field.name.lower()
    ]


async def test_a_rewritten_from_is_ours_and_answers_reach_the_author() -> None:
    assert [pair for pair in await rewritten(RAW) if pair[0] != MARK] == [
        ("From", '"Alice via example.com" <support@example.com>'),
        ("Reply-To", "Alice <alice@sender.example>"),
        ("X-Original-From", "Alice <alice@sender.example>"),
    ]


async def test_a_reply_to_of_the_author_stays() -> None:
    fields = await rewritten(b"Reply-To: list@sender.example\r\n" + RAW)
    assert [value for name, value in fields if name == "Reply-To"] == ["list@sender.example"]


@pytest.mark.parametrize(
    "value",
    [
        b'"a\\"b" <a@x.example>',
        b"=?utf-8?q?Evil=0D=0AX-Injected:_1?= <a@x.example>",
        b"=?utf-8?b?w4TDtsO8?= <a@x.example>",
        b'"ceo@bank.example" <a@x.example>',
        b"a@x.example\r\n\tb@y.example",
        b"\xff\xfe <a@x.example>",
        b"=?utf-8?b?" + b"w4TDtsO8" * 200 + b"?= <a@x.example>",
        b"<>",
        b"",
        b"a\rb\nc\0 <a@x.example>",
    ],
)
async def test_no_display_name_breaks_out_of_from(value: bytes) -> None:
    fields = await rewritten(b"From: " + value + b"\r\nSubject: x\r\n\r\nbody\r\n")
    froms = [text for name, text in fields if name == "From"]
    assert len(froms) == 1
    assert froms[0].endswith(" <support@example.com>")
    assert froms[0].isascii()
    assert "ceo@bank" not in froms[0]
    assert "X-Injected" not in [name for name, _ in fields]


async def test_several_from_fields_become_one() -> None:
    fields = await rewritten(b"From: x@evil.example\r\n" + RAW)
    assert len([name for name, _ in fields if name == "From"]) == 1


async def test_the_runner_sends_each_target_once_however_often_it_retries(make: Make) -> None:
    carrier = Told({"b@other.example": ["delayed", "delayed", "relayed"]})
    spec = ActionSpec(type="forward", parameters={"to": [TARGET, "b@other.example"], "from": "keep"})
    house = make(rule("r", spec), forward=Forward(onward(carrier)))
    await house.deliver()
    await house.pass_time(5)
    await house.pass_time(30)
    assert await house.results() == ["done"]
    assert [sent.recipients[0] for sent in carrier.sent] == [TARGET, *["b@other.example"] * 3]


def test_srs_addresses_expire_and_cannot_be_moved_or_shortened() -> None:
    sender = parse_mailbox("mv@victim.co")
    address = SRS.reverse_path(sender, NOW)
    assert address is not None
    assert SRS.sender(address, NOW + timedelta(days=20)) == sender
    tag, made, day, host, local = address.local_part.split("=")
    forged = [
        f"{tag}={made[:1]}={day}={host}={local}",
        f"{tag}={made}={day}=victim.com=v",
        f"{tag}={made}={day}={host}=x{local}",
        f"{tag}={made}{made}={day}={host}={local}",
        f"{tag}={made}=AA={host}={local}",
        f"{tag}=={day}={host}={local}",
    ]
    for each in forged:
        with pytest.raises(Malformed):
            SRS.sender(parse_mailbox(f"{each}@srs.example.com"), NOW)
    with pytest.raises(Malformed, match="too old"):
        SRS.sender(address, NOW + timedelta(days=22))
    with pytest.raises(Malformed):
        SRS.sender(parse_mailbox(f"{address.local_part}@other.example"), NOW)
    with pytest.raises(Malformed):
        SenderRewriting("srs.example.com", "another secret here").sender(address, NOW)


def test_srs_survives_servers_that_fold_case_and_a_second_hop() -> None:
    first = SRS.reverse_path(parse_mailbox("alice@sender.example"), NOW)
    assert first is not None
    assert str(SRS.sender(parse_mailbox(str(first).lower()), NOW)) == "alice@sender.example"
    second = SenderRewriting("hop2.example", "the secret of the second hop")
    onward_path = second.reverse_path(first, NOW)
    assert onward_path is not None
    assert onward_path.local_part.startswith("SRS1=")
    assert second.sender(onward_path, NOW) == first
    assert SRS.reverse_path(first, NOW) == first
