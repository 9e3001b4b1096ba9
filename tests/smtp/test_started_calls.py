"""A coroutine that is started here and now costs a task only where it must wait."""

import asyncio

import pytest

from smtp.calls import started


async def known() -> str:
    return "mx.example"


async def failing() -> str:
    raise LookupError("no")


async def slow(gate: asyncio.Event) -> str:
    await gate.wait()
    return "late.example"


async def test_what_is_known_at_once_needs_no_task() -> None:
    before = asyncio.all_tasks()
    assert started(known()).result() == "mx.example"
    assert asyncio.all_tasks() == before


async def test_a_failure_at_once_is_the_futures() -> None:
    with pytest.raises(LookupError):
        await started(failing())


async def test_what_must_wait_goes_on_in_a_task_that_can_be_cancelled() -> None:
    gate = asyncio.Event()
    first, second = started(slow(gate)), started(slow(gate))
    second.cancel()
    gate.set()
    assert await first == "late.example"
    with pytest.raises(asyncio.CancelledError):
        await second
