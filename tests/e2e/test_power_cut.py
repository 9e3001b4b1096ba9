"""Promise 1 against the disk itself: whatever a power cut leaves of what was not synced, all that got 250 is there."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from gateway_process import GatewayProcess, Start
from power_cut import Disk, events, strace
from sample_gateway import ZONE
from straced import Straced

from mail.outcome import Result
from spool.database import open_spool
from spool.ports import JobQuery, JobState, MessageState, NotFound
from spool.reader import open_reader
from spool.rule_sets import open_rule_books

RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - {name: keep, actions: [{disk: {path: mail}}]}
"""
# Many small ones; some so large that the log comes to its checkpoint; some that have files of their own.
SIZES = (1_000, 4_000, 20_000, 100_000, 100_000, 300_000)


class Traced(Straced):
    @property
    def trace(self) -> Path:
        return self.directory / "trace"

    @property
    def command(self) -> list[str]:
        return [*strace(self.trace), *super().command]


@pytest.fixture
def traced(gateway: Start) -> Traced:
    if shutil.which("strace") is None:
        pytest.skip("there is no strace here")
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        pytest.skip("nobody may trace here")
    made = gateway(start=False, rules=RULES, dns=ZONE, options=("--quiet",))
    made.__class__ = Traced
    made.directory.mkdir(exist_ok=True)
    made.start()
    return made


def mail(number: int) -> bytes:
    line = b"%08d" % number * 9 + b"\r\n"
    return b"From: a@b.example\r\nSubject: %d\r\n\r\n" % number + line * (SIZES[number % len(SIZES)] // len(line))


def send(live: GatewayProcess, count: int) -> dict[str, bytes]:
    """What each id in a 250 stands for."""
    sent: dict[str, bytes] = {}
    with live.connected() as wire:
        for number in range(count):
            reply = wire.transaction("a@b.example", ["x@example.com"], mail(number))
            assert reply.code == 250, reply
            sent[reply.text.split()[-1]] = mail(number)
    return sent


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_what_got_250_is_there_after_a_power_cut_at_any_moment(traced: Traced, tmp_path: Path, torture: int) -> None:
    sent = send(traced, 12 * torture)
    traced.wait_done(*sent, seconds=120)
    traced.stop()
    chance = random.Random()
    seed = chance.randrange(10**9)
    chance.seed(seed)
    disk = Disk(traced.data)
    found = list(events(traced.trace))
    cuts = sorted(chance.sample(range(len(found)), min(len(found), 6 * torture)))
    # And right behind promises, where what is missing was promised a moment ago.
    promised = 0
    kept = 0
    for position, event in enumerate(found):
        before = len(disk.accepted)
        disk.follow(event)
        is_promise = len(disk.accepted) > before and chance.random() < 0.25
        if position in cuts or is_promise:
            left = tmp_path / "left"
            disk.after(chance, left)
            ids = {each: sent[each] for each, line in disk.accepted.items() if line <= event.ended}
            kept += asyncio.run(check(left, ids, traced.data, f"seed {seed}, line {event.ended}"))
            promised += is_promise
            shutil.rmtree(left)
    assert disk.accepted.keys() == sent.keys()
    print(
        f"{len(found)} calls, {disk.writes} writes and {disk.syncs} syncs; {len(cuts)} power cuts anywhere and {promised}"
        f" right behind a promise: {kept} messages looked for, none lost"
    )


async def check(left: Path, promised: dict[str, bytes], data: Path, where: str) -> int:
    """Open what is left as a server would; how many messages were looked for and found whole."""
    shards = open_reader(left).shards() if (left / "shards").is_dir() else []
    spools = [open_spool(left, shard, ballast_octets=0) for shard in shards]
    try:
        for message_id, raw in promised.items():
            knowing = [each for each in spools if await knows(each, message_id)]
            assert knowing, f"{message_id} got 250 and is lost ({where})"
            spool = knowing[0]
            assert await spool.body(message_id) == raw, where
            state = (await spool.message(message_id)).state
            jobs = await spool.jobs(JobQuery(message_id=message_id))
            if state is not MessageState.DONE:
                assert [job.state for job in jobs] == [JobState.READY], f"{message_id} has nobody to go on ({where})"
            for step in await spool.ledger(message_id):
                if step.result is Result.DONE and "path" in step.data:
                    stored = left / Path(step.data["path"]).relative_to(data)
                    assert stored.read_bytes().endswith(raw), f"{stored} is done, and not there ({where})"
            assert has_rules(left, (await spool.message(message_id)).rule_book), where
    finally:
        for spool in spools:
            await spool.close()
    return len(promised)


async def knows(spool, message_id: str) -> bool:
    try:
        await spool.message(message_id)
    except NotFound:
        return False
    return True


def has_rules(left: Path, digest: str) -> bool:
    books = open_rule_books(left / "rules.db")
    try:
        return bool(books.content(digest))
    finally:
        books.close()
