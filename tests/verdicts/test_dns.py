"""Resolvers: the live one against a real server on loopback, the zone file, the recording."""

import asyncio
import os
import sys
import time
from unittest.mock import Mock, patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback_dns import Server

from mail.errors import Malformed
from mail.receipt import Evidence, Query
from verdicts.dns_backends import are_on_this_machine
from verdicts.dns_names import presentation
from verdicts.dns_recorded import RecordedResolver
from verdicts.dns_resolver import LiveResolver
from verdicts.dns_zone import ZoneResolver
from verdicts.ports import Answer, Lookup

ZONE = {
    "a.example": {
        "TXT": ["v=spf1 -all", ["two ", "strings"], "x" * 300],
        "A": ["192.0.2.1"],
        "MX": [[10, "mx.a.example"]],
    },
    "c.example": {"CNAME": ["a.example"]},
    "loop.example": {"CNAME": ["loop.example"]},
    "fails.example": "SERVFAIL",
    "slow.example": "TIMEOUT",
    "half.example": {"TXT": "SERVFAIL", "A": ["192.0.2.2"]},
    "large.example": {"TXT": ["y" * 4000]},
    'odd "name"(;).example': {"TXT": ["odd"]},
    "4.example": {"AAAA": ["2001:db8::1"], "PTR": ["h.example."]},
}

ANSWERS = [
    ("a.example", "A", Lookup.RECORDS, ("192.0.2.1",), ""),
    ("A.Example.", "MX", Lookup.RECORDS, ("10 mx.a.example",), ""),
    ("a.example", "TXT", Lookup.RECORDS, ("two strings", "v=spf1 -all", "x" * 300), ""),
    ("c.example", "A", Lookup.RECORDS, ("192.0.2.1",), ""),
    ("4.example", "AAAA", Lookup.RECORDS, ("2001:db8::1",), ""),
    ("4.example", "PTR", Lookup.RECORDS, ("h.example",), ""),
    ("large.example", "TXT", Lookup.RECORDS, ("y" * 4000,), ""),
    ('odd "name"(;).example', "TXT", Lookup.RECORDS, ("odd",), ""),
    ("a.example", "AAAA", Lookup.NONE, (), ""),
    ("absent.example", "A", Lookup.NONE, (), "NXDOMAIN"),
    ("fails.example", "A", Lookup.TEMPORARY, (), "SERVFAIL"),
    ("loop.example", "A", Lookup.TEMPORARY, (), "SERVFAIL"),
    ("slow.example", "A", Lookup.TEMPORARY, (), "TIMEOUT"),
]


@pytest.mark.parametrize("use_aiodns", [True, False], ids=["aiodns", "dnspython"])
async def test_live_answers(use_aiodns: bool) -> None:
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address], query_seconds=0.5, use_aiodns=use_aiodns)
        for name, kind, outcome, records, detail in ANSWERS:
            answer = await resolver.lookup(name, kind)
            assert (answer.outcome, tuple(sorted(answer.records)), answer.detail) == (
                outcome,
                tuple(sorted(records)),
                detail,
            ), name
        await resolver.close()


def test_zone_answers_are_the_same() -> None:
    resolver = ZoneResolver(ZONE)
    for name, kind, outcome, records, detail in ANSWERS:
        answer = resolver.cached(name, kind)
        assert (answer.outcome, tuple(sorted(answer.records)), answer.detail) == (outcome, records, detail), name
    assert resolver.cached("half.example", "TXT").detail == "SERVFAIL"
    assert resolver.cached("half.example", "A").records == ("192.0.2.2",)


@pytest.mark.parametrize(
    "name", ["a..b", "", "x" * 64 + ".example", ".".join(["x" * 60] * 5), ".example", "\ud800.example"]
)
async def test_what_is_no_name_is_not_asked(name: str) -> None:
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address])
        answer = await resolver.lookup(name, "A")
        assert (answer.outcome, answer.detail, server.asked) == (Lookup.NONE, "not a DNS name", [])
        await resolver.close()


