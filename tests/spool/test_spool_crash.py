"""kill -9 at any moment: what was promised is there, with its job; what was not is whole or absent.

The number of kills is the variable TORTURE (default 5). The same directory lives through all of them.
"""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from spool_units import accepted_of

from spool.database import open_spool
from spool.ports import HistoryQuery, JobQuery, JobState, MessageState

KILLS = int(os.environ.get("TORTURE", "5"))
HERE = Path(__file__).parent


def run_and_kill(directory: Path, start: int, after_lines: int, after_seconds: float) -> list[str]:
    """What the victim said before it was killed."""
    path = os.pathsep.join([str(HERE), str(HERE.parent.parent)])
    command = [sys.executable, str(HERE / "spool_victim.py"), str(directory), str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as victim:
        said = [victim.stdout.readline() for _ in range(after_lines)]
        time.sleep(after_seconds)  # the moment must not be one that follows a promise
        victim.send_signal(signal.SIGKILL)
        said += victim.stdout.readlines()
    return [line.decode().strip() for line in said if line.endswith(b"\n")]


async def check(directory: Path, promised: dict[int, int], done: set[int]) -> None:
    spool = open_spool(directory, 0)
    jobs = {job.message_id: job for job in await spool.jobs(JobQuery(limit=10**6))}
    assert {job.state for job in jobs.values()} <= {JobState.READY}
    for number, octets in promised.items():
        unit = accepted_of(number, octets)
        assert await spool.body(unit.message_id) == unit.raw
        state = (await spool.message(unit.message_id)).state
        if number in done:
            assert state is MessageState.DONE
            assert unit.message_id not in jobs
        elif state is MessageState.ACTIVE:
            assert jobs[unit.message_id].attempts == 1
    for row, _ in await spool.find(HistoryQuery(limit=10**6)):
        assert await spool.body(row.id)
    await spool.close()
    connection = sqlite3.connect(directory / "shards" / "00" / "spool.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_nothing_promised_is_lost_by_a_kill(tmp_path):
    chance = random.Random()
    promised: dict[int, int] = {}
    done: set[int] = set()
    for kill in range(KILLS):
        said = run_and_kill(tmp_path / "var", kill * 10**6, chance.randrange(1, 300), chance.random() * 0.02)
        for line in said[1:]:
            word, number, *octets = line.split()
            if word == "accepted":
                promised[int(number)] = int(octets[0])
            else:
                done.add(int(number))
        asyncio.run(check(tmp_path / "var", promised, done))
    assert promised
