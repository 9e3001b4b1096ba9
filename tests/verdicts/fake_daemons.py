"""Daemons that behave as they are told, on unix sockets: what a scanner meets when things go wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from verdicts.daemon import Endpoint

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def daemon(path: Path, talk: Conversation) -> AsyncIterator[Endpoint]:
    """Each connection is one conversation; what hangs is ended with the server."""
    talks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(handle, path, limit=2**16)
    try:
        yield Endpoint(path=str(path))
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def forever() -> None:
    await asyncio.Event().wait()


async def instream(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """A clamd command, and for zINSTREAM the message behind it."""
    command = (await reader.readuntil(b"\0")).decode().strip("z\0")
    message = bytearray()
    while command == "INSTREAM" and (octets := int.from_bytes(await reader.readexactly(4), "big")):
        assert octets <= 256 * 1024
        message += await reader.readexactly(octets)
    return command, bytes(message)


async def spamc(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """A spamd method and the message behind it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    length = [int(line.partition(":")[2]) for line in head if line.startswith("Content-length:")]
    return head[0].split()[0], await reader.readexactly(length[0]) if length else b""
