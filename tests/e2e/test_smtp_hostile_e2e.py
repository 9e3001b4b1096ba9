"""A hostile client on a real socket, the server in a process of its own: memory stays flat, and others are served."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

SERVER = """
import asyncio
from smtp.listener import listen
from tests.smtp.recording import CONFIG, Recording
class Forgetful(Recording):
    async def arrived(self, octets):
        pass  # what is measured is the server
async def main():
    listener = await listen(("127.0.0.1", 0), Forgetful, CONFIG)
    print(listener.addresses[0].rpartition(":")[2], flush=True)
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
"""
MIB = 2**20
OPENING = b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\n"


@pytest.fixture
def server() -> Iterator[tuple[int, int]]:
    """Its port and process id."""
    environment = {**os.environ, "PYTHONPATH": "."}
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
        process.kill()


def peak_of(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


@pytest.mark.parametrize("opening", [b"", OPENING], ids=["as a command", "as content"])
async def test_400_mb_without_a_line_end_are_not_held(server: tuple[int, int], opening: bytes) -> None:
    port, pid = server
    before = peak_of(pid)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(opening)
    piece = b"x" * MIB
    with contextlib.suppress(ConnectionError):
        for _ in range(400):
            writer.write(piece)
            await writer.drain()
    heard = await reader.read()
    writer.close()
    assert (b"552 5.3.4" if opening else b"500 5.5.2") in heard
    assert peak_of(pid) - before < 64 * MIB  # the limit of a message is 40 MiB, of a command line 2 KiB
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await reader.readline()).startswith(b"220")
    writer.close()


async def test_2000_recipients_are_bounded(server: tuple[int, int]) -> None:
    port, _ = server
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    recipients = b"".join(b"RCPT TO:<x%d@y.test>\r\n" % number for number in range(2000))
    writer.write(b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n" + recipients + b"QUIT\r\n")
    heard = await reader.read()
    writer.close()
    assert heard.count(b"250 2.1.5 Ok") == 1000
    assert heard.count(b"452 4.5.3 Too many recipients") == 1000
    assert heard.endswith(b"221 2.0.0 Bye\r\n")
