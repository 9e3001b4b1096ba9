"""The built-in scorer among the other checks: it weighs what they found, and what it asked is evidence."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from spam_corpus import HAMMY, SPAMMY, corpus, mail, scorer_of, trained

from mail.client import Client
from mail.envelope import Envelope
from mail.message import Message
from mail.verdict import ScanResult, Status
from verdicts.builtin_scorer import BuiltinScorer
from verdicts.dns_lists import parse_dns_lists
from verdicts.dns_recorded import RecordedResolver
from verdicts.dns_zone import ZoneResolver
from verdicts.gtube import GTUBE
from verdicts.judge import Judgement, judge
from verdicts.null_scanners import RecordedScanner
from verdicts.policy import Policy
from verdicts.ports import Answer

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CLIENT = Client(ip="192.0.2.1", helo="client.example", name="client.example")
ZONE = ZoneResolver(
    {
        "b.example": {"TXT": ["v=spf1 -all"]},
        "_dmarc.b.example": {"TXT": ["v=DMARC1; p=reject"]},
        "bad.example.dbl.example": {"A": ["127.0.1.2"]},
    }
)
MAIL = mail([*HAMMY[:2], "https://bad.example/"])


class Forbidden:
    """An engine that must not be asked."""

    name = "rspamd"

    async def scan(self, raw: bytes, envelope: Envelope, client: Client, message_id: str = "") -> ScanResult:
        raise AssertionError("asked")


@pytest.fixture
def scorer(tmp_path: Path) -> BuiltinScorer:
    model = trained(list(corpus(205, is_spam=True)), list(corpus(205, is_spam=False)))
    return scorer_of(tmp_path / "model", model, lists=parse_dns_lists(["dbl.example"]))


async def judged(raw: bytes = MAIL, resolver: Any = ZONE, **options: Any) -> Judgement:
    return await judge(
        Message.of(raw),
        Envelope(reverse_path=None, recipients=()),
        CLIENT,
        received_at=NOW,
        resolver=resolver,
        **{"wants_spam": True, **options},
    )


async def test_the_score_rests_on_words_authentication_and_lists(scorer: BuiltinScorer) -> None:
    spam = (await judged(scorer=scorer, dnsbl=("zen.example",))).verdicts.spam
    assert spam.symbols[:3] == ("DMARC_FAIL", "DNSBL:zen.example", "URIBL:dbl.example")
    plain = (await judged(mail(HAMMY[:2]), ZoneResolver({}), scorer=scorer)).verdicts.spam
    assert plain.symbols[0].startswith("ham:")
    assert (spam.score or 0) > (plain.score or 0)


async def test_what_the_scorer_asked_is_evidence_and_replays_to_the_same_score(scorer: BuiltinScorer) -> None:
    first = await judged(scorer=scorer, dnsbl=("zen.example",))
    assert [(query.name, query.outcome) for query in first.evidence.queries if query.check == "spam"] == [
        ("bad.example.dbl.example", "records")
    ]
    recorded = RecordedResolver(first.evidence)
    assert (await judged(resolver=recorded, scorer=scorer, dnsbl=("zen.example",))).verdicts == first.verdicts
    scanner = RecordedScanner("spam", first.evidence)
    assert (await judged(resolver=recorded, spam=scanner)).verdicts == first.verdicts


async def test_a_message_that_no_rule_wants_scanned_is_not(scorer: BuiltinScorer) -> None:
    judgement = await judged(scorer=scorer, wants_spam=False)
    assert judgement.verdicts.spam.status is Status.DISABLED
    assert "spam" not in {query.check for query in judgement.evidence.queries}


async def test_a_list_that_hangs_lists_nothing_and_does_not_fail_the_scan(scorer: BuiltinScorer) -> None:
    class Hanging:
        def cached(self, name: str, type: str) -> Answer | None:  # noqa: A002
            return None if name.endswith("dbl.example") else ZONE.cached(name, type)

        async def lookup(self, name: str, type: str) -> Answer:  # noqa: A002
            await asyncio.get_running_loop().create_future()
            raise AssertionError

    spam = (await judged(resolver=Hanging(), scorer=scorer, policy=Policy(spam_deadline_seconds=0.4))).verdicts.spam
    assert spam.status is not Status.PROCESSING_FAILED
    assert "URIBL:dbl.example" not in spam.symbols


async def test_a_broken_model_follows_on_error(tmp_path: Path) -> None:
    scorer = scorer_of(tmp_path / "model", b"nonsense")
    judgement = await judged(scorer=scorer)
    assert (judgement.verdicts.spam.status, judgement.deferred) == (Status.PROCESSING_FAILED, None)
    judgement = await judged(scorer=scorer, policy=Policy(spam_on_error="defer"))
    assert "is no spam model" in (judgement.deferred or "")


async def test_gtube_is_spam_in_every_engine_and_in_none(scorer: BuiltinScorer) -> None:
    raw = mail(GTUBE.decode())
    for options, engine in (({"scorer": scorer}, "builtin"), ({"spam": Forbidden()}, "rspamd")):
        judgement = await judged(raw, **options)
        spam = judgement.verdicts.spam
        assert (spam.status, spam.engine, spam.symbols, spam.score) == (Status.FAIL, engine, ("GTUBE",), 1000.0)
        assert "GTUBE" in judgement.evidence.scanner_replies["spam"]
    assert (await judged(raw)).verdicts.spam.status is Status.DISABLED
    assert (await judged(raw, spam=Forbidden(), wants_spam=False)).verdicts.spam.status is Status.DISABLED


async def test_a_large_message_is_read_beside_the_loop(scorer: BuiltinScorer) -> None:
    raw = mail([*SPAMMY[:10], "x" * 200_000])
    assert (await judged(raw, ZoneResolver({}), scorer=scorer)).verdicts.spam.status is Status.FAIL
