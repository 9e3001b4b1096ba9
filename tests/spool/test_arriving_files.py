"""A large message in its file, from the first octet to the spool or to nothing: never copied, never left behind."""

import asyncio
import contextlib
import errno
import os
import threading
from pathlib import Path

import pytest
from spool_units import accepted_of

from mail.octets import whole
from mail.values import changed
from spool import arriving, blobs
from spool.arriving import WRITE_OCTETS, FileOctets
from spool.database import open_spool
from spool.ports import Broken, Full, NotFound
from tests.small_disk import small_disk

UNIT = accepted_of(1, 3_000_000)


@pytest.fixture
async def spool(tmp_path):
    opened = open_spool(tmp_path, 0)
    yield opened
    await opened.close()


@pytest.fixture
def bodies(tmp_path):
    return tmp_path / "shards" / "00" / "bodies"


def names(bodies: Path) -> list[str]:
    return sorted(path.name for path in bodies.iterdir())


def open_files(directory: Path) -> list[str]:
    """What this process holds open below the directory; others' descriptors come and go with the garbage collector."""
    found = []
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that listed them
            found.append(os.readlink(f"/proc/self/fd/{each}"))
    return sorted(path for path in found if path.startswith(f"{directory}/"))


async def write(arriving, raw: bytes, size: int = 65_536) -> None:
    for at in range(0, len(raw), size):
        await arriving.write(raw[at : at + size])


async def test_the_file_becomes_the_messages_and_is_not_copied(spool, bodies):
    coming = spool.arriving()
    await write(coming, UNIT.raw)
    content = await coming.finish()
    (unfinished,) = bodies.iterdir()
    before = unfinished.stat()
    await spool.accept(changed(UNIT, raw=content))
    (path,) = bodies.iterdir()
    assert (path.name, path.stat().st_ino) == (UNIT.message_id, before.st_ino)
    assert path.stat().st_mode & 0o777 == 0o600
    await coming.discard()
    assert await spool.body(UNIT.message_id) == UNIT.raw
    assert (await spool.content(UNIT.message_id))[100:200] == UNIT.raw[100:200]


async def test_what_is_discarded_leaves_nothing_and_can_be_read_to_the_end(spool, bodies):
    coming = spool.arriving()
    await write(coming, UNIT.raw)
    content = await coming.finish()
    await coming.discard()
    await coming.discard()
    assert names(bodies) == []
    assert whole(content) == UNIT.raw


async def test_nothing_is_made_before_there_is_something_to_write(spool, bodies):
    coming = spool.arriving()
    await coming.write(b"x" * 100)
    assert names(bodies) == []
    await coming.discard()
    assert names(bodies) == []


async def test_no_descriptor_is_left_over(spool, tmp_path):
    for kept in (False, True):
        before = open_files(tmp_path)
        for number in range(2, 6):
            unit = accepted_of(number + 10 * kept, 1_000_000)
            coming = spool.arriving()
            await write(coming, unit.raw)
            if kept:
                await spool.accept(changed(unit, raw=await coming.finish()))
            await coming.discard()
            del coming
        await spool.accept(accepted_of(50 + kept))  # by then the threads have let go of what they did before
        assert open_files(tmp_path) == before


async def test_a_message_that_is_refused_in_the_transaction_leaves_no_file(spool, bodies):
    await spool.accept(accepted_of(2))
    spool._connection.execute("PRAGMA max_page_count=1")
    coming = spool.arriving()
    await write(coming, UNIT.raw)
    with pytest.raises(Full):
        await spool.accept(changed(UNIT, raw=await coming.finish(), receipt=b"{" + b" " * 100_000 + b"}"))
    await coming.discard()
    assert names(bodies) == []


async def test_of_a_rejected_message_only_the_header_is_kept(spool, bodies):
    coming = spool.arriving()
    await write(coming, UNIT.raw)
    await spool.accept(changed(UNIT, raw=await coming.finish(), keep_body=False, job=None))
    await coming.discard()
    assert names(bodies) == []
    assert (await spool.message(UNIT.message_id)).header == UNIT.raw[: UNIT.header_octets]
    with pytest.raises(NotFound):
        await spool.content(UNIT.message_id)