async def test_equal_questions_in_flight_are_asked_once() -> None:
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address])
        answers = await asyncio.gather(*(resolver.lookup(name, "A") for name in ["a.example", "A.EXAMPLE."] * 10))
        assert {answer.records for answer in answers} == {("192.0.2.1",)}
        assert server.asked == [("a.example", "A")]
        await resolver.close()


async def test_a_cancelled_waiter_does_not_take_the_answer_from_the_others() -> None:
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address])
        first, second = (resolver.lookup("a.example", "A") for _ in range(2))
        first.cancel()
        assert (await second).records == ("192.0.2.1",)
        await resolver.close()


async def test_cache_lives_as_long_as_the_answers_say() -> None:
    now = 1000.0
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address], clock=lambda: now)
        assert resolver.cached("a.example", "A") is None
        await resolver.lookup("a.example", "A")
        await resolver.lookup("absent.example", "A")
        now += 50
        assert (await resolver.lookup("a.example", "A")).ttl == 250
        assert (await resolver.lookup("absent.example", "A")).ttl == 10
        now += 20
        assert resolver.cached("absent.example", "A") is None
        now += 300
        assert resolver.cached("a.example", "A") is None
        assert len(server.asked) == 2
        await resolver.close()


async def test_cache_is_bounded() -> None:
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address], cache_entries=3)
        for number in range(10):
            await resolver.lookup(f"n{number}.example", "A")
        assert [resolver.cached(f"n{number}.example", "A") is not None for number in range(10)] == [False] * 7 + [
            True
        ] * 3
        await resolver.close()


@pytest.mark.parametrize("use_aiodns", [True, False], ids=["aiodns", "dnspython"])
async def test_unreachable_resolver_is_temporary_within_two_seconds(use_aiodns: bool) -> None:
    """semantics.md §8; also for one question after the other."""
    async with Server(ZONE) as server:
        server.silent = True
        resolver = LiveResolver([server.address], use_aiodns=use_aiodns)
        started = time.monotonic()
        for name in ("a.example", "b.example", "c.example"):
            answer = await resolver.lookup(name, "TXT")
            assert (answer.outcome, answer.detail) == (Lookup.TEMPORARY, "no resolver reachable")
        assert time.monotonic() - started < 2
        await resolver.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a process's threads as files")
async def test_no_thread_stands_between_the_network_and_the_loop() -> None:
    threads = os.listdir("/proc/self/task")
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address])
        assert (await resolver.lookup("a.example", "A")).outcome is Lookup.RECORDS
        assert os.listdir("/proc/self/task") == threads
        await resolver.close()


async def test_an_answer_over_tcp_keeps_the_loop_no_busier_than_its_packets() -> None:
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address])
        await resolver.lookup("a.example", "A")
        channel = resolver._backends[True]._resolver._channel
        calls = Mock(wraps=channel.process_fd)
        with patch.object(channel, "process_fd", calls):
            assert (await resolver.lookup("large.example", "TXT")).outcome is Lookup.RECORDS
        assert 1 < calls.call_count < 20
        await resolver.close()


async def test_a_question_is_on_its_way_before_its_asker_waits() -> None:
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address])
        await resolver.lookup("a.example", "A")  # that the server is there is known
        sent = []
        channel = resolver._backends[True]._resolver
        query = channel.query_dns
        with patch.object(channel, "query_dns", lambda *asked: sent.append(asked) or query(*asked)):
            asker = resolver.lookup("half.example", "A")
            assert sent == [("half.example", "A")]
            assert (await asker).records == ("192.0.2.2",)
        await resolver.close()


async def test_an_answer_that_cannot_be_read_is_temporary_at_once_and_reported() -> None:
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address])
        await resolver.lookup("a.example", "A")
        with patch.object(resolver._backends[True], "read", Mock(side_effect=RuntimeError("a fault of ours"))):
            answer = await resolver.lookup("half.example", "A")
        assert (answer.outcome, answer.detail) == (Lookup.TEMPORARY, "unreadable answer")
        assert [str(error) for error in reported] == ["a fault of ours"]
        await resolver.close()


