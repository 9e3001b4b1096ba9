"""CPU per message of the SMTP edge alone, beside the stock aiosmtpd class: both with a session that keeps nothing.

    PYTHONPATH=. python bench/smtp_edge.py [--messages 4000] [--octets 4096] [--per-connection 20] [--connections 10] [--pipelined]

The servers run in turn, each in its own process; the client runs in this one. Prints CPU milliseconds a message (user and system,
from the scheduler's own count) and messages a second, the median of the rounds.
"""

import argparse
import asyncio
import logging
import multiprocessing
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import uvloop
from aiosmtpd.smtp import SMTP

from mail.reply import OK, RECIPIENT_OK, SENDER_OK
from smtp.config import SmtpConfig
from smtp.listener import listen

VARIANTS = ("gatepost uvloop", "gatepost asyncio", "stock uvloop", "stock asyncio")


def serve(variant: str, channel: Connection) -> None:
    kind, loop = variant.split()
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(kind, channel))


async def _serve(kind: str, channel: Connection) -> None:
    server, port = await (_ours() if kind == "gatepost" else _stock())
    loop = asyncio.get_running_loop()
    channel.send(port)
    await loop.run_in_executor(None, channel.recv)  # the client is done
    del server


def answering(reply: Any) -> Callable[..., Awaitable[Any]]:
    async def answer(*_arguments: object, **_parameters: object) -> Any:
        return reply

    return answer


class NullSession:
    """Takes everything and keeps nothing."""

    greet = hello = arrived = reset = refused = close = answering(None)
    mail, rcpt, data = answering(SENDER_OK), answering(RECIPIENT_OK), answering(OK)


class NullHandler:
    """The same for the stock class."""

    handle_DATA = answering("250 OK")  # noqa: N815 - the name that it looks for


async def _ours() -> tuple[object, int]:
    listener = await listen(("127.0.0.1", 0), NullSession, SmtpConfig(hostname="mx.bench.test"))
    return listener, int(listener.addresses[0].rpartition(":")[2])


async def _stock() -> tuple[object, int]:
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    loop = asyncio.get_running_loop()
    handler = NullHandler()
    server = await loop.create_server(lambda: SMTP(handler, hostname="mx.bench.test", loop=loop), "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


class Client(asyncio.Protocol):
    """Sends its share of messages, one connection after the other; counts reply lines and nothing else."""

    def __init__(self, body: bytes, messages: int, pipelined: bool, done: asyncio.Future) -> None:
        envelope = (b"MAIL FROM:<sender@client.example>\r\n", b"RCPT TO:<someone@rcpt.example>\r\n", b"DATA\r\n")
        steps = [(b"EHLO client.example\r\n", 1)]
        for _ in range(messages):
            steps += [(b"".join(envelope), 3)] if pipelined else [(line, 1) for line in envelope]
            steps.append((body, 1))
        self._steps = iter([*steps, (b"QUIT\r\n", 1)])
        self._owed = 1
        self._done = done

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        for line in data.splitlines():
            if line[3:4] == b" ":
                assert line[:1] in b"23", line
                self._owed -= 1
        if not self._owed:
            octets, self._owed = next(self._steps, (b"", 1))
            if octets:
                self._transport.write(octets)

    def connection_lost(self, _error: Exception | None) -> None:
        self._done.set_result(None)


async def drive(port: int, options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    line = b"x" * 71 + b"\r\n"
    body = b"Subject: bench\r\n\r\n" + line * (options.octets // len(line)) + b".\r\n"
    left = options.messages

    async def one_after_the_other() -> None:
        nonlocal left
        while left > 0:
            share = min(left, options.per_connection)
            left -= share
            done = loop.create_future()
            await loop.create_connection(partial(Client, body, share, options.pipelined, done), "127.0.0.1", port)
            await done

    await asyncio.gather(*(one_after_the_other() for _ in range(options.connections)))


def measure(variant: str, options: argparse.Namespace) -> tuple[float, float]:
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=serve, args=(variant, there))
    process.start()
    port = here.recv()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        warm = argparse.Namespace(**{**vars(options), "messages": 200})
        runner.run(drive(port, warm))
        started, used = time.perf_counter(), _cpu_of(process.pid)
        runner.run(drive(port, options))
        elapsed, used = time.perf_counter() - started, _cpu_of(process.pid) - used
    here.send("done")
    process.join()
    return used / options.messages * 1000, options.messages / elapsed


def _cpu_of(pid: int | None) -> float:
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--per-connection", type=int, default=20)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pipelined", action="store_true")
    options = parser.parse_args()
    print(
        f"{options.octets} octets, {options.per_connection} per connection{', pipelined' if options.pipelined else ''}"
    )
    found = {variant: [] for variant in VARIANTS}
    for _ in range(options.rounds):
        for variant in VARIANTS:
            found[variant].append(measure(variant, options))
    for variant, figures in found.items():
        cpu, rate = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{variant:18} {cpu:7.3f} ms CPU a message {rate:8.0f} messages/s")


if __name__ == "__main__":
    main()
