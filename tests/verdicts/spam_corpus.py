"""Made-up spam and ham for the built-in scorer: two vocabularies that overlap, drawn by a seed. No accuracy follows from it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from mail.client import Client
from mail.message import Message
from mail.verdict import ScanResult
from verdicts.builtin_scorer import BuiltinScorer
from verdicts.builtin_scorer_features import Found
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Inquiry
from verdicts.token_model import encode
from verdicts.token_training import Tally

COMMON = [f"word{number}" for number in range(60)]
SPAMMY = [f"offer{number}" for number in range(40)]
HAMMY = [f"meeting{number}" for number in range(40)]
KNOWN = Client(ip="192.0.2.1", name="mail.example.net")
NEUTRAL = Found(client=KNOWN, spf="none", dmarc="none")


def mail(words: list[str] | str, subject: str = "Hello") -> bytes:
    text = words if isinstance(words, str) else " ".join(words)
    return f"From: a@b.example\r\nSubject: {subject}\r\n\r\n{text}\r\n".encode()


def corpus(count: int, *, is_spam: bool, seed: int = 1) -> Iterator[bytes]:
    draw = random.Random(f"{seed}{is_spam}")
    own = SPAMMY if is_spam else HAMMY
    for number in range(count):
        yield mail([*draw.sample(COMMON, 15), *draw.sample(own, 6), f"unique{seed}{is_spam}{number}"])


def trained(spam: list[bytes], ham: list[bytes]) -> bytes:
    tally = Tally()
    for raw in spam:
        tally.add(raw, is_spam=True)
    for raw in ham:
        tally.add(raw, is_spam=False)
    return encode(tally.trained())


def scorer_of(path: Path, model: bytes, **options: object) -> BuiltinScorer:
    path.write_bytes(model)
    return BuiltinScorer(path, **options)  # type: ignore[arg-type]


async def scored(scorer: BuiltinScorer, raw: bytes, found: Found = NEUTRAL, zone: object = None) -> ScanResult:
    inquiry = Inquiry(ZoneResolver(zone or {}))  # type: ignore[arg-type]
    return scorer.score(inquiry.begin("spam"), await scorer.read(Message.of(raw)), found)
