"""Hashes made while a message arrives are those made afterwards, whatever it holds and however it is cut; so are the verdicts."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing import LATER, RECORD, sign

from mail.address import parse_mailbox
from mail.client import Client
from mail.envelope import Envelope
from mail.message import Message
from verdicts.arriving import MOST_HASHES, MOST_HEADER_OCTETS, ArrivingMessage, wanted
from verdicts.canonical import BodyHashes
from verdicts.dns_zone import ZoneResolver
from verdicts.judge import Judgement, judge

SIGNATURES = [
    b"DKIM-Signature: v=1; c=relaxed/relaxed; h=from; b=A\r\n",
    b"DKIM-Signature: v=1; b=A\r\n",
    b"DKIM-Signature: c=simple/relaxed; l=7\r\n",
    b"DKIM-Signature: l=99999; c=relaxed\r\n",
    b"DKIM-Signature: c=odd/odd\r\nDKIM-Signature: l=x\r\nDKIM-Signature: no tags\r\n",
    b"ARC-Message-Signature: i=1; b=A\r\n",
    b"ARC-Message-Signature: i=2; c=simple/simple\r\n",
]
BODY_PARTS = st.sampled_from([b"a", b" ", b"  ", b"\t", b"\r\n", b"\r", b"\n", b"\r\n\r\n", b" \r\n", b"\xff" * 40])


def told(raw: bytes, cuts: list[int], *, until: int) -> tuple[str, BodyHashes]:
    """What an ArrivingMessage makes of the first `until` octets in pieces, and then of the whole."""
    arriving = ArrivingMessage()
    places = sorted({0, until, *(place for place in cuts if place < until)})
    for start, end in itertools.pairwise(places):
        arriving.add(raw[start:end])
    return arriving.finish(Message.of(raw))


def test_where_nobody_looks_at_signatures_the_digest_alone_is_made() -> None:
    raw = SIGNATURES[0] + b"\r\nbody\r\n"
    arriving = ArrivingMessage(is_verified=False)
    arriving.add(raw[:40])
    digest, bodies = arriving.finish(Message.of(raw))
    assert digest == hashlib.sha256(raw).hexdigest()
    spec = wanted(Message.of(raw).header)[0]
    with pytest.raises(KeyError):
        bodies[spec]
    bodies.compute([spec])  # who does look is not led astray
    assert bodies[spec] == in_one_go(raw)[spec]


def in_one_go(raw: bytes) -> BodyHashes:
    bodies = BodyHashes.of(Message.of(raw))
    bodies.compute(wanted(Message.of(raw).header))
    return bodies


@given(
    st.lists(st.sampled_from(SIGNATURES), max_size=8),
    st.lists(BODY_PARTS, max_size=40),
    st.lists(st.integers(0, 500), max_size=8),
    st.integers(0, 500),
)
def test_hashes_are_those_of_one_go_however_the_message_is_cut(
    fields: list[bytes], body: list[bytes], cuts: list[int], until: int
) -> None:
    raw = b"From: a@b.example\r\n" + b"".join(fields) + b"\r\n" + b"".join(body) + b"\r\n"
    digest, bodies = told(raw, cuts, until=min(until, len(raw)))
    assert digest == hashlib.sha256(raw).hexdigest()
    expected = in_one_go(raw)
    for spec in wanted(Message.of(raw).header):
        assert bodies[spec] == expected[spec], spec


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_no_octets_make_it_fail(raw: bytes, cuts: list[int]) -> None:
    digest, bodies = told(raw, cuts, until=len(raw) // 2)
    assert digest == hashlib.sha256(raw).hexdigest()
    bodies.require(wanted(Message.of(raw).header))


def test_no_more_than_ten_hashes_are_made_whatever_the_fields_ask_for() -> None:
    fields = b"".join(b"DKIM-Signature: l=%d\r\n" % number for number in range(500))
    specs = wanted(Message.of(fields + b"\r\nx\r\n").header)
    assert [spec.limit for spec in specs] == list(range(MOST_HASHES))


def test_a_header_section_without_an_end_is_not_gathered_for_ever() -> None:
    arriving = ArrivingMessage()
    line = b"X-Long: " + b"x" * 65_000 + b"\r\n"
    for _ in range(40):
        arriving.add(line)
    raw = line * 40 + b"DKIM-Signature: c=relaxed/relaxed\r\n\r\nbody\r\n"
    assert arriving._head is None, "what was gathered is let go"
    assert len(line) * 40 > MOST_HEADER_OCTETS
    assert arriving.finish(Message.of(raw))[0] == hashlib.sha256(raw).hexdigest()


def judged(raw: bytes, bodies: BodyHashes | None) -> Judgement:
    zone: dict[str, Any] = {"s._domainkey.acme.example": {"TXT": [RECORD]}}

    async def run() -> Judgement:
        envelope = Envelope(reverse_path=parse_mailbox("ann@acme.example"), recipients=())
        return await judge(
            Message.of(raw),
            envelope,
            Client(ip="192.0.2.1"),
            received_at=LATER,
            resolver=ZoneResolver(zone),
            bodies=bodies,
        )

    return asyncio.run(run())


def test_verdicts_are_the_same_with_and_without_hashes_made_early(torture: int) -> None:
    chance = random.Random(8)
    seen: set[str] = set()
    for number in range(2 * torture):
        body = b"".join(chance.choices([b"words ", b"  \t", b"\r\n", b"=C3=A4", b"x" * 70 + b"\r\n"], k=300)) + b"\r\n"
        forms = [(b"relaxed", b"relaxed"), (b"simple", b"simple"), (b"relaxed", b"simple")]
        raw = sign(b"From: Ann <ann@acme.example>\r\nTo: b@c.example\r\nSubject: x\r\nDate: x\r\n\r\n" + body)
        raw = sign(raw, canonicalize=chance.choice(forms), length=number % 3 == 0)
        if number % 4 == 1:
            raw = raw[:-40] + b"changed" + raw[-33:]
        cuts = [chance.randrange(len(raw)) for _ in range(6)]
        _, bodies = told(raw, cuts, until=chance.randrange(len(raw)))
        early, late = judged(raw, bodies), judged(raw, None)
        assert early == late
        seen |= {result.result for result in early.verdicts.dkim}
    assert {"pass", "fail"} <= seen