async def test_what_a_killed_process_left_is_deleted_when_the_shard_is_opened(tmp_path, bodies):
    spool = open_spool(tmp_path, 0)
    coming = spool.arriving()
    await write(coming, UNIT.raw)
    await coming.finish()
    assert len(names(bodies)) == 1
    await spool.close()  # as the kernel does: nobody discards anything
    spool = open_spool(tmp_path, 0)
    assert names(bodies) == []
    await spool.close()


async def test_a_disk_that_fills_up_on_the_way_takes_nothing_with_it(tmp_path):
    with small_disk(tmp_path / "disk", 25) as disk:
        if disk is None:
            pytest.skip("only root can mount a small disk")
        spool = open_spool(disk, 0)
        before = open_files(disk)
        coming = spool.arriving()
        with pytest.raises(Full):
            await write(coming, bytes(30_000_000))
        await coming.discard()
        del coming
        assert names(disk / "shards" / "00" / "bodies") == []
        assert open_files(disk) == before
        assert await spool.accept(UNIT) is not None
        await spool.close()


async def test_without_a_descriptor_this_message_waits_and_the_shard_goes_on(spool, bodies, monkeypatch):
    def none_left(*_arguments, **_more):
        raise OSError(errno.EMFILE, "Too many open files")

    coming = spool.arriving()
    with monkeypatch.context() as patched:
        patched.setattr(arriving.os, "open", none_left)
        with pytest.raises(Full, match="Too many open files"):
            await write(coming, UNIT.raw)
    await coming.discard()
    assert await spool.accept(accepted_of(2)) is not None


@pytest.mark.parametrize("step", ["write_new", "sync_directory"])
async def test_without_a_descriptor_a_copied_body_waits_too_and_leaves_nothing(spool, bodies, monkeypatch, step):
    def none_left(*_arguments, **_more):
        raise OSError(errno.ENFILE, "Too many open files in system")

    with monkeypatch.context() as patched:
        patched.setattr(blobs, step, none_left)
        with pytest.raises(Full, match="Too many open files in system"):
            await spool.accept(UNIT)
    assert names(bodies) == []
    assert await spool.accept(UNIT) is not None


async def test_without_a_descriptor_a_body_is_read_later(spool, monkeypatch):
    def none_left(*_arguments, **_more):
        raise OSError(errno.EMFILE, "Too many open files")

    await spool.accept(UNIT)
    with monkeypatch.context() as patched:
        patched.setattr(blobs.os, "open", none_left)
        with pytest.raises(Full, match="Too many open files"):
            await spool.content(UNIT.message_id)
    assert whole(await spool.content(UNIT.message_id)) == UNIT.raw


async def test_a_disk_that_fails_closes_the_shard(tmp_path, monkeypatch):
    told = []
    spool = open_spool(tmp_path, 0, on_broken=told.append)

    def failing(*_arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(FileOctets, "append", failing)
    coming = spool.arriving()
    with pytest.raises(Broken):
        await write(coming, UNIT.raw)
    await coming.discard()
    assert len(told) == 1
    with pytest.raises(Broken):
        spool.arriving()
    await spool.close()


async def test_where_nothing_is_held_back_any_more_no_large_message_begins(spool):
    spool._ballast.drop()
    with pytest.raises(Full):
        spool.arriving()


async def test_whoever_sends_waits_for_a_disk_that_is_slower(spool, monkeypatch):
    gate, append = threading.Event(), FileOctets.append

    def slow(self, parts):
        gate.wait(20)
        append(self, parts)

    monkeypatch.setattr(FileOctets, "append", slow)
    coming = spool.arriving()
    await coming.write(bytes(WRITE_OCTETS))  # on its way
    await coming.write(bytes(WRITE_OCTETS - 1))  # gathered beside it
    waiting = asyncio.create_task(coming.write(b"x"))
    await asyncio.wait((waiting,), timeout=0.05)
    assert not waiting.done()
    gate.set()
    await waiting
    assert len(await coming.finish()) == 2 * WRITE_OCTETS
    await coming.discard()


async def test_a_file_that_was_cut_is_not_read_as_if_it_were_whole(spool, bodies):
    await spool.accept(UNIT)
    content = await spool.content(UNIT.message_id)
    os.truncate(bodies / UNIT.message_id, 1000)
    with pytest.raises(OSError, match="shorter"):
        whole(content)
