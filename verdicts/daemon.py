"""A scanner daemon on a unix or TCP socket: where it is, one request and its reply, several daemons in turn.

*Trust.* The daemon is the operator's; what it answers is read to a limit and judged by its caller.
*Failure.* `Temporary` when no reply came; `Unreachable`, a kind of it, when nothing of the message was sent, so that another
daemon may be asked. A daemon that fails in the middle is not followed by another: the message may be what brought it down.
"""

import asyncio
import ipaddress
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mail.errors import Permanent, Temporary
from mail.octets import PIECE_OCTETS, Octets

REPLY_OCTETS = 64 * 1024
_TCP = re.compile(r"(?:tcp:)?(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\s/]+)):([0-9]{1,5})\Z")

T = TypeVar("T")


class Unreachable(Temporary):
    """The daemon could not be spoken to at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`path` of a unix socket, or `host` and `port`."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"tcp:[{self.host}]:{self.port}" if ":" in self.host else f"tcp:{self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint | None:
    """`unix:/PATH`, `tcp:HOST:PORT` or `HOST:PORT`, IPv6 in brackets; None for anything else."""
    if text.startswith("unix:/"):
        return Endpoint(path=text.removeprefix("unix:"))
    found = _TCP.match(text)
    if not found or not 1 <= int(found.group(3)) <= 65535:
        return None
    return Endpoint(host=found.group(1) or found.group(2), port=int(found.group(3)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """In seconds. `idle` is how long a daemon may take no octet while we send; the reply has the caller's whole deadline.

    A daemon that failed comes last for `rest`, and answers a ping within `connect` before it gets another message.
    """

    connect: float = 2.0
    idle: float = 10.0
    rest: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the daemon said, whole or not, and whether it had taken the whole request."""

    octets: bytes
    is_sent: bool


async def at_once(octets: bytes) -> AsyncIterator[bytes]:
    """A request of one piece."""
    yield octets


async def in_pieces(raw: Octets, head: bytes = b"") -> AsyncIterator[bytes]:
    """`head`, then the message; what stands in a file is read beside the loop."""
    if head:
        yield head
    for start in range(0, len(raw), PIECE_OCTETS):
        piece = slice(start, start + PIECE_OCTETS)
        yield raw[piece] if isinstance(raw, bytes) else await asyncio.to_thread(raw.__getitem__, piece)


async def exchange(
    endpoint: Endpoint,
    request: AsyncIterator[bytes],
    is_whole: Callable[[bytes], bool],
    timing: Timing,
    *,
    closes: bool = False,
) -> Reply:
    """Send the request, reading all the while: a daemon that has had enough answers and closes in the middle of it.

    `closes`: the end of the request is also the end of what we send, for a daemon that waits for it.
    """
    with await _connected(endpoint, timing.connect) as connection:
        sending = asyncio.create_task(_send(connection, request, timing.idle, closes=closes))
        receiving = asyncio.create_task(_receive(connection, is_whole))
        try:
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                return Reply(octets=receiving.result(), is_sent=sending.done() and sending.result())
            if sending.result():
                return Reply(octets=await receiving, is_sent=True)
            # It closed on us: what it said before is in our receive buffer.
            async with asyncio.timeout(timing.idle):
                return Reply(octets=await receiving, is_sent=False)
        except TimeoutError:
            raise Temporary(f"{endpoint} took nothing for {timing.idle:g} s") from None
        finally:
            sending.cancel()
            receiving.cancel()
            # The descriptor may only be closed once the loop has let go of it.
            await asyncio.gather(sending, receiving, return_exceptions=True)


async def _connected(endpoint: Endpoint, seconds: float) -> socket.socket:
    try:
        async with asyncio.timeout(seconds):
            return await _connect(endpoint)
    except TimeoutError:
        raise Unreachable(f"{endpoint}: no connection within {seconds:g} s") from None
    except OSError as error:
        # asyncio puts its own words, with the address again, where strerror should be.
        said = os.strerror(error.errno) if isinstance(error, ConnectionError) and error.errno else error.strerror
        raise Unreachable(f"{endpoint}: {said or error}") from None


