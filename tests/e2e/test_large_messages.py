"""Messages of 40 MB: a few MiB of memory for one, little for many at once, and nothing left of what did not become a message."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gateway_process import GatewayProcess, Start, until
from sample_gateway import ZONE
from smtp_wire import Heard, Wire

RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - {name: all, actions: [{disk: {path: mail}}]}
"""
HEAD = b"From: a@b.example\r\nTo: x@example.com\r\nSubject: large %d\r\n\r\n"
BLOCK = (b"." + b"0123456789" * 7 + b"\r\n") * 1000  # each line begins with a dot
BLOCKS = 39_900_000 // len(BLOCK)
MIB = 2**20


@pytest.fixture
def live(gateway: Start) -> GatewayProcess:
    variables = {"GATEPOST_SMTP__CONNECTIONS_PER_IP": "100"}
    running = gateway(rules=RULES, dns=ZONE, variables=variables, options=("--quiet",))
    running.deliver(HEAD % 0 + BLOCK, rcpt_to=["x@example.com"])
    return running


def begin(live: GatewayProcess) -> Wire:
    """A session behind DATA."""
    wire = Wire(live.address, timeout=110)
    assert wire.reply().code == 220
    for line in ("EHLO c.example", "MAIL FROM:<a@b.example>", "RCPT TO:<x@example.com>", "DATA"):
        assert wire.command(line).code in (250, 354)
    return wire


def send(live: GatewayProcess, number: int, blocks: int = BLOCKS) -> Heard:
    with begin(live) as wire:
        wire.send(HEAD % number)
        for _ in range(blocks):
            wire.send(b"." + BLOCK.replace(b"\r\n.", b"\r\n.."))
        wire.send(b".\r\n")
        return wire.reply()


class Peak:
    """The most memory that the worker had while this was open, beyond what it had before; pages of files do not count."""

    def __init__(self, live: GatewayProcess) -> None:
        (self._pid,) = live.pids
        self._over = threading.Event()

    def _resident(self) -> int:
        status = Path(f"/proc/{self._pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) * 1024

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self._most = max(self._most, self._resident())

    def __enter__(self) -> Peak:
        self._before = self._most = self._resident()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()
        self.grown = self._most - self._before


def bodies(live: GatewayProcess) -> list[Path]:
    return sorted(live.data.glob("shards/*/bodies/*"))


def arriving(live: GatewayProcess) -> list[Path]:
    return [path for path in bodies(live) if path.suffix == ".tmp"]


def large(live: GatewayProcess) -> list[Path]:
    return [path for path in (live.data / "mail").iterdir() if path.stat().st_size > BLOCKS * len(BLOCK)]


@pytest.mark.parametrize(("at_once", "most_mib"), [(1, 8), (20, 60)])
def test_large_messages_take_little_memory_and_come_out_as_they_went_in(
    live: GatewayProcess, at_once: int, most_mib: int
) -> None:
    with Peak(live) as peak, ThreadPoolExecutor(at_once) as clients:
        replies = list(clients.map(lambda number: send(live, number), range(at_once)))
        assert {reply.code for reply in replies} == {250}
        live.wait_done(*(reply.text.split()[-1] for reply in replies), seconds=100)
    print(f"{at_once} of 40 MB at once: the worker grew by {peak.grown / MIB:.1f} MiB")
    assert peak.grown < most_mib * MIB
    assert arriving(live) == []
    stored = large(live)
    assert len(stored) == at_once
    for path in stored[:3]:
        digest, content = hashlib.sha256(), path.read_bytes()
        head, _, body = content.partition(b"\r\n\r\n")
        assert b"Subject: large" in head
        for _ in range(BLOCKS):
            digest.update(BLOCK)
        assert hashlib.sha256(body).digest() == digest.digest()


def test_kill_9_in_the_middle_of_a_message_leaves_no_file_after_the_next_start(live: GatewayProcess) -> None:
    before = bodies(live)
    with begin(live) as wire:
        wire.send(HEAD % 1 + BLOCK * 40)
        (path,) = until(lambda: arriving(live), "the file of the message under way")
        until(lambda: path.stat().st_size > MIB, "what was sent")
        for pid in live.pids:
            os.kill(pid, signal.SIGKILL)
        live.kill()
        assert arriving(live) == [path]
    live.start()
    assert bodies(live) == before
    assert send(live, 2, blocks=20).code == 250


@pytest.mark.parametrize("how", ["closed", "reset", "half"])
def test_a_client_that_leaves_in_the_middle_of_a_message_leaves_no_file(live: GatewayProcess, how: str) -> None:
    with begin(live) as wire:
        wire.send(HEAD % 1 + BLOCK * 40)
        until(lambda: arriving(live), "the file of the message under way")
        if how == "half":
            wire.half_close()
            until(lambda: not arriving(live), "the file is gone")
        elif how == "reset":
            wire.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER of 0: RST
    until(lambda: not arriving(live), "the file is gone")
    (pid,) = live.pids
    assert not [link for link in Path(f"/proc/{pid}/fd").iterdir() if "arriving" in str(link.readlink())]


def test_a_message_that_grows_beyond_the_limit_leaves_no_file(live: GatewayProcess) -> None:
    reply = send(live, 1, blocks=BLOCKS + 10)
    assert (reply.code, reply.text[:5]) == (552, "5.3.4")
    until(lambda: not arriving(live), "the file is gone")


@pytest.mark.parametrize("ends", [True, False])
def test_a_message_under_way_when_the_server_stops_is_taken_or_leaves_no_file(live: GatewayProcess, ends: bool) -> None:
    before = bodies(live)
    with begin(live) as wire:
        wire.send(HEAD % 1 + BLOCK.replace(b"\r\n.", b"\r\n..") * 40)
        until(lambda: arriving(live), "the file of the message under way")
        live.signal(signal.SIGTERM)
        if ends:
            wire.send(b".\r\n")
            assert wire.reply().code == 250
        else:
            wire.socket.close()
        assert live.wait() == 0
    assert len(bodies(live)) == len(before) + ends
    assert arriving(live) == []
