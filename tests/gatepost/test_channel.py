"""Requests go both ways over one pair of sockets, and their answers find them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gatepost.channel import Channel, Gone, open_channel
from mail.errors import Malformed, Temporary
from spool.ports import Full

Handler = Callable[[dict[str, Any]], Awaitable[Any]]


@contextlib.asynccontextmanager
async def pair(ours: Handler, theirs: Handler) -> AsyncIterator[tuple[Channel, Channel]]:
    left, right = socket.socketpair()
    made = await open_channel(left, ours), await open_channel(right, theirs)
    yield made
    for channel in made:
        await channel.close()


async def echo(request: dict[str, Any]) -> Any:
    return request


async def test_both_ends_ask_at_once_and_get_their_own_answers():
    gate = asyncio.Event()

    async def slow(request: dict[str, Any]) -> Any:
        if request["n"] == 0:
            await gate.wait()
        else:
            gate.set()
        return -request["n"]

    async with pair(echo, slow) as (ours, theirs):
        answers = await asyncio.gather(*(ours.ask({"n": n}) for n in range(5)), theirs.ask({"n": 7}))
        assert answers == [0, -1, -2, -3, -4, {"n": 7}]


async def test_a_large_answer_comes_whole():
    async with pair(echo, echo) as (ours, _):
        text = "x" * 3_000_000
        assert await ours.ask({"text": text}) == {"text": text}


async def test_what_the_other_end_raises_is_raised_here():
    async def full(_: dict[str, Any]) -> Any:
        raise Full("the disk is full")

    async def ours_fails(_: dict[str, Any]) -> Any:
        raise Malformed("no")

    async with pair(ours_fails, full) as (ours, theirs):
        with pytest.raises(Full, match="the disk is full"):
            await ours.ask({})
        with pytest.raises(Malformed, match="no"):
            await theirs.ask({})


async def test_a_fault_of_ours_is_answered_without_detail():
    async def fault(_: dict[str, Any]) -> Any:
        raise KeyError("secret")

    async with pair(echo, fault) as (ours, _):
        with pytest.raises(Temporary) as caught:
            await ours.ask({})
        assert "secret" not in str(caught.value)


async def test_who_waits_for_an_end_that_is_gone_hears_it():
    async def never(_: dict[str, Any]) -> Any:
        await asyncio.Event().wait()

    async with pair(echo, never) as (ours, theirs):
        waiting = asyncio.create_task(ours.ask({}))
        await asyncio.sleep(0)
        await theirs.close()
        with pytest.raises(Gone):
            await waiting
        await ours.ended
        with pytest.raises(Gone):
            await ours.ask({})


async def test_an_answer_that_does_not_come_in_time_is_not_waited_for():
    async def never(_: dict[str, Any]) -> Any:
        await asyncio.Event().wait()

    async with pair(echo, never) as (ours, theirs):
        with pytest.raises(Temporary, match="in time"):
            await ours.ask({}, timeout_seconds=0.01)
        assert await theirs.ask({"still": "here"}) == {"still": "here"}
