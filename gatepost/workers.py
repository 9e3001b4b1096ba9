"""The parent's view of its workers: it starts them, hands them what they need, and starts a new one when one ends.

A worker is exec'd, in a process group of its own: what a terminal sends reaches the parent alone, which then says what happens.

*Failure.* `WorkerFailed` where one cannot begin at the first start. Later nothing but `drain` or `kill` ends the attempts.
"""

import asyncio
import logging
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatepost.allocator import thrifty
from gatepost.channel import Channel, Gone, open_channel
from gatepost.worker_ends import BackOff, in_words
from mail.errors import GatepostError, Temporary
from spool.control import Handler

log = logging.getLogger("gatepost")
_ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 20.0  # for a worker that is being started again; the command that asks waits 30
_DRAIN_SECONDS = 5.0  # to close its sockets
_EXIT_SECONDS = 5.0  # between the end of its channel and of the process
_LOOK_SECONDS = 0.01
_BACK_OFF = BackOff()


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a new worker is told: a request `start`, and the sockets whose descriptors stand in it."""

    request: dict[str, Any]
    sockets: Sequence[socket.socket]


@dataclass(slots=True, kw_only=True)
class _Worker:
    """One place, and whoever fills it now. `ready` is set while it works."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    channel: Channel | None = None
    passing: socket.socket | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    deaths: int = 0
    keeper: "asyncio.Task[None] | None" = None