async def test_questions_to_this_machine_share_a_socket() -> None:
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address])
        for name in ("a.example", "half.example", "4.example", "absent.example"):
            await resolver.lookup(name, "AAAA")
        assert len(server.asked) == 4
        assert len(server.ports) == 1
        await resolver.close()


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        (["127.0.0.1"], True),
        (["127.0.0.53:5353", "[::1]:53", "::1"], True),
        (["127.0.0.1", "192.0.2.1"], False),
        (["10.0.0.2:53"], False),
        (["[fe80::1%eth0]:53"], False),
        ([], False),
    ],
)
def test_only_a_loopback_address_is_on_this_machine(servers: list[str], expected: bool) -> None:
    """Elsewhere each question has a port of its own, which who would forge its answer has to guess (RFC 5452)."""
    assert are_on_this_machine(servers) is expected


async def test_a_resolver_that_was_started_again_is_asked_again() -> None:
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address])
        assert (await resolver.lookup("a.example", "A")).outcome is Lookup.RECORDS
    assert (await resolver.lookup("half.example", "A")).outcome is Lookup.TEMPORARY
    async with Server(ZONE, server.port):
        assert (await resolver.lookup("a.example", "MX")).outcome is Lookup.RECORDS
    await resolver.close()


async def test_a_slow_name_is_waited_for_where_the_resolver_is_alive() -> None:
    async with Server(ZONE) as server:
        resolver = LiveResolver([server.address], query_seconds=1.8)
        assert (await resolver.lookup("slow.example", "A")).detail == "TIMEOUT"
        assert (await resolver.lookup("a.example", "A")).outcome is Lookup.RECORDS
        await resolver.close()


@given(st.text(max_size=300))
def test_presentation_never_raises_and_is_ascii(name: str) -> None:
    written = presentation(name)
    assert written is None or written.isascii()


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ({"a.example": ["x"]}, "a.example: expected a mapping"),
        ({"a.example": "NXDOMAIN"}, "a.example: expected a mapping"),
        ({"a.example": {"SOA": ["x"]}}, "a.example: unknown type SOA"),
        ({"a.example": {"A": ["300.0.0.1"]}}, "a.example: not a valid A record"),
        ({"a.example": {"AAAA": ["192.0.2.1"]}}, "a.example: not a valid AAAA record"),
        ({"a.example": {"MX": ["mx.example"]}}, "a.example: not a valid MX record"),
        ({"a.example": {"MX": [10]}}, "a.example: not a valid MX record"),
        ({"a.example": {"PTR": [7]}}, "a.example: expected a host name"),
    ],
)
def test_zone_data_that_is_no_zone_is_named(zone, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        ZoneResolver(zone)


def test_zone_text_keeps_its_octets() -> None:
    (record,) = ZoneResolver({"a.example": {"TXT": ["caf\u00e9"]}}).cached("a.example", "TXT").records
    assert record.encode("latin-1") == "caf\u00e9".encode()


async def test_recorded_answers_come_back_and_others_are_temporary() -> None:
    answers = [
        Answer(outcome=Lookup.RECORDS, records=("a", "b")),
        Answer(outcome=Lookup.NONE, detail="NXDOMAIN"),
        Answer(outcome=Lookup.TEMPORARY, detail="SERVFAIL"),
    ]
    queries = tuple(
        Query(
            check="spf",
            name=f"n{i}.example",
            type="TXT",
            outcome=answer.outcome.value,
            digest=answer.digest,
            ttl_left=60,
        )
        for i, answer in enumerate(answers)
    )
    evidence = Evidence(queries=queries, answers={answer.digest: answer.content for answer in answers})
    resolver = RecordedResolver(evidence)
    assert [await resolver.lookup(f"N{i}.example.", "TXT") for i in range(3)] == answers
    unknown = await resolver.lookup("other.example", "TXT")
    assert (unknown.outcome, unknown.detail) == (Lookup.TEMPORARY, "not recorded")
