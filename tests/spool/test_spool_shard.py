"""A shard on the disk: its lock, its modes, what opening it mends, and reading it from outside."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from datetime import timedelta

import pytest
from spool_units import NOON
from spool_units import accepted_of as unit

from mail.errors import Malformed, Permanent
from mail.ids import message_id
from spool import history, jobs, schema
from spool.database import open_spool
from spool.ports import (
    HistoryQuery,
    JobChange,
    JobQuery,
    JobState,
    Locked,
    MessageState,
    NotFound,
    Recorded,
    Retention,
    Wanted,
)
from spool.reader import open_reader
from spool.writer import LAZY_SECONDS


def test_a_second_process_is_told_who_holds_the_shard(tmp_path):
    held = open_spool(tmp_path, 4)
    code = f"from pathlib import Path; from spool.database import open_spool; open_spool(Path({str(tmp_path)!r}), 4)"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"Locked: {tmp_path}/shards/04 is in use by process {os.getpid()}" in tried.stderr
    with pytest.raises(Locked):
        open_spool(tmp_path, 4)
    asyncio.run(held.close())
    asyncio.run(open_spool(tmp_path, 4).close())


async def test_only_the_owner_may_read_anything(tmp_path):
    var = tmp_path / "var"
    spool = open_spool(var, 0)
    await spool.accept(unit(1))
    await spool.accept(unit(2, 300_000))
    modes = {
        path.is_dir(): {each.stat().st_mode & 0o777 for each in var.rglob("*") if each.is_dir() == path.is_dir()}
        for path in var.rglob("*")
    }
    assert modes == {True: {0o700}, False: {0o600}}
    assert var.stat().st_mode & 0o777 == 0o700
    await spool.close()


async def test_opening_voids_all_leases(tmp_path):
    spool = open_spool(tmp_path, 0)
    leased = await spool.accept(unit(1))
    await spool.close()
    spool = open_spool(tmp_path, 0)
    assert (spool.load().ready_jobs, spool.load().leased_jobs) == (1, 0)
    (job,) = await spool.claim(NOON, 5)
    assert (job.id, job.attempts) == (leased.id, 2)
    await spool.close()


async def test_an_id_of_a_job_is_not_used_again_after_a_restart(tmp_path):
    spool = open_spool(tmp_path, 0)
    job = await spool.accept(unit(1))
    await spool.record(Recorded(message_id=job.message_id, job=JobChange(id=job.id), state=MessageState.DONE))
    await spool.close()
    spool = open_spool(tmp_path, 0)
    assert (await spool.accept(unit(2))).id > job.id
    await spool.close()


async def test_opening_deletes_files_that_no_message_names(tmp_path):
    spool = open_spool(tmp_path, 0)
    await spool.accept(unit(1, 300_000))
    await spool.accept(unit(2))
    await spool.close()
    bodies = tmp_path / "shards" / "00" / "bodies"
    for name in (unit(3).message_id, unit(2).message_id, f"{unit(1).message_id}.tmp"):
        (bodies / name).write_bytes(b"left by a crash")
    spool = open_spool(tmp_path, 0)
    assert [path.name for path in bodies.iterdir()] == [unit(1).message_id]
    assert await spool.body(unit(1).message_id) == unit(1, 300_000).raw
    await spool.close()


async def test_a_swept_large_body_takes_its_file_with_it(tmp_path):
    spool = open_spool(tmp_path, 0)
    job = await spool.accept(unit(1, 300_000))
    await spool.record(Recorded(message_id=job.message_id, job=JobChange(id=job.id), state=MessageState.DONE))
    await spool.sweep(NOON + timedelta(days=2), Retention())
    assert list((tmp_path / "shards" / "00" / "bodies").iterdir()) == []
    await spool.close()


async def test_the_kept_octets_are_counted_again_at_opening(tmp_path):
    spool = open_spool(tmp_path, 0)
    for number, octets in ((1, 4096), (2, 300_000)):
        await spool.accept(unit(number, octets))
    await spool.close()
    spool = open_spool(tmp_path, 0)
    held = len(unit(1).raw) + len(unit(2, 300_000).raw)
    await spool.sweep(NOON, Retention(cap_octets=held))
    assert not spool.load().cap_reached
    await spool.sweep(NOON, Retention(cap_octets=held - 1))
    assert spool.load().cap_reached
    await spool.close()


async def test_old_answers_are_deleted_and_those_in_use_are_not(tmp_path):
    spool = open_spool(tmp_path, 0)
    days = (0, 0, 1, 40)
    for number, day in enumerate(days, start=1):
        at = NOON + timedelta(days=day)
        made = unit(number, at=at)
        answers = {"shared": ("s",), f"own{number}": ("o",)} if number < 4 else {"other": ()}
        job = await spool.accept(type(made)(**{**{f: getattr(made, f) for f in made.__slots__}, "answers": answers}))
        state = MessageState.DEAD if number == 1 else MessageState.DONE
        await spool.record(Recorded(message_id=job.message_id, job=JobChange(id=job.id), state=state))
    month = Retention(metadata_seconds=30 * 86400, headers_seconds=0, full_seconds=0)
    swept = await spool.sweep(NOON + timedelta(days=40), month)
    assert swept.messages == 2
    held = spool._connection.execute("SELECT digest FROM answer ORDER BY digest").fetchall()
    assert held == [("other",), ("own1",), ("shared",)]
    await spool.close()


async def test_sweeping_goes_on_past_one_pass_and_past_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("spool.sweep.CHUNK", 3)
    spool = open_spool(tmp_path, 0)
    for number in range(20):
        job = await spool.accept(unit(number, at=NOON + timedelta(seconds=number)))
        state = MessageState.UNHANDLED if number % 4 == 0 else MessageState.DONE
        await spool.record(Recorded(message_id=job.message_id, job=JobChange(id=job.id), state=state))
    over = Retention(full_seconds=0, headers_seconds=0, metadata_seconds=0)
    swept = await spool.sweep(NOON + timedelta(days=1), over)
    assert (swept.bodies, swept.headers, swept.messages) == (15, 15, 15)
    assert len(await spool.find(HistoryQuery())) == 5
    await spool.close()


async def test_the_room_is_asked_for_once_a_second(tmp_path, monkeypatch):
    now = [100.0]
    spool = open_spool(tmp_path, 0, monotonic=lambda: now[0])
    asked = []
    real = os.statvfs
    monkeypatch.setattr("spool.ballast.os.statvfs", lambda path: asked.append(path) or real(path))
    for second in (0.0, 0.5, 0.99, 1.0, 1.5):
        now[0] = 100.0 + second
        spool.load()
    assert len(asked) == 2
    await spool.close()


async def test_a_refused_session_is_durable_within_a_second_without_any_other_unit(tmp_path, monkeypatch):
    assert LAZY_SECONDS < 1
    monkeypatch.setattr("spool.writer.LAZY_SECONDS", 0.0)
    spool = open_spool(tmp_path, 0)
    await spool.log(unit(1).history)
    reader = open_reader(tmp_path)
    while not await reader.find(HistoryQuery()):  # noqa: ASYNC110 - another connection says nothing by itself
        await asyncio.sleep(0)
    await spool.close()


async def test_many_refused_sessions_at_once_are_all_kept(tmp_path):
    spool = open_spool(tmp_path, 0)
    await asyncio.gather(*(spool.log(unit(number).history) for number in range(3000)))
    assert len(await spool.find(HistoryQuery(limit=5000))) == 3000
    await spool.close()


def test_a_file_of_a_later_release_is_refused_and_left_alone(tmp_path):
    asyncio.run(open_and_close(tmp_path))
    connection = sqlite3.connect(tmp_path / "shards" / "00" / "spool.db")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    for _ in range(2):  # the second time too: the lock is not kept
        with pytest.raises(Permanent, match="format 99"):
            open_spool(tmp_path, 0)


async def open_and_close(path):
    await open_spool(path, 0).close()


class TestReader:
    async def fill(self, path):
        spools = [open_spool(path, shard) for shard in (0, 1, 11)]
        for number, spool in enumerate(spools):
            await spool.accept(
                unit(number, 300_000 if number == 1 else 4096, spool.shard, NOON + timedelta(seconds=number))
            )
            await spool.accept(unit(number + 10, 4096, spool.shard, NOON + timedelta(seconds=number + 10)))
        return spools

    @pytest.mark.parametrize("running", [True, False])
    async def test_it_reads_every_shard_with_and_without_a_server(self, tmp_path, running):
        spools = await self.fill(tmp_path)
        if not running:
            for spool in spools:
                await spool.close()
        reader = open_reader(tmp_path)
        assert reader.shards() == [0, 1, 11]
        hits = await reader.find(HistoryQuery(limit=4))
        assert [row.session for row, _ in hits] == ["s12", "s11", "s10", "s2"]
        for number, shard in ((0, 0), (1, 1), (2, 11)):
            made = unit(number, 300_000 if number == 1 else 4096, shard, NOON + timedelta(seconds=number))
            assert (await reader.message(made.message_id)).header == made.raw[: made.header_octets]
            assert await reader.body(made.message_id) == made.raw
            assert await reader.ledger(made.message_id) == []
        assert len(await reader.jobs(JobQuery(state=JobState.LEASED))) == 6
        assert len(await reader.jobs(JobQuery(limit=4))) == 4
        assert await reader.rule_books() == frozenset({"book"})
        for spool in spools:
            await spool.close()

    async def test_what_is_not_there_is_not_found(self, tmp_path):
        reader = open_reader(tmp_path)
        assert await reader.find(HistoryQuery()) == []
        with pytest.raises(NotFound):
            await reader.message(unit(1).message_id)
        for spool in await self.fill(tmp_path):
            await spool.close()
        for shard in (1, 77):
            with pytest.raises(NotFound):
                await reader.body(message_id(NOON, shard, b"x" * 17))
        with pytest.raises(Malformed):
            await reader.message("../../etc/passwd")

    async def test_reading_changes_nothing(self, tmp_path):
        for spool in await self.fill(tmp_path):
            await spool.close()
        reader = open_reader(tmp_path)
        await reader.find(HistoryQuery())
        found = await reader.jobs(JobQuery())
        assert {job.state for job in found} == {JobState.LEASED}
        assert (
            json.dumps(sorted(path.name for path in tmp_path.rglob("*.db"))) == '["spool.db", "spool.db", "spool.db"]'
        )


@pytest.mark.parametrize(
    ("outcome", "index"),
    [
        (None, "history_at"),
        ("accepted", "history_at"),
        ("done", "history_at"),
        ("stored", "history_at"),
        ("refused", "history_refused"),
        ("deferred", "history_refused"),
        ("dead", "history_state"),
        ("unhandled", "history_state"),
        ("rejected", "history_state"),
    ],
)
def test_find_reads_newest_first_from_an_index_and_sorts_nothing(outcome, index):
    connection = sqlite3.connect(":memory:")
    schema.SHARD.bring_up(connection)
    said = []
    connection.set_trace_callback(said.append)
    history.find(connection, HistoryQuery(outcome=outcome))
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {said[-1]}")]
    assert index in plan[0]
    assert not [line for line in plan if "TEMP B-TREE" in line]
    connection.close()


def test_claiming_and_next_due_read_indexes_and_sort_nothing():
    connection = sqlite3.connect(":memory:")
    schema.SHARD.bring_up(connection)
    said = []
    connection.set_trace_callback(said.append)
    jobs.claim(connection, NOON, 5, Wanted())
    jobs.next_due(connection)
    due = len(said)
    jobs.claim(connection, NOON, 1, Wanted(only="z"))
    jobs.claim(connection, NOON, 5, Wanted(without=frozenset({"x"}), paused=frozenset({"y"})))
    for number, statement in enumerate(said):
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert ("job_due" if number < due else "job_destination") in plan
        assert "TEMP B-TREE" not in plan
    connection.close()
