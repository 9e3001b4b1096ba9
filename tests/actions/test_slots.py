"""How many jobs are in flight, and how many are leased ahead (semantics.md §6)."""

from __future__ import annotations

import asyncio

import pytest

from actions.slots import Slots


@pytest.fixture
async def slots() -> Slots:
    return Slots(4)


def take(slots: Slots, *jobs: int) -> None:
    for job in jobs:
        task = asyncio.create_task(asyncio.sleep(0))
        task.add_done_callback(slots.tasks.discard)
        slots.take(job, task)


async def test_half_as_many_again_are_leased_ahead(slots: Slots) -> None:
    assert slots.room(0) == 6
    take(slots, 1, 2, 3, 4)
    assert (slots.is_one_free, slots.room(0), slots.room(2)) == (False, 2, 0)


async def test_jobs_that_wait_for_a_full_destination_keep_none_of_the_others_from_being_claimed(slots: Slots) -> None:
    take(slots, 1)
    assert slots.room(50) == 5


async def test_who_only_waits_for_his_end_to_be_durable_gives_his_slot_up_up_to_a_bound(slots: Slots) -> None:
    for job in range(16):
        assert slots.is_one_free
        take(slots, job)
        slots.give_up(job)
        slots.give_up(job)
    assert not slots.is_one_free
    await asyncio.gather(*slots.tasks)
    await asyncio.sleep(0)
    assert slots.is_one_free


async def test_one_free_slot_of_many_is_not_worth_a_claim() -> None:
    slots = Slots(64)
    take(slots, *range(64))
    assert not slots.is_claim_worth(25)
    assert slots.is_claim_worth(24)
