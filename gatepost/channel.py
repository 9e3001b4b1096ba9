"""The pipe between the parent and a worker: requests and their answers, both ways, one JSON object a line.

A request is `{"ask": 7, "request": {...}}`, its answer `{"answer": 7, "ok": ...}`, or with `error` and `kind` as on the control
socket.

*Trust.* Both ends are this program; nobody else has the sockets.
*Failure.* `Gone` for what was asked when the other end ended: whether it was done is not known.
"""

import asyncio
import contextlib
import itertools
import json
import socket
from typing import Any

from mail.errors import Temporary
from spool.control import LINE_OCTETS, Handler, answer_to, unpacked

_LINE_OCTETS = 4 * LINE_OCTETS  # an answer that is made of several, in its envelope


class Gone(Temporary):
    """The other end has ended."""


class Channel:
    """`open_channel` makes it; `ended` is done when the other end is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
        self._reader, self._writer, self._handler = reader, writer, handler
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self.ended = asyncio.create_task(self._read())

    async def ask(self, request: dict[str, Any], *, timeout_seconds: float | None = None) -> Any:
        """What the other end's handler returns. Raises what it raised, `Gone`, or `Temporary` when the time is up."""
        if self.ended.done():
            raise Gone("the other process has ended")
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._send({"ask": number, "request": request})
            async with asyncio.timeout(timeout_seconds):
                return unpacked(await answer)
        except TimeoutError:
            raise Temporary("the other process did not answer in time") from None
        finally:
            del self._asked[number]

    async def flush(self) -> None:
        """Wait until what was answered has left."""
        if self._answering:
            await asyncio.wait(self._answering)
        with contextlib.suppress(OSError):
            await self._writer.drain()

    async def close(self) -> None:
        """End it; the other end hears that."""
        self._writer.close()
        await self.ended
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _send(self, line: dict[str, Any]) -> None:
        self._writer.write(json.dumps(line).encode() + b"\n")

    async def _read(self) -> None:
        with contextlib.suppress(OSError):
            while (line := await self._reader.readline()).endswith(b"\n"):
                self._take(json.loads(line))
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(Gone("the other process has ended"))
        self._writer.close()

    def _take(self, line: dict[str, Any]) -> None:
        if "ask" in line:
            task = asyncio.create_task(self._answer(line["ask"], line["request"]))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif (waiting := self._asked.get(line["answer"])) is not None and not waiting.done():
            waiting.set_result(line)

    async def _answer(self, number: int, request: dict[str, Any]) -> None:
        self._send({"answer": number, **await answer_to(request, self._handler)})


async def open_channel(connected: socket.socket, handler: Handler) -> Channel:
    """The channel on our end of a socket pair, which it takes over."""
    reader, writer = await asyncio.open_unix_connection(sock=connected, limit=_LINE_OCTETS)
    return Channel(reader, writer, handler)
