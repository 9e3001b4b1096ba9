"""A worker process: `python -m gatepost.worker NUMBER CHANNEL PASSING`, started by the parent and by nobody else.

CHANNEL and PASSING are the descriptors of its ends of two socket pairs. What it is to do it is told over the channel, descriptors
come over the other. It never outlives the parent: what it had under way is in the spool.

*Trust.* The parent is this program; what comes over the channel is not checked again.
*Failure.* The codes of `gatepost.worker_ends`; a failure at the start is also the answer to `start`, in words.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec

from gatepost import huge_pages, wire
from gatepost.channel import Channel, open_channel
from gatepost.control import RULE_BOOKS
from gatepost.gateway import Gateway, opened
from gatepost.http_parts import Everyone
from gatepost.library import Library
from gatepost.listening import KINDS, Doors
from gatepost.live import printer
from gatepost.log_lines import configure_logging
from gatepost.settings import Settings
from gatepost.settings_wire import unpacked
from gatepost.shards import Share
from gatepost.worker_ends import BROKEN, CANNOT, DRAINED
from inbound.event import Event
from mail.errors import GatepostError, Misuse, Permanent
from spool.ports import Broken
from spool.rule_sets import open_rule_books

log = logging.getLogger("gatepost")
_COLLECT_AFTER = (20_000, 20, 50)  # objects; the values of a message are freed by their reference counts
_PR_SET_PDEATHSIG = 1
_MOST_DESCRIPTORS = 64  # that are passed at a time


def _silence(_: Event) -> None:
    pass


class Worker:
    """Does what the parent asks."""

    def __init__(self, number: int, passing: socket.socket) -> None:
        self._number = number
        self.channel: Channel | None = None
        self._passing = passing
        loop = asyncio.get_running_loop()
        self._told: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._opened: asyncio.Future[Gateway] = loop.create_future()
        self._stop = asyncio.Event()
        self._is_quiet = False
        self._tell: Callable[[Event], None] = _silence
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(ignored, lambda: None)  # what becomes of us is the parent's word

    async def handle(self, request: dict[str, Any]) -> Any:
        """One request of the parent."""
        match request["operation"]:
            case "start":
                self._told.set_result(request)
                await asyncio.shield(self._opened)
            case "ping":
                return self._number
            case "rules":
                await (await self._gateway()).library.follow()
            case "operate":
                return await (await self._gateway()).operate(request["request"])
            case "use":
                await self._use(request)
            case "observe":
                return await (await self._gateway()).observe()
            case "trace":
                return (await self._gateway()).traces.begin(request)
            case "traced":
                return (await self._gateway()).traces.read(request)
            case "confirmed":
                await (await self._gateway()).confirmed(request["topic"])
            case "http":
                await self._serve_http(request["count"])
            case "drain":
                await (await self._gateway()).listener.stop_accepting()
                self._stop.set()
            case unknown:
                raise Misuse(f"a worker knows no operation {unknown}")
        return None

    async def run(self) -> int:
        """From `start` to the end; the exit code."""
        start = await self._told
        self._is_quiet = start["quiet"]
        self._speak_as(unpacked(start["settings"]))
        try:
            async with contextlib.AsyncExitStack() as stack:
                gateway = await stack.enter_async_context(_gateway(start, self._on_event, self._everyone))
                gateway.library.active()  # compiled before it is settled, and before a session waits for it
                _settle_memory()
                self._opened.set_result(gateway)
                stopped = asyncio.create_task(self._stop.wait())
                await asyncio.wait((stopped, gateway.ended), return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                if gateway.ended.done():
                    gateway.ended.result()
        except (GatepostError, OSError) as error:
            if self._opened.done():
                log.critical("%s", error)
            else:
                self._opened.set_exception(error if isinstance(error, GatepostError) else Permanent(str(error)))
            return BROKEN if isinstance(error, Broken) else CANNOT
        return DRAINED

    async def _everyone(self, request: dict[str, Any]) -> Any:
        """The answers of all workers to this request, by the parent's hand."""
        if self.channel is None:
            raise Misuse("there is no channel yet")
        return await self.channel.ask({"operation": "everyone", "request": request})

    async def _gateway(self) -> Gateway:
        return await asyncio.shield(self._opened)

    async def _use(self, request: dict[str, Any]) -> None:
        gateway = await self._gateway()
        settings = unpacked(request["settings"])
        try:
            gateway.use(settings)
        except OSError as error:
            raise Permanent(str(error)) from error
        self._speak_as(settings)
        await gateway.library.follow()

    def _speak_as(self, settings: Settings) -> None:
        """In the form, and with what is left out, that the settings say."""
        configure_logging(settings)
        self._tell = _silence if self._is_quiet else printer(settings)

    def _on_event(self, event: Event) -> None:
        self._tell(event)

    async def _serve_http(self, count: int) -> None:
        _, descriptors, _, _ = socket.recv_fds(self._passing, 1, _MOST_DESCRIPTORS)
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if len(sockets) != count:
            raise Misuse(f"{count} sockets were announced, {len(sockets)} came")
        await (await self._gateway()).serve_http(sockets)


@contextlib.asynccontextmanager
async def _gateway(
    start: dict[str, Any], on_event: Callable[[Event], None], everyone: Everyone
) -> AsyncIterator[Gateway]:
    """What `start` describes."""
    settings = unpacked(start["settings"])
    with contextlib.closing(open_rule_books(settings.data / RULE_BOOKS)) as books:
        async with opened(
            settings,
            Library(books, settings, wire.now),
            msgspec.convert(start["share"], Share),
            Doors(**{kind: [socket.socket(fileno=each) for each in start[kind]] for kind in KINDS}),
            on_event,
            http_addresses=start["http_addresses"],
            everyone=everyone,
        ) as gateway:
            yield gateway


def _settle_memory() -> None:
    """What was loaded so far lives as long as we do: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    huge_pages.gather()
    gc.set_threshold(*_COLLECT_AFTER)


async def _work(number: int, channel_end: socket.socket, passing_end: socket.socket) -> int:
    worker = Worker(number, passing_end)
    channel = worker.channel = await open_channel(channel_end, worker.handle)
    channel.ended.add_done_callback(_end_with_parent)
    code = await worker.run()
    await channel.flush()
    channel.ended.remove_done_callback(_end_with_parent)
    return code


def _end_with_parent(_: object) -> None:
    """At once: the spool is durable, and a new parent may be waiting for our shards."""
    os._exit(CANNOT)


def _die_with_parent() -> None:
    """Where the system can do it. Elsewhere the end of the channel is what we notice, as soon as the loop gets there."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _run_loop(main: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop  # noqa: PLC0415 - optional: the gateway runs without it
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def main() -> None:
    """The process, from its first line to its exit code."""
    _die_with_parent()
    number, *descriptors = map(int, sys.argv[1:4])
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    channel_end, passing_end = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    sys.exit(_run_loop(_work(number, channel_end, passing_end)))


if __name__ == "__main__":
    main()
