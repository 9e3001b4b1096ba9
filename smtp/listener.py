"""Listening sockets, the connections on them, and the tasks that outlive them.

*Standards.* RFC 5321 §4.5.3.2 (timeouts), §3.8 (421 on shutdown).
*Trust.* Connections are counted in total and per address before a session hears of them.
*Failure.* `OSError` from `listen` where an address cannot be bound.
"""

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from mail.client import Client
from mail.counters import Counters
from mail.reply import TOO_BUSY, Reply
from smtp.backend import Backend
from smtp.budget import Budget
from smtp.config import SmtpConfig
from smtp.driver import Driver
from smtp.server import Server

log = logging.getLogger("gatepost.smtp")
_TICK_SECONDS = 1.0
_BACKLOG = 1024

Where = socket.socket | tuple[str, int]


class Listener:
    """Serves until `drain` or `close`."""

    def __init__(
        self, backend: Backend, config: SmtpConfig, is_strained: Callable[[], bool], counters: Counters
    ) -> None:
        self.backend = backend
        self.config = config
        self.counters = counters
        self.loop = asyncio.get_running_loop()
        self.budget = Budget(config.limits.in_flight_octets, is_strained)
        self.is_draining = False
        self.connections: set[Driver] = set()
        self._per_ip: Counter[str] = Counter()
        self._counted: dict[Driver, str] = {}
        self._all_gone = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._ticker = self.loop.call_later(_TICK_SECONDS, self._tick)

    async def open(self, where: Sequence[Where]) -> None:
        for place in where:
            if isinstance(place, socket.socket):
                server = await self.loop.create_server(self._connection, sock=place, backlog=_BACKLOG)
            else:
                server = await self.loop.create_server(self._connection, *place, backlog=_BACKLOG)
            self._servers.append(server)

    def _connection(self) -> Server:
        return Server(self)

    @property
    def addresses(self) -> list[str]:
        """`host:port` of each socket that is really bound, an IPv6 host in brackets."""
        bound = [sock.getsockname() for server in self._servers for sock in server.sockets]
        return [f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}" for name in bound]

    # --- the drivers' side

    def joined(self, driver: Driver) -> None:
        self.connections.add(driver)
        self.counters.add("connections_total")

    def gone(self, driver: Driver) -> None:
        self.connections.discard(driver)
        ip = self._counted.pop(driver, None)
        if ip is not None:
            self._per_ip[ip] -= 1
            if not self._per_ip[ip]:
                del self._per_ip[ip]
        if not self.connections:
            self._all_gone.set()

    def admit(self, driver: Driver, client: Client) -> Reply | None:
        limits = self.config.limits
        if len(self.connections) > limits.connections:
            return self._refused(TOO_BUSY)
        if client.ip is not None:
            if self._per_ip[client.ip] >= limits.connections_per_ip:
                return self._refused(TOO_BUSY.because("Too many connections from your address"))
            self._per_ip[client.ip] += 1
            self._counted[driver] = client.ip
        return None

    def _refused(self, reply: Reply) -> Reply:
        self.counters.add("refusals_total", phase="connect", reply=f"{reply.code} {reply.enhanced}")
        return reply

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection's task failed", exc_info=error)

    def _tick(self) -> None:
        now = self.loop.time()
        for driver in tuple(self.connections):
            driver.tick(now)
        self._ticker = self.loop.call_later(_TICK_SECONDS, self._tick)

    # --- the end

    async def drain(self, *, within_seconds: float = 30) -> None:
        """Take no more connections, let every message under way end, and wait for all sessions; then `close`."""
        self.is_draining = True
        for server in self._servers:
            server.close()
        for driver in tuple(self.connections):
            driver.leave_when_idle()
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


def _at_ease() -> bool:
    return False


async def listen(
    where: Where | Sequence[Where],
    backend: Backend,
    config: SmtpConfig,
    *,
    is_strained: Callable[[], bool] = _at_ease,
    counters: Counters | None = None,
) -> Listener:
    """Open `(host, port)` or bound sockets, one or several. Raises `OSError` if an address is taken or not ours.

    While `is_strained()` only one connection at a time goes on reading message content (semantics.md §6: the writer's queue).
    `counters` are the process's.
    """
    listener = Listener(backend, config, is_strained, counters or Counters())
    places: Sequence[Where] = [where] if isinstance(where, socket.socket) or _is_address(where) else where  # type: ignore[list-item,assignment]
    try:
        await listener.open(places)
    except BaseException:
        await listener.close()
        raise
    return listener


def _is_address(where: object) -> bool:
    return isinstance(where, tuple) and len(where) == 2 and isinstance(where[0], str)
