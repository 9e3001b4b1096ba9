"""A disk with no room: 452, nothing lost, nothing half there, and on it goes when there is room again."""

import asyncio
import os
from datetime import timedelta

import pytest
from spool_units import NOON, accepted_of

from spool.database import open_spool
from spool.ports import Full, HistoryQuery, JobChange, JobQuery, MessageState, NotFound, Recorded, Retention
from spool.rule_sets import open_rule_books
from tests.small_disk import small_disk


@pytest.fixture(params=[25])
def disk(tmp_path, request):
    with small_disk(tmp_path / "disk", request.param) as path:
        yield path


async def fill(spool, octets, start=0, count=400):
    """Accept until it is full; the numbers that were promised."""
    results = await asyncio.gather(
        *(spool.accept(accepted_of(number, octets)) for number in range(start, start + count)), return_exceptions=True
    )
    assert {type(each).__name__ for each in results} == {"Job", "Full"}
    return [start + number for number, each in enumerate(results) if not isinstance(each, Full)]


async def check(spool, kept, octets, count=400):
    assert len(await spool.find(HistoryQuery(limit=9999))) == len(kept)
    assert {job.message_id for job in await spool.jobs(JobQuery(limit=9999))} == {
        accepted_of(each).message_id for each in kept
    }
    for number in range(count):
        unit = accepted_of(number, octets)
        if number in kept:
            assert await spool.body(unit.message_id) == unit.raw
        else:
            with pytest.raises(NotFound):
                await spool.message(unit.message_id)


def limit_pages(spool, pages):
    spool._connection.execute(f"PRAGMA max_page_count={pages}")


async def test_what_was_promised_before_the_limit_is_whole_and_the_rest_is_not_there(tmp_path):
    spool = open_spool(tmp_path, 0)
    limit_pages(spool, 100)
    kept = await fill(spool, 10_000)
    assert kept
    await check(spool, kept, 10_000)
    limit_pages(spool, 10_000)
    assert await spool.accept(accepted_of(400)) is not None
    await spool.close()


async def test_a_small_message_still_fits_where_a_large_one_did_not(tmp_path):
    spool = open_spool(tmp_path, 0)
    limit_pages(spool, 40)
    large, small = await asyncio.gather(
        spool.accept(accepted_of(1, 128 * 1024)), spool.accept(accepted_of(2, 128 * 1024)), return_exceptions=True
    )
    assert isinstance(small, Full) != isinstance(large, Full)
    assert await spool.accept(accepted_of(3, 1000)) is not None
    await spool.close()


@pytest.mark.parametrize("octets", [1_000, 20_000, 200_000])
async def test_a_real_disk_that_is_full(disk, octets):
    spool = open_spool(disk, 0)
    count = 9_000_000 // octets + 100
    kept = await fill(spool, octets, count=count)
    await check(spool, kept, octets, count)
    assert not list((disk / "shards" / "00" / "bodies").glob("*.tmp"))
    await spool.close()
    spool = open_spool(disk, 0)
    await check(spool, kept, octets, count)
    await spool.close()


# Room for a ballast anew beside a WAL that has grown to its checkpoint.
@pytest.mark.parametrize("disk", [40], indirect=True)
async def test_on_a_full_disk_what_was_promised_is_worked_off_and_swept(disk):
    spool = open_spool(disk, 0)
    kept = await fill(spool, 200_000, count=150)
    (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
    for job in await spool.jobs(JobQuery()):
        await spool.record(Recorded(message_id=job.message_id, job=JobChange(id=job.id), state=MessageState.DONE))
    with pytest.raises(Full):
        await spool.accept(accepted_of(776, 600))
    assert spool.load().cap_reached
    swept = await spool.sweep(NOON + timedelta(days=2), Retention())
    assert swept.bodies == len(kept)
    assert await spool.accept(accepted_of(777, 200_000)) is not None
    await spool.close()


async def test_a_shard_on_a_full_disk_can_be_opened_and_worked_off(disk):
    spool = open_spool(disk, 0)
    kept = await fill(spool, 20_000, count=500)
    await spool.close()
    (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
    spool = open_spool(disk, 0)
    while claimed := await spool.claim(NOON, 50):
        for job in claimed:
            await spool.record(Recorded(message_id=job.message_id, job=JobChange(id=job.id), state=MessageState.DONE))
    with pytest.raises(Full):
        await spool.accept(accepted_of(600, 600))
    (disk / "filler").unlink()
    await spool.sweep(NOON + timedelta(days=2), Retention())
    assert len(await spool.find(HistoryQuery(outcome="done", limit=9999))) == len(kept)
    await spool.close()


def test_rule_books_on_a_full_disk_are_refused_and_the_active_one_stays(disk):
    books = open_rule_books(disk / "rules.db")
    books.put("a", b"a", "rules.yaml", NOON)
    books.activate("a", pinned=False)
    with pytest.raises(Full):
        books.put("b", bytes(30_000_000), "rules.yaml", NOON)
    assert [each.digest for each in books.versions()] == ["a"]
    books.close()