async def _connect(endpoint: Endpoint) -> socket.socket:
    if endpoint.path:
        return await _dial(socket.AF_UNIX, endpoint.path)
    loop = asyncio.get_running_loop()
    try:
        version = ipaddress.ip_address(endpoint.host).version
    except ValueError:
        family, _, _, _, address = (await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))[0]
        return await _dial(family, address)
    return await _dial(socket.AF_INET6 if version == 6 else socket.AF_INET, (endpoint.host, endpoint.port))


async def _dial(family: int, address: object) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, address)  # type: ignore[arg-type]
        if family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


async def _send(connection: socket.socket, request: AsyncIterator[bytes], idle_seconds: float, *, closes: bool) -> bool:
    """True when all of it was taken, False when the daemon closed. Raises TimeoutError when it took nothing for so long."""
    loop = asyncio.get_running_loop()
    try:
        async for part in request:
            async with asyncio.timeout(idle_seconds):
                await loop.sock_sendall(connection, part)
        if closes:
            connection.shutdown(socket.SHUT_WR)
    except TimeoutError:
        raise
    except OSError:
        return False
    return True


async def _receive(connection: socket.socket, is_whole: Callable[[bytes], bool]) -> bytes:
    """Everything up to the end of the reply, of the connection, or of our patience in octets."""
    loop = asyncio.get_running_loop()
    octets = b""
    try:
        while not is_whole(octets) and len(octets) < REPLY_OCTETS:
            chunk = await loop.sock_recv(connection, 16 * 1024)
            if not chunk:
                break
            octets += chunk
    except OSError:
        return octets  # cut short, as by a close
    return octets


class _Daemon:
    """One daemon and, if its last request failed, when it may come in its turn again (loop time)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.rests_until: float | None = None


class Daemons:
    """Daemons of one kind, asked in turn. `ping` raises `Temporary` if a daemon is not well."""

    def __init__(
        self, endpoints: Sequence[Endpoint], ping: Callable[[Endpoint], Awaitable[None]], timing: Timing
    ) -> None:
        self._daemons = [_Daemon(endpoint) for endpoint in endpoints]
        self._ping = ping
        self._timing = timing
        self._turn = -1

    async def ask(self, request: Callable[[Endpoint], Awaitable[T]]) -> T:
        """The first answer. Raises `Temporary`, naming each daemon, when none could be asked."""
        failures = []
        for daemon in self._in_turn():
            try:
                if daemon.rests_until is not None:
                    await self._ping_briefly(daemon.endpoint)
                answer = await request(daemon.endpoint)
            except Permanent:
                raise
            except Unreachable as error:
                failures.append(str(error))
                self._rest(daemon)
            except BaseException:  # a cancelled request counts too: mostly it is our deadline that the daemon missed
                self._rest(daemon)
                raise
            else:
                daemon.rests_until = None
                return answer
        raise Temporary("; ".join(failures))

    def _in_turn(self) -> list[_Daemon]:
        self._turn = (self._turn + 1) % len(self._daemons)
        turned = self._daemons[self._turn :] + self._daemons[: self._turn]
        now = asyncio.get_running_loop().time()
        return sorted(turned, key=lambda daemon: daemon.rests_until is not None and daemon.rests_until > now)

    def _rest(self, daemon: _Daemon) -> None:
        daemon.rests_until = asyncio.get_running_loop().time() + self._timing.rest

    async def _ping_briefly(self, endpoint: Endpoint) -> None:
        try:
            async with asyncio.timeout(self._timing.connect):
                await self._ping(endpoint)
        except TimeoutError:
            raise Unreachable(f"{endpoint}: no answer to a ping within {self._timing.connect:g} s") from None
        except Temporary as error:
            raise Unreachable(str(error)) from None
