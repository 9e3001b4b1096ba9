"""What DNS said of the client before the message came stands in its evidence, and a replay is told the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mail.client import Client
from mail.envelope import Envelope
from mail.message import Message
from verdicts.dns_lists import parse_dns_lists
from verdicts.dns_recorded import RecordedResolver
from verdicts.dns_zone import ZoneResolver
from verdicts.judge import Judgement, judge
from verdicts.ports import Resolver
from verdicts.reverse_name import LISTS, client_questions

LISTED = {
    "7.2.0.192.bad.example": {"A": ["127.0.0.2"]},
    "7.2.0.192.in-addr.arpa": {"PTR": ["mx.acme.example"]},
    "mx.acme.example": {"A": ["192.0.2.7"]},
}
BLOCKS = parse_dns_lists(["bad.example", "other.example=127.0.0.4"])
CLIENT = Client(ip="192.0.2.7", name="mx.acme.example")


async def judged(resolver: Resolver, client: Client = CLIENT) -> Judgement:
    return await judge(
        Message.of(b"From: a@acme.example\r\n\r\nx\r\n"),
        Envelope(reverse_path=None, recipients=()),
        client,
        received_at=datetime(2026, 1, 2, tzinfo=UTC),
        resolver=resolver,
        about_client=client_questions(BLOCKS, client),
    )


async def test_lists_and_names_are_evidence_and_come_first() -> None:
    evidence = (await judged(ZoneResolver(LISTED))).evidence
    about = [query for query in evidence.queries if query.check == "client"]
    assert [(query.name, query.type, query.outcome) for query in about] == [
        ("7.2.0.192.bad.example", "A", "records"),
        ("7.2.0.192.other.example", "A", "none"),
        ("7.2.0.192.in-addr.arpa", "PTR", "records"),
        ("mx.acme.example", "A", "records"),
    ]
    assert evidence.queries[: len(about)] == tuple(about)
    assert evidence.answers[about[0].digest] == ("127.0.0.2",)


async def test_recorded_evidence_gives_the_same_facts_and_the_same_evidence() -> None:
    first = await judged(ZoneResolver(LISTED))
    recorded = RecordedResolver(first.evidence)
    assert (await judged(recorded)).evidence == first.evidence
    assert [await each.lists_address(recorded, "192.0.2.7") for each in BLOCKS] == [True, False]


async def test_a_list_that_was_not_asked_then_is_no_evidence_now() -> None:
    first = await judged(ZoneResolver(LISTED), Client(ip="192.0.2.7"))
    again = await judged(RecordedResolver(first.evidence), CLIENT)
    assert "mx.acme.example" not in [query.name for query in again.evidence.queries if query.check == "client"]


async def test_nothing_is_waited_for_only_because_it_would_be_evidence() -> None:
    class Slow(ZoneResolver):
        def cached(self, name: str, type: str) -> Any:  # noqa: A002
            return None if "bad" in name else super().cached(name, type)

    queries = (await judged(Slow(LISTED))).evidence.queries
    assert "7.2.0.192.bad.example" not in [query.name for query in queries]


def test_questions_are_bounded_and_there_are_none_about_nobody() -> None:
    many = parse_dns_lists([f"l{number}.example" for number in range(100)])
    assert len(client_questions(many, CLIENT)) == LISTS + 2
    assert client_questions(BLOCKS, Client(ip=None)) == ()
    assert client_questions(BLOCKS, Client(ip="10.0.0.1")) == (("1.0.0.10.in-addr.arpa", "PTR"),)
