"""A process to be killed: accepts and records without end, and says on standard output what was promised, one line each.

Usage: spool_victim.py DIRECTORY FIRST_NUMBER. `accepted NUMBER OCTETS`, then for most of them `done NUMBER`.
"""

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from spool_units import NOON, accepted_of

from spool.database import open_spool
from spool.ports import JobChange, MessageState, Recorded, Retention

SIZES = (600, 4_000, 30_000, 150_000)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def produce(spool, numbers):
    for number in numbers:
        octets = SIZES[number % len(SIZES)]
        job = await spool.accept(accepted_of(number, octets))
        say("accepted", number, octets)
        if number % 3:
            unit = Recorded(message_id=job.message_id, job=JobChange(id=job.id), state=MessageState.DONE)
            await spool.record(unit)
            say("done", number)


async def sweep(spool):
    while True:
        await spool.sweep(NOON, Retention())
        await asyncio.sleep(0.01)


async def main(directory: Path, start: int) -> None:
    spool = open_spool(directory, 0)
    say("open")
    numbers = count(start)
    await asyncio.gather(sweep(spool), *(produce(spool, numbers) for _ in range(12)))


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