class Workers:
    """`errand` says what the worker of a number is told when it starts; `handler` answers what workers ask the parent.

    `on_death` hears the number of a worker that ended, before the next one is started.
    """

    def __init__(
        self,
        count: int,
        errand: Callable[[int], Errand],
        *,
        handler: Handler,
        on_death: Callable[[int], None] = lambda _: None,
        back_off: BackOff = _BACK_OFF,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._errand, self._handler, self._on_death = errand, handler, on_death
        self._back_off, self._chance = back_off, chance
        self._places = [_Worker(number=number) for number in range(count)]
        self._is_ending = False

    @property
    def pids(self) -> list[int]:
        """Of those that run."""
        return [
            place.process.pid for place in self._places if place.process is not None and place.process.poll() is None
        ]

    async def start(self) -> None:
        """Until every one is ready. The first that cannot be ends the attempt, with what it said."""
        await _all(self._begin(place) for place in self._places)
        for place in self._places:
            place.keeper = asyncio.create_task(self._keep(place))

    async def ask(self, number: int, request: dict[str, Any], *, timeout_seconds: float | None = None) -> Any:
        """Its answer; one that is being started again is waited for. Raises what it raised, or `Temporary`."""
        place = self._places[number]
        try:
            await asyncio.wait_for(place.ready.wait(), _START_SECONDS)
            assert place.channel is not None
            return await place.channel.ask(request, timeout_seconds=timeout_seconds)
        except TimeoutError:
            raise Temporary(f"worker {number} is not running; the log says why") from None
        except Gone:
            raise Temporary(f"worker {number} ended while it was asked: whether it was done is not known") from None

    async def ask_all(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> list[Any]:
        """The answers by worker; raises the first failure once all have answered."""
        asked = [self.ask(place.number, request, timeout_seconds=timeout_seconds) for place in self._places]
        return await _all(asked)

    async def pass_sockets(self, number: int, sockets: Sequence[socket.socket]) -> None:
        """Hand listening sockets for HTTP to a worker that runs."""
        place = self._places[number]
        await place.ready.wait()
        assert place.passing is not None
        socket.send_fds(place.passing, [b"."], [bound.fileno() for bound in sockets])
        await self.ask(number, {"operation": "http", "count": len(sockets)})

    async def stop_accepting(self) -> None:
        """Let all take what is queued and no more; from then on they end by themselves, and no new ones are started."""
        self._is_ending = True
        asked = (
            place.channel.ask({"operation": "drain"}, timeout_seconds=_DRAIN_SECONDS)
            for place in self._places
            if place.channel is not None
        )
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, GatepostError):
                log.warning("a worker was not told that this is the end: %s", answer)
            elif isinstance(answer, BaseException):
                raise answer

    async def wait_ended(self) -> None:
        """Until no worker is left."""
        for place in self._places:
            if place.process is not None:
                await _exit_of(place.process)

    def kill(self) -> None:
        """At once; the spool is durable."""
        self._is_ending = True
        for place in self._places:
            if place.keeper is not None:
                place.keeper.cancel()
            if place.process is not None and place.process.poll() is None:
                place.process.kill()
                place.process.wait()

    async def _keep(self, place: _Worker) -> None:
        """Wait for its end, say why, and start the next, for as long as we serve."""
        while True:
            began = time.monotonic()
            assert place.channel is not None
            assert place.process is not None
            await asyncio.wait([place.channel.ended])
            place.ready.clear()
            code = await _exit_of(place.process, _EXIT_SECONDS)
            if self._is_ending:
                return
            place.deaths = self._back_off.deaths(place.deaths, time.monotonic() - began)
            self._on_death(place.number)
            await self._start_again(place, in_words(code))

    async def _start_again(self, place: _Worker, why: str) -> None:
        while True:
            assert place.process is not None
            delay = self._back_off.delay(place.deaths, self._chance())
            log.error(
                "worker %d (process %d) %s; the next is started in %.1f s", place.number, place.process.pid, why, delay
            )
            await asyncio.sleep(delay)
            try:
                await self._begin(place)
            except (GatepostError, OSError) as error:
                # Where there are no descriptors or no memory for a process now, there may be some later.
                place.deaths += 1
                why = f"cannot start: {error}"
            else:
                log.warning("worker %d is back, as process %d", place.number, place.process.pid)
                return

    async def _begin(self, place: _Worker) -> None:
        """Start a process and tell it its errand; returns when it is ready, raises what it answered otherwise."""
        errand = self._errand(place.number)
        ours, theirs = socket.socketpair()
        passing, their_passing = socket.socketpair()
        with theirs, their_passing:
            place.process = _exec(place.number, theirs, their_passing, errand.sockets)
        if place.passing is not None:
            place.passing.close()
        place.passing = passing
        place.channel = await open_channel(ours, self._handler)
        try:
            await place.channel.ask(errand.request)
        except Gone:
            code = await _exit_of(place.process, _EXIT_SECONDS)
            raise Temporary(f"worker {place.number} {in_words(code)} before it was ready; its log says more") from None
        except GatepostError:
            await _exit_of(place.process, _EXIT_SECONDS)
            raise
        place.ready.set()


def _exec(
    number: int, channel: socket.socket, passing: socket.socket, sockets: Sequence[socket.socket]
) -> subprocess.Popen[bytes]:
    variables = thrifty(os.environ)
    if Path(sys.path[0] or ".").resolve() == _ROOT:
        # We were found in the working directory (python -m gatepost), where -P does not look.
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), variables.get("PYTHONPATH"))))
    own = (channel.fileno(), passing.fileno())
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module, and three numbers
        [sys.executable, "-P", "-m", "gatepost.worker", str(number), *map(str, own)],
        stdin=subprocess.DEVNULL,
        env=variables,
        pass_fds=(*own, *(bound.fileno() for bound in sockets)),
        process_group=0,
    )


async def _exit_of(process: subprocess.Popen[bytes], seconds: float | None = None) -> int:
    """Its exit code; killed if it is not gone in time."""
    until = None if seconds is None else time.monotonic() + seconds
    while (code := process.poll()) is None:
        if until is not None and time.monotonic() >= until:
            process.kill()
        await asyncio.sleep(_LOOK_SECONDS)
    return code


async def _all(asked: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """All results, once all are there; else the first failure, by place."""
    results = await asyncio.gather(*asked, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
