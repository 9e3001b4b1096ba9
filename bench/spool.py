"""How much one accept, and one walk, costs the spool: `python -m bench.spool [--walk] [--busy] [DIR]`.

Prints accepts per second and CPU microseconds per accept for messages of 4 and 50 KB from 1, 10 and 50 producers. `--walk` records
a finished walk after each accept. `--busy` keeps the loop busy beside it, as parsing and verdicts do. DIR should be on the disk
that will hold the spool: in a tmpfs an fsync costs nothing.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from mail.ids import message_id
from mail.outcome import Result
from spool.database import open_spool
from spool.ports import (
    Accepted,
    HistoryRow,
    JobChange,
    JobKind,
    LedgerRow,
    MessageState,
    NewJob,
    Recorded,
)
from spool.sqlite_spool import SqliteSpool

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
RECEIPT = b'{"message_id":"' + b"x" * 1800 + b'"}'
HEADER = b"X-Filler: " + b"h" * 1500 + b"\r\n\r\n"


def unit(number: int, octets: int) -> Accepted:
    at = NOON + timedelta(milliseconds=number)
    name = message_id(at, 0, number.to_bytes(17, "big"))
    row = HistoryRow(
        id=name,
        session=f"s{number}",
        at=at,
        client_ip="192.0.2.1",
        helo="mx.sender.example",
        mail_from="newsletter@sender.example",
        rcpt_to=("somebody@ours.example",),
        phase="accepted",
        outcome="accepted",
        reply=f"250 2.0.0 {name}",
        subject="Your weekly news about benchmarks",
        header_from="News <newsletter@sender.example>",
        size=octets,
    )
    return Accepted(
        message_id=name,
        received_at=at,
        receipt=RECEIPT,
        header_octets=len(HEADER),
        raw=HEADER + bytes(octets - len(HEADER)),
        answers={f"{each:064x}": ("v=spf1 -all",) for each in range(5)},
        rule_book="b" * 64,
        history=row,
        job=NewJob(kind=JobKind.WALK, message_id=name, key=f"{name}/0", not_before=at),
    )


async def one(spool: SqliteSpool, made: Accepted, *, walk: bool) -> None:
    job = await spool.accept(made)
    if walk and job is not None:
        row = LedgerRow(
            message_id=made.message_id,
            evaluation=0,
            rule="default",
            index=0,
            recipient="",
            action="disk",
            position=0,
            result=Result.DONE,
            at=made.received_at,
            data={"object_key": "inbox/" + made.message_id},
        )
        await spool.record(
            Recorded(message_id=made.message_id, ledger=(row,), job=JobChange(id=job.id), state=MessageState.DONE)
        )


async def measure(directory: Path, octets: int, producers: int, count: int, *, walk: bool, busy: bool) -> str:
    spool = open_spool(directory, 0)
    units = iter([unit(number, octets) for number in range(count)])
    waits: list[float] = []

    async def produce() -> None:
        for made in units:
            begun = time.perf_counter()
            await one(spool, made, walk=walk)
            waits.append(time.perf_counter() - begun)

    async def burn() -> None:
        while True:
            for _ in range(20_000):
                pass
            await asyncio.sleep(0)

    burning = asyncio.create_task(burn()) if busy else None
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(produce() for _ in range(producers)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if burning is not None:
        burning.cancel()
    await spool.close()
    waits.sort()
    cost = "(loop busy)" if busy else f"{cpu / count * 1e6:6.0f} us CPU"
    middle, late = (waits[count * part // 100] * 1e3 for part in (50, 99))
    rate = f"{octets // 1000:4d} KB {producers:3d} producers  {count / wall:7.0f}/s"
    return f"{rate} {cost}  p50 {middle:6.2f} ms  p99 {late:6.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", nargs="?", type=Path, default=Path("var"))
    parser.add_argument("--walk", action="store_true")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--switch-interval", type=float)
    asked = parser.parse_args()
    if asked.switch_interval:
        sys.setswitchinterval(asked.switch_interval)
    asked.directory.mkdir(exist_ok=True)
    for octets, count in ((4096, 10_000), (50_000, 3_000)):
        for producers in (1, 10, 50):
            directory = Path(tempfile.mkdtemp(prefix="bench-spool-", dir=asked.directory))
            amount = count // 10 if producers == 1 or asked.busy else count
            print(
                uvloop.run(measure(directory, octets, producers, amount, walk=asked.walk, busy=asked.busy)), flush=True
            )
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
