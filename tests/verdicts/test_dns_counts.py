"""The live resolver says what it answered from memory, and whether anybody is there to be asked."""

from __future__ import annotations

from loopback_dns import Server

from mail.counters import Counters
from verdicts.dns_resolver import HEARD_SECONDS, LiveResolver


async def test_hits_and_misses_are_counted_once_each() -> None:
    async with Server({"a.example": {"TXT": ["one"]}}) as server:
        counters = Counters()
        resolver = LiveResolver([server.address], counters=counters)
        for _ in range(3):
            await resolver.lookup("a.example", "TXT")
        resolver.cached("b.example", "TXT")
        await resolver.close()
    assert counters.value("dns_cache_misses_total") == 1
    assert counters.value("dns_cache_hits_total") == 2


async def test_a_server_that_answers_is_reachable_and_is_not_asked_again_within_a_minute() -> None:
    now = [1000.0]
    async with Server({}) as server:
        resolver = LiveResolver([server.address], clock=lambda: now[0])
        assert await resolver.is_reachable()
        server.silent = True
        assert await resolver.is_reachable()
        now[0] += HEARD_SECONDS + 1
        assert not await resolver.is_reachable()
        await resolver.close()


async def test_nobody_there_is_said_within_the_patience() -> None:
    async with Server({}) as server:
        address = server.address
    resolver = LiveResolver([address])
    assert not await resolver.is_reachable()
    await resolver.close()


async def test_a_server_that_keeps_silent_is_not_reachable() -> None:
    async with Server({}) as server:
        server.silent = True
        resolver = LiveResolver([server.address], query_seconds=30)
        assert not await resolver.is_reachable()
        await resolver.close()
