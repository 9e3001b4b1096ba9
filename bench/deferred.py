"""A state directory with very many messages whose delivery failed and is to be tried again.

    python -m bench.deferred DIRECTORY [--jobs 1000000] [--shards 2]

A gateway takes a message for each shard, whose webhook nobody answers; the rest are its copies, row for row, with ids of their own.
Half of the retries are spread over the four hours that SES allows, from an hour on; the others are due, behind the destination that
is down. What opening such a shard and asking it for work costs is printed, beside an empty one.
"""

import argparse
import asyncio
import json
import os
import smtplib
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mail.ids import message_id
from spool.database import open_spool
from spool.ports import Wanted
from spool.schema import micros
from spool.shard_lock import FILE, shard_directory

ROOT = Path(__file__).parent.parent
DEAD = "http://127.0.0.1:9/"  # the port of discard, which nobody serves
BOOK = {
    "version": 1,
    "domains": ["rcpt.test"],
    "rule_sets": {"default": [{"name": "hook", "actions": [{"webhook": {"url": DEAD}}]}]},
}
MESSAGE = b"From: a@sender.example\r\nTo: hook@rcpt.test\r\nSubject: later\r\n\r\nlater\r\n"
FIRST, SPREAD = timedelta(hours=1), timedelta(hours=3)
_EACH = 20_000
_PATIENCE_SECONDS = 60.0


@contextmanager
def _serving(directory: Path, workers: int) -> Iterator[str]:
    """A gateway on this state directory; where it listens."""
    with tempfile.TemporaryDirectory() as scratch:
        rules, ready = Path(scratch) / "rules.json", Path(scratch) / "ready"
        rules.write_text(json.dumps(BOOK))
        command = [sys.executable, "-m", "gatepost", "serve", "--quiet", "--listen", "127.0.0.1:0"]
        command += [
            "--data",
            str(directory),
            "--rules",
            str(rules),
            "--ready-file",
            str(ready),
            "--workers",
            str(workers),
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "GATEPOST_VERDICTS__CHECKS": "none"}
        with subprocess.Popen(command, cwd=scratch, env=environment, stdout=subprocess.DEVNULL) as process:
            try:
                _until(lambda: ready.exists() or process.poll() is not None)
                yield str(json.loads(ready.read_text())["smtp"][0])
            finally:
                process.terminate()


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the gateway has not done its part")
        time.sleep(0.05)


def _failed_in(path: Path) -> list[tuple[str]]:
    """The messages of a shard that wait for a retry."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT message_id FROM job WHERE kind = 'step' AND state = 'ready' AND last <> ''"
        ).fetchall()


def _templates(directory: Path, shards: int) -> list[str]:
    """Have one message at least fail for now in each shard; the id of one for each."""
    paths = [shard_directory(directory, shard) / FILE for shard in range(shards)]
    with _serving(directory, shards) as address:

        def tried() -> bool:
            if not all(map(_failed_in, paths)):
                with smtplib.SMTP(address) as client:
                    client.sendmail("a@sender.example", ["hook@rcpt.test"], MESSAGE)
                time.sleep(0.5)
            return all(map(_failed_in, paths))

        _until(tried)
    return [_failed_in(path)[0][0] for path in paths]


def _copies(path: Path, shard: int, first: str, count: int, now: datetime) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")  # a power cut makes it worthless, and nobody misses it
    connection.execute("PRAGMA cache_size=-262144")
    rows = {
        table: connection.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,)).fetchone()
        for table, column, value in (
            ("history", "id", first),
            ("job", "message_id", first),
            ("ledger", "message_id", first),
        )
    }
    rows["content"] = connection.execute("SELECT * FROM content WHERE seq = ?", (rows["history"][0],)).fetchone()
    last = connection.execute("SELECT max(id) >> 8 FROM job").fetchone()[0]
    seq = connection.execute("SELECT max(seq) FROM history").fetchone()[0]
    for start in range(1, count, _EACH):
        made: dict[str, list[tuple[object, ...]]] = {table: [] for table in rows}
        for number in range(start, min(start + _EACH, count)):
            name = message_id(now + timedelta(milliseconds=number // 1000), shard, number.to_bytes(17, "big"))
            later = FIRST + SPREAD * (number * 7919 % count / count)
            due, over = (micros(now + each) for each in (-later / 240 if number % 2 else later, FIRST + SPREAD))
            made["history"].append((seq + number, name, *rows["history"][2:]))
            _, at, receipt, *rest = rows["content"]
            made["content"].append((seq + number, at, receipt.replace(first.encode(), name.encode()), *rest))
            key = f"{name}/0/hook/0"
            job = rows["job"]
            made["job"].append((last + number << 8 | shard, job[1], name, key, *job[4:6], due, over, *job[8:]))
            made["ledger"].append((name, *rows["ledger"][1:]))
        connection.execute("BEGIN")
        for table, new in made.items():
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(new[0]))})", new)
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def fill(directory: Path, jobs: int, shards: int) -> None:
    """Make the directory, with so many jobs in all."""
    firsts = _templates(directory, shards)
    now = datetime.now(UTC)
    for shard, first in enumerate(firsts):
        _copies(shard_directory(directory, shard) / FILE, shard, first, jobs // shards, now)


async def _looked_at(directory: Path) -> dict[str, float]:
    """Milliseconds of opening shard 0, of a look for work, and of closing."""
    took = {}
    began = time.perf_counter()
    spool = open_spool(directory, 0)
    took["opening"] = time.perf_counter() - began
    now = datetime.now(UTC)
    beside = Wanted(paused=frozenset({"127.0.0.1:9"}))
    for name, at, wanted in (
        ("a look for work", now, Wanted()),
        ("a claim of 64", now + FIRST, Wanted()),
        ("a claim beside a pause", now + FIRST, beside),
    ):
        began = time.perf_counter()
        await spool.claim(at, 64, wanted)
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
