"""Listening sockets, the connections on them, and the tasks that outlive them.

*Standards.* RFC 5321 §4.5.3.2 (timeouts), §3.8 (421 on shutdown).
*Trust.* Connections are counted in total and per address before a session hears of them.
*Failure.* `OSError` from `listen` where an address cannot be bound.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from mail.client import Client
from mail.counters import Counters, key
from smtp.backend import Backend
from smtp.budget import Budget
from smtp.config import SmtpConfig
from smtp.content import TELL_OCTETS
from smtp.door import OVERLOADED, TOO_MANY, Census, Denial, Door, OwnCensus
from smtp.driver import Driver
from smtp.server import Server

log = logging.getLogger("gatepost.smtp")
_TICK_SECONDS = 1.0
_BACKLOG = 1024
_FLIGHT = "smtp.bytes_in_flight"

Where = socket.socket | tuple[str, int]


class Listener:
    """Serves until `drain` or `close`. `config` is that of new connections: to reload it is to assign another.

    `make` makes their servers (`smtp.transcript` has one that writes down what is said).
    """

    def __init__(
        self,
        backend: Backend,
        config: SmtpConfig,
        is_strained: Callable[[], bool],
        census: Census,
        counters: Counters,
    ) -> None:
        self.backend = backend
        self.config = config
        self.counters = counters
        self._came = counters.cell(key("connections_total"))
        self.make: Callable[[Listener, SmtpConfig], Server] = Server
        self.loop = asyncio.get_running_loop()
        self.budget = Budget(config.limits.in_flight_octets, is_strained, self._one_waits)
        self.is_draining = False
        self.connections: set[Driver] = set()
        self._door = Door(census)
        self._all_gone = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._ticker = self.loop.call_later(_TICK_SECONDS, self._tick)

    async def open(self, where: Sequence[Where], *, implicit_tls: bool = False) -> None:
        """Serve there too; with `implicit_tls` TLS comes first (RFC 8314 §3)."""
        make = self._connection_in_tls if implicit_tls else self._connection
        for place in where:
            if isinstance(place, socket.socket):
                server = await self.loop.create_server(make, sock=place, backlog=_BACKLOG)
            else:
                server = await self.loop.create_server(make, *place, backlog=_BACKLOG)
            self._servers.append(server)

    def _connection(self) -> Server:
        return self.make(self, self.config)

    def _connection_in_tls(self) -> Server:
        return self.make(self, in_tls(self.config))

    @property
    def addresses(self) -> list[str]:
        """`host:port` of each socket that is really bound, an IPv6 host in brackets."""
        bound = [sock.getsockname() for server in self._servers for sock in server.sockets]
        return [f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}" for name in bound]

    # --- the drivers' side

    def joined(self, driver: Driver) -> None:
        self.connections.add(driver)
        self._came.value += 1
        driver.counted, driver.is_one_too_many = self._door.came(self.config.limits)

    def gone(self, driver: Driver) -> None:
        self.connections.discard(driver)
        self._door.left(driver.counted)
        driver.counted = ()
        if not self.connections:
            self._all_gone.set()

    def admit(self, driver: Driver, client: Client) -> Denial | None:
        denial = self._denial(driver, client)
        if denial is not None:
            self._door.left(driver.counted)
            driver.counted = ()
        return denial

    def _denial(self, driver: Driver, client: Client) -> Denial | None:
        if driver.is_one_too_many:
            return TOO_MANY
        if self.budget.waiting > self.config.limits.connections_waiting:
            return OVERLOADED
        keys, denial = self._door.known(client, self.config.limits)
        driver.counted += keys
        return denial

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection's task failed", exc_info=error)

    def _one_waits(self) -> None:
        """A connection must wait for others, which may be slow on purpose: none keeps much where all need room."""
        self.counters.add("limited_total", limit=_FLIGHT)
        if self.budget.is_full:
            self.loop.call_soon(self._unload)

    def _unload(self) -> None:
        for driver in tuple(self.connections):
            if driver.weight > TELL_OCTETS:
                driver.unload()

    def _tick(self) -> None:
        self.budget.let_go()
        now = self.loop.time()
        for driver in tuple(self.connections):
            driver.tick(now)
        self._ticker = self.loop.call_later(_TICK_SECONDS, self._tick)

    # --- the end

    async def stop_accepting(self) -> None:
        """Take what waits in the queue, to be told 421 rather than be reset, and no more; the sockets are closed then."""
        self.is_draining = True
        await _rounds()
        for server in self._servers:
            server.close()
        await _rounds()
        for driver in tuple(self.connections):
            driver.leave_when_idle()

    async def drain(self, *, within_seconds: float = 30) -> None:
        """Take no more connections, let every message under way end, and wait for all sessions; then `close`."""
        await self.stop_accepting()
        if self.connections:
            self._all_gone.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), within_seconds)
        await self.close()

    async def close(self) -> None:
        """Drop every connection; what a session has begun (an accept under way) is waited for."""
        for server in self._servers:
            server.close()
        for driver in tuple(self.connections):
            driver.abort()
        await asyncio.sleep(0)
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        self._ticker.cancel()


async def _rounds() -> None:
    """Let the loop look at its sockets, and act on what it found."""
    for _ in range(3):
        await asyncio.sleep(0)


def _at_ease() -> bool:
    return False


@lru_cache(maxsize=8)
def in_tls(config: SmtpConfig) -> SmtpConfig:
    """The same with TLS from the first octet on; one object for each, since what is prebuilt is found by it."""
    return replace(config, implicit_tls=True)


async def listen(
    where: Where | Sequence[Where],
    backend: Backend,
    config: SmtpConfig,
    *,
    tls_where: Sequence[Where] = (),
    is_strained: Callable[[], bool] = _at_ease,
    census: Census | None = None,
    counters: Counters | None = None,
) -> Listener:
    """Open `(host, port)` or bound sockets, one or several. Raises `OSError` if an address is taken or not ours.

    At `tls_where` TLS comes first. While `is_strained()` only one connection at a time goes on reading message content
    (semantics.md §6: the writer's queue). `census` counts connections, across workers if they share it.
    """
    listener = Listener(backend, config, is_strained, census or OwnCensus(), counters or Counters())
    places: Sequence[Where] = [where] if isinstance(where, socket.socket) or _is_address(where) else where  # type: ignore[list-item,assignment]
    try:
        await listener.open(places)
        await listener.open(tls_where, implicit_tls=True)
    except BaseException:
        await listener.close()
        raise
    return listener


def _is_address(where: object) -> bool:
    return isinstance(where, tuple) and len(where) == 2 and isinstance(where[0], str)
