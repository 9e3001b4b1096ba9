"""What runs after the 250, alone: CPU of one walk, and how fast a backlog drains.

    python -m bench.runner [half|drain|dead ...] [--messages 2000] [--octets 4000] [--at-once 10] [--rounds 3] [--directory .cache]

half: messages that were just accepted are handed to the runner, `--at-once` at a time; each has one disk step. drain: messages that
wait in the spool, each with a disk step and a webhook to a local sink, a process of its own. dead: webhooks to ten hosts, and then
with one of them dead. CPU is this process's, user and system, of all threads.

Nothing is deleted before the end: for half a minute after files were deleted, ext4 passes their inodes over one by one at each
new file (measured: 0.3 ms of system time a file), and a round would pay for the round before it.
"""

import argparse
import asyncio
import gc
import multiprocessing
import os
import resource
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import uvloop

from actions.disk import Disk
from actions.http_port import HttpReply
from actions.loading import Fresh
from actions.object_store import ObjectStore
from actions.runner import Runner
from actions.webhook import Webhook
from bench.encryption import HEADER, receipt_of, unit_of
from gatepost.http_client import AiohttpClient
from gatepost.settings import Settings
from gatepost.wire import prepend_of
from rules.compiled import CompiledBook, compile_book
from rules.machine import Evaluation
from rules.model import ActionSpec, Rule, RuleBook, RuleSet
from spool.database import open_spool
from spool.ports import Spool

