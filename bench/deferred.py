"""A state directory with very many messages whose delivery is to be tried again later.

    python -m bench.deferred DIRECTORY [--jobs 1000000] [--shards 2]

One message of each shard goes through the spool as any other would, up to the retry that its record asks for; the rest are its
copies, row for row, under ids of their own. Retries are spread over the four hours that SES allows, from an hour on. What opening
such a shard and asking it for work costs is printed, beside an empty one.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.spool import unit
from mail.ids import message_id
from mail.outcome import Result
from mail.values import changed
from spool.database import open_spool
from spool.ports import JobChange, JobKind, LedgerRow, MessageState, NewJob, Recorded
from spool.schema import micros
from spool.shard_lock import FILE, shard_directory

HEADER = b"From: a@sender.example\r\nSubject: later\r\n\r\n"
RECEIPT = b'{"message_id":"' + b"x" * 500 + b'"}'  # less than a real one, so that the disk holds a million
FIRST, SPREAD = timedelta(hours=1), timedelta(hours=3)
_EACH = 20_000


async def _one(directory: Path, shard: int, now: datetime) -> str:
    """Accept a message, and let its only step fail for now; its id."""
    spool = open_spool(directory, shard)
    made = changed(unit(0, 1600), receipt=RECEIPT, raw=HEADER + b"later\r\n", header_octets=len(HEADER))
    name = message_id(now, shard, bytes(17))
    row = changed(made.history, id=name, at=now)
    walk = NewJob(kind=JobKind.WALK, message_id=name, key=f"{name}/0", not_before=now)
    job = await spool.accept(changed(made, message_id=name, received_at=now, history=row, job=walk))
    assert job is not None  # it was asked for
    step = LedgerRow(
        message_id=name,
        evaluation=0,
        rule="hook",
        index=0,
        recipient="",
        action="webhook",
        position=0,
        result=Result.RETRYING,
        at=now,
        detail="503 from hook.example",
    )
    retry = NewJob(
        kind=JobKind.STEP,
        message_id=name,
        key=f"{name}/0/hook/0",
        not_before=now + FIRST,
        expires_at=now + FIRST + SPREAD,
        destination="hook.example",
        attempts=1,
        last="503 from hook.example",
    )
    await spool.record(
        Recorded(
            message_id=name,
            ledger=(step,),
            job=JobChange(id=job.id),
            new_jobs=(retry,),
            state=MessageState.RETRYING,
        )
    )
    await spool.close()
    return name


def _copies(path: Path, shard: int, first: str, count: int, now: datetime) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")  # a power cut makes it worthless, and nobody misses it
    connection.execute("PRAGMA cache_size=-262144")
    rows = {
        table: connection.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,)).fetchone()
        for table, column, value in (
            ("history", "id", first),
            ("content", "seq", 1),
            ("job", "message_id", first),
            ("ledger", "message_id", first),
        )
    }
    last = rows["job"][0] >> 8
    for start in range(1, count, _EACH):
        made: dict[str, list[tuple[object, ...]]] = {table: [] for table in rows}
        for number in range(start, min(start + _EACH, count)):
            name = message_id(now + timedelta(milliseconds=number // 1000), shard, number.to_bytes(17, "big"))
            due = micros(now + FIRST + SPREAD * (number * 7919 % count / count))
            made["history"].append((number + 1, name, *rows["history"][2:]))
            made["content"].append((number + 1, *rows["content"][1:]))
            key = f"{name}/0/hook/0"
            job = rows["job"]
            made["job"].append((last + number << 8 | shard, job[1], name, key, *job[4:6], due, *job[7:]))
            made["ledger"].append((name, *rows["ledger"][1:]))
        connection.execute("BEGIN")
        for table, new in made.items():
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(new[0]))})", new)
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def fill(directory: Path, jobs: int, shards: int) -> None:
    now = datetime.now(UTC)
    for shard in range(shards):
        first = asyncio.run(_one(directory, shard, now))
        _copies(shard_directory(directory, shard) / FILE, shard, first, jobs // shards, now)


async def _looked_at(directory: Path) -> dict[str, float]:
    """Milliseconds of opening shard 0, of a look for work, and of closing."""
    took = {}
    began = time.perf_counter()
    spool = open_spool(directory, 0)
    took["opening"] = time.perf_counter() - began
    for name, now in (("a look for work", datetime.now(UTC)), ("a claim of 64", datetime.now(UTC) + FIRST + SPREAD)):
        began = time.perf_counter()
        await spool.claim(now, 64)
        took[name] = time.perf_counter() - began
    await spool.close()
    return {name: seconds * 1e3 for name, seconds in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=2)
    options = parser.parse_args()
    began = time.perf_counter()
    if not options.directory.exists():
        fill(options.directory, options.jobs, options.shards)
        print(f"filled in {time.perf_counter() - began:.0f} s")
    with tempfile.TemporaryDirectory() as empty:
        for label, directory in (("empty", Path(empty)), (f"{options.jobs:,} deferred", options.directory)):
            told = asyncio.run(_looked_at(directory))
            print(f"{label:20}", "  ".join(f"{name} {milliseconds:.2f} ms" for name, milliseconds in told.items()))


if __name__ == "__main__":
    main()
