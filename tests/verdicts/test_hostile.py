"""Hostile mail: mutations of real signed messages, keys and records never crash a check and never turn a failure into a pass."""

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from arc_suite import cases as arc_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from signing import LATER, MESSAGE, RECORD, check, key_zone, sign

from mail.address import Mailbox
from mail.client import Client
from mail.envelope import Envelope
from mail.message import Message
from verdicts.dkim_key import parse_key
from verdicts.dmarc_record import parse_record
from verdicts.dns_zone import ZoneResolver
from verdicts.judge import judge
from verdicts.ports import Answer, Lookup

VECTORS = Path(__file__).parent.parent / "vectors"
SIGNED = sign(sign(MESSAGE, canonicalize=(b"simple", b"simple")), length=True)
CHAIN = next(case for case in arc_cases() if case.name == "cv_pass_i2_1")
ARC = CHAIN.message.encode().replace(b"\n", b"\r\n")
SEEDS = [
    SIGNED,
    ARC,
    *(path.read_bytes().replace(b"\n", b"\r\n") for path in sorted((VECTORS / "dkim-chasquid").glob("*.msg"))),
]
SPICE = [
    b";",
    b"=",
    b":",
    b" ",
    b"\t",
    b"\r\n",
    b"\r\n ",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"i=",
    b"l=",
    b"b=",
    b"h=",
    b"c=",
    b"i=0;",
    b"=3D",
    b"@",
    b"(",
]
NAMES = {**CHAIN.zone, **key_zone(RECORD)}


class Chaos:
    """A resolver whose every answer is made of noise."""

    def __init__(self, noise: random.Random) -> None:
        self._noise = noise

    def cached(self, name: str, type: str) -> Answer:  # noqa: A002
        del name
        words = [
            "v=spf1",
            "v=DMARC1;",
            "p=reject;",
            "v=DKIM1;",
            "p=AAAA",
            "+mx",
            "a:%{d}",
            "include:x.example",
            "ptr",
            "exists:%{i}",
            "redirect=",
            "-all",
            "k=",
            "\x00",
            "\xff",
            "%{",
            "ip4:",
            "exp=y",
            "exp=%{p}.x",
        ]
        noise = self._noise
        outcome = noise.choice(list(Lookup))
        count = noise.randrange(1, 4) if outcome is Lookup.RECORDS else 0
        texts = (
            noise.choice(["v=spf1 ", "v=DMARC1; ", "v=DKIM1; ", ""])
            + " ".join(noise.choices(words, k=noise.randrange(8)))
            for _ in range(count)
        )
        record = {"A": "192.0.2.9", "AAAA": "::9", "MX": "10 m.example", "PTR": "p.example"}.get(type)
        return Answer(outcome=outcome, records=tuple(record or text for text in texts), detail="noise")

    async def lookup(self, name: str, type: str) -> Answer:  # noqa: A002
        return self.cached(name, type)


def mutated(noise: random.Random) -> bytes:
    data = bytearray(noise.choice(SEEDS))
    for _ in range(noise.randrange(1, 6)):
        at = noise.randrange(max(1, min(len(data), 1500)))
        match noise.randrange(4):
            case 0:
                data[at : at + 1] = noise.choice(SPICE)
            case 1:
                data[at:at] = noise.choice(SPICE)
            case 2:
                del data[at : at + noise.randrange(1, 40)]
            case 3:
                start = noise.randrange(max(1, len(data)))
                data[at:at] = data[start : start + noise.randrange(200)]
    return bytes(data)


def run(raw: bytes, resolver, noise: random.Random):
    local = noise.choice(["a", '"', "a@b", "", "é", "%{d}", "x" * 64])
    domain = noise.choice(["acme.example", "example.org", "", "x", "a..b", "y" * 300, "[::1]", "back\\slash.example"])
    path = noise.choice([None, Mailbox(local_part=local, domain=domain)])
    client = Client(
        ip=noise.choice([None, "192.0.2.9", "2001:db8::9"]),
        helo=noise.choice([None, "h.example", "%{i}", "é", "x" * 600]),
    )
    when = noise.choice([LATER, datetime(1970, 1, 1, tzinfo=UTC)])
    return asyncio.run(
        judge(Message.of(raw), Envelope(reverse_path=path, recipients=()), client, received_at=when, resolver=resolver)
    )


@pytest.mark.parametrize("block", range(10))
def test_mutated_mail_and_noise_from_dns_never_crash_a_check(block: int) -> None:
    for number in range(150):
        noise = random.Random(block * 1000 + number)
        judgement = run(mutated(noise), Chaos(noise), noise)
        assert judgement.crashes == (), number
        judgement = run(mutated(noise), ZoneResolver(NAMES), noise)
        assert judgement.crashes == (), number


@settings(max_examples=300)
@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_no_changed_octet_of_signed_mail_passes_unless_it_means_the_same(position: int, change: int) -> None:
    """Both signatures cover From, To, Subject, Date and the body; what passes differs only where nothing was signed."""
    raw = bytearray(SIGNED)
    raw[position] ^= change
    before = {result.properties["header.d"] for result in check(SIGNED) if result.result == "pass"}
    results = check(bytes(raw))
    if not any(result.result == "pass" for result in results):
        return
    assert before == {"acme.example"}
    original, altered = Message.of(SIGNED).header, Message.of(bytes(raw)).header
    for name in ("from", "subject", "to", "date"):
        assert [" ".join(field.text.split()) for field in original.all(name)] == [
            " ".join(field.text.split()) for field in altered.all(name)
        ]


@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from(["v=DKIM1", "p=", "k=rsa", ";", "AAAA", "=", " ", "t=s:y", "h=", "\x00"])).map("".join)
)
def test_key_records_never_raise(record: str) -> None:
    parse_key(record)


@given(
    st.text(max_size=300)
    | st.lists(
        st.sampled_from(["v=DMARC1", "p=reject", ";", "sp=", "=", " ", "pct=999999", "rua=mailto:a@b", "t=y"])
    ).map("".join)
)
def test_dmarc_records_never_raise(record: str) -> None:
    parse_record(record)


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_noise_as_mail_never_crashes_a_check(data: bytes) -> None:
    noise = random.Random(0)
    assert run(b"DKIM-Signature:" + data, Chaos(noise), noise).crashes == ()
    assert run(b"ARC-Seal:" + data + b"\r\nFrom:" + data, Chaos(noise), noise).crashes == ()