DISK = ActionSpec(type="disk", parameters={"path": "mail"})
HOSTS = 10
COLLECT_AFTER = (20_000, 20, 50)  # as `gatepost serve` has it
PARTS = ("half", "drain", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """CPU microseconds a message, and messages a second."""

    user: float
    system: float
    rate: float


class Stopwatch:
    def __init__(self) -> None:
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._began = time.perf_counter()

    def read(self, messages: int) -> Spent:
        seconds = time.perf_counter() - self._began
        now = resource.getrusage(resource.RUSAGE_SELF)
        return Spent(
            user=(now.ru_utime - self._usage.ru_utime) / messages * 1e6,
            system=(now.ru_stime - self._usage.ru_stime) / messages * 1e6,
            rate=messages / seconds,
        )


def book_of(rules: Sequence[Rule]) -> CompiledBook:
    return compile_book(RuleBook(active="default", rule_sets=(RuleSet(name="default", rules=tuple(rules)),)))


def webhook(port: int) -> ActionSpec:
    return ActionSpec(type="webhook", parameters={"url": f"http://127.0.0.1:{port}/in", "format": "raw"})


class CountedClient(AiohttpClient):
    """Counts what was taken."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = asyncio.Semaphore(0)

    async def post(self, *arguments: Any, **parameters: Any) -> HttpReply:
        reply = await super().post(*arguments, **parameters)
        if reply.status == HTTPStatus.OK:
            self._taken.release()
        return reply

    async def delivered(self, count: int) -> None:
        """Wait until so many requests were taken."""
        for _ in range(count):
            await self._taken.acquire()


class World:
    """A spool, the actions over it and a runner. Everything stands below `base`, and stays there."""

    def __init__(self, base: Path, book: CompiledBook) -> None:
        self.spool: Spool = open_spool(base / "spool", 0, ballast_octets=0)
        self._store = ObjectStore()
        self.http = CountedClient()
        self.runner = Runner(
            self.spool,
            books=lambda _: book,
            actions={"disk": Disk(self._store, base), "webhook": Webhook(self.http)},
            prepend=prepend_of(Settings()),
            clock=lambda: datetime.now(UTC),
            environment=os.environ,
        )

    async def close(self) -> None:
        await self.runner.drain(0.1)
        await self._store.close()
        await self.http.close()
        await self.spool.close()


async def half(base: Path, options: argparse.Namespace) -> Spent:
    book = book_of([Rule(name="keep", actions=(DISK,))])
    world = World(base, book)
    raw = raw_of(options)
    receipts = [receipt_of(raw, number, book.digest) for number in range(options.messages)]
    units = [unit_of(raw, receipt) for receipt in receipts]
    starts = [Evaluation.start(book, receipt) for receipt in receipts]
    jobs = await asyncio.gather(*(world.spool.accept(unit) for unit in units))
    running = asyncio.create_task(world.runner.run())
    watch = Stopwatch()
    for start in range(0, options.messages, options.at_once):
        for number in range(start, min(start + options.at_once, options.messages)):
            job = jobs[number]
            assert job is not None
            fresh = Fresh(state=units[number].state, raw=raw, start=starts[number])
            world.runner.take(job, fresh)
        await world.runner.idle()
    spent = watch.read(options.messages)
    await world.close()
    await running
    return spent


async def drain(base: Path, options: argparse.Namespace) -> Spent:
    """The whole backlog, two steps for each message."""
    with sink(1) as ports:
        world = World(base, await queued(base, options, [Rule(name="keep", actions=(DISK, webhook(ports[0])))]))
        watch = Stopwatch()
        running = asyncio.create_task(world.runner.run())
        await world.runner.idle()
        spent = watch.read(options.messages)
        await world.close()
        await running
    return spent


async def dead(base: Path, options: argparse.Namespace, *, is_dead: bool) -> Spent:
    """What the nine others got. A dead host takes connections and says nothing."""
    with sink(HOSTS - 1) as ports, socket.create_server(("127.0.0.1", 0), backlog=1024) as silent, sink(1) as tenth:
        last = silent.getsockname()[1] if is_dead else tenth[0]
        rules = [
            Rule(name=f"to-{number}", recipients=(f"host{number}@example.com",), actions=(webhook(port),))
            for number, port in enumerate((*ports, last))
        ]
        world = World(base, await queued(base, options, rules))
        mine = options.messages - len(range(HOSTS - 1, options.messages, HOSTS))
        most = mine if is_dead else options.messages
        watch = Stopwatch()
        running = asyncio.create_task(world.runner.run())
        await world.http.delivered(most)
        spent = watch.read(most)
        spent = replace(spent, rate=spent.rate * mine / most)
        await world.close()
        await running
    return spent


async def queued(base: Path, options: argparse.Namespace, rules: Sequence[Rule]) -> CompiledBook:
    """A backlog: accepted, and left behind by a process that has gone."""
    book, raw = book_of(rules), raw_of(options)
    spool = open_spool(base / "spool", 0, ballast_octets=0)
    for start in range(0, options.messages, 200):
        numbers = range(start, min(start + 200, options.messages))
        receipts = (receipt_of(raw, number, book.digest, f"host{number % HOSTS}@example.com") for number in numbers)
        await asyncio.gather(*(spool.accept(unit_of(raw, receipt)) for receipt in receipts))
    await spool.close()
    return book


def raw_of(options: argparse.Namespace) -> bytes:
    return HEADER + b"x" * (int(options.octets) - len(HEADER))


@contextmanager
def sink(count: int) -> Iterator[list[int]]:
    """So many ports of a process of its own that takes every POST."""
    listening = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(count)]
    process = multiprocessing.Process(target=take_all, args=(listening,), daemon=True)
    process.start()
    ports = [each.getsockname()[1] for each in listening]
    for each in listening:
        each.close()
    try:
        yield ports
    finally:
        process.kill()
        process.join()


def take_all(listening: list[socket.socket]) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        for each in listening:
            await loop.create_server(Sink, sock=each)
        await asyncio.Event().wait()

    uvloop.run(serve())


class Sink(asyncio.Protocol):
    """200 to each request, whatever it says."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    for name, default in (("messages", 2000), ("octets", 4000), ("at-once", 10), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--directory", type=Path, default=Path(".cache"))
    options = parser.parse_args()
    options.directory.mkdir(exist_ok=True)
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    ways: dict[str, Callable[..., Coroutine[Any, Any, Spent]]] = {
        "half": half,
        "drain": drain,
        "ten live": partial(dead, is_dead=False),
        "one dead": partial(dead, is_dead=True),
    }
    chosen = [way for way in ways if way in options.parts or ("dead" in options.parts and " " in way)]
    print("part      CPU us a message: user  system  both  messages/s   (median of rounds)")
    with tempfile.TemporaryDirectory(dir=options.directory) as made:
        found: dict[str, list[Spent]] = {way: [] for way in chosen}
        for number in range(options.rounds):
            for way in chosen:
                base = Path(made).resolve() / f"{number}-{way}"
                base.mkdir()
                found[way].append(uvloop.run(ways[way](base, options)))
        for way, rounds in found.items():
            user, system = (statistics.median(getattr(each, name) for each in rounds) for name in ("user", "system"))
            both = statistics.median(each.user + each.system for each in rounds)
            rate = statistics.median(each.rate for each in rounds)
            print(f"{way:9} {user:22.0f} {system:7.0f} {both:5.0f} {rate:11.0f}", flush=True)


if __name__ == "__main__":
    main()
