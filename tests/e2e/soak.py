"""`make soak`: mixed mail at 70 % of capacity, for MINUTES (30) and WORKERS (2); memory and descriptors stay flat, nothing is lost.

First the capacity is measured with the same mix. Then mail comes at a steady pace: small, middle and large messages, some over TLS,
some to nobody, some that break off, while the rules are loaded again and commands read the state. Every few seconds resident memory
and descriptors of all processes are noted. At the end every message that got 250 must be done, stored and posted under its key.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from gateway_process import GatewayProcess, until
from mail_load import message
from sample_gateway import ZONE
from smtp_wire import Wire
from webhook_sink import Sink

RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - name: keep
      recipients: [x@example.com, postmaster@example.com, abuse@example.com]
      actions:
        - add_header: {header_name: X-Mark, header_value: seen}
        - disk: {path: mail}
        - webhook: {url: SINK, format: gatepost}
"""
# Bodies go while it runs, so that the sweeps, too, are part of it.
SETTINGS = """\
version: 1
hostname: mx.example.com
retention: {full: 60s, headers: 60s}
smtp: {connections_per_ip: 200}
rates: {unknown_recipients_per_ip: 1000000/1h}
"""
SHARE = 0.7
CLIENTS = 10
WARM_UP_SECONDS = 10.0
SAMPLE_SECONDS = 5.0
RELOAD_SECONDS = 20.0
SIZES = ((0.75, 3_000), (0.2, 50_000), (0.05, 600_000))
MOST_GROWTH, MOST_GROWTH_OCTETS = 1.10, 12 * 2**20
MOST_MORE_DESCRIPTORS = 16


@dataclass
class Traffic:
    """Clients that send at `rate` messages a second together; as fast as they can without one."""

    address: tuple[str, int]
    rate: float = 0.0
    taken: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)
    numbers: count[int] = field(default_factory=count)
    started: float = 0.0

    def run(self, seconds: float) -> float:
        """Send for so long; messages taken a second."""
        before = len(self.taken)
        self.stop.clear()
        self.numbers = count()
        self.started = time.monotonic()
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        self.stop.wait(seconds)
        self.stop.set()
        for thread in threads:
            thread.join()
        return (len(self.taken) - before) / (time.monotonic() - self.started)

    def _client(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self.stop.is_set():
            try:
                self._session(chance)
            except (OSError, AssertionError) as error:
                self._note(f"broken off: {error}")
                self.stop.wait(0.1)

    def _session(self, chance: random.Random) -> None:
        with Wire(self.address, timeout=60) as wire:
            assert wire.reply().code == 220
            assert wire.command("EHLO load.example").code == 250
            if chance.random() < 0.1:
                assert wire.command("STARTTLS").code == 220
                wire.socket = _TLS.wrap_socket(wire.socket)
                assert wire.command("EHLO load.example").code == 250
            for _ in range(chance.randint(1, 20)):
                if not self._await_turn():
                    return
                if chance.random() < 0.03:
                    wire.command("MAIL FROM:<load@b.example>")
                    return  # hangs up in the middle of a transaction
                nobody = chance.random() < 0.05
                reply = wire.transaction(
                    "load@b.example", ["nobody@example.com" if nobody else "x@example.com"], _mail(chance)
                )
                if reply.code == 250:
                    self.taken.append(reply.text.split()[-1])
                elif not (nobody and reply.code == 550):
                    self._note(str(reply))
                if reply.code != 250:
                    wire.command("RSET")

    def _await_turn(self) -> bool:
        """False when it is over."""
        if self.rate:
            due = self.started + next(self.numbers) / self.rate
            self.stop.wait(max(0.0, due - time.monotonic()))
        return not self.stop.is_set()

    def _note(self, what: str) -> None:
        with self.lock:
            self.others.append(what)


_TLS = ssl.create_default_context()
_TLS.check_hostname = False
_TLS.verify_mode = ssl.CERT_NONE


def _mail(chance: random.Random) -> bytes:
    (octets,) = chance.choices([size for _, size in SIZES], [share for share, _ in SIZES])
    return message(f"soak-{chance.randrange(10**9)}") + (b"0123456789abcdef" * 4 + b"\r\n") * (octets // 66)


@dataclass(frozen=True)
class Sample:
    seconds: float
    octets: int
    descriptors: int


class Watch(threading.Thread):
    """Notes what all processes of the gateway hold, and sometimes has the rules loaded again and the state read."""

    def __init__(self, live: GatewayProcess, sink: Sink) -> None:
        super().__init__(daemon=True)
        self._live = live
        self._sink = sink
        self.posted: Counter[str] = Counter()
        self.stored: set[str] = set()
        self.samples: list[Sample] = []
        self.over = threading.Event()

    def run(self) -> None:
        started = reloaded = time.monotonic()
        while not self.over.wait(SAMPLE_SECONDS):
            found = processes(self._live)
            sample = Sample(time.monotonic() - started, sum(map(resident, found)), sum(map(descriptors, found)))
            self.samples.append(sample)
            self.take_stock()
            print(
                f"{sample.seconds:6.0f} s  {sample.octets / 2**20:7.1f} MB  {sample.descriptors:4} descriptors",
                flush=True,
            )
            if time.monotonic() - reloaded > RELOAD_SECONDS:
                reloaded = time.monotonic()
                self._live.signal(signal.SIGHUP)
                self._live.cli("find", "--limit", "5")

    def take_stock(self) -> None:
        """How often each key was posted and what was stored, without keeping any of it."""
        for path in (self._live.data / "mail").glob("[!.]*"):
            self.stored.add(path.name)
            path.unlink()
        with self._sink.lock:
            calls = list(self._sink.calls)
            self._sink.calls.clear()
        self.posted.update(call.headers["webhook-id"] for call in calls)


def processes(live: GatewayProcess) -> list[int]:
    found = [live.running.pid]
    for process in found:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def states(live: GatewayProcess) -> dict[str, str | None]:
    """The state of every message, over all shards."""
    found: dict[str, str | None] = {}
    for path in live.data.glob("shards/*/spool.db"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            found |= dict(connection.execute("SELECT id, state FROM history WHERE outcome = 'accepted'"))
    return found


def check(live: GatewayProcess, traffic: Traffic, watch: Watch) -> None:
    """Raises AssertionError."""
    samples, taken = watch.samples, set(traffic.taken)
    until(
        lambda: all(state == "done" for state in states(live).values()), "every message is done", seconds=120, every=1
    )
    found = states(live)
    watch.take_stock()
    assert taken <= found.keys(), f"{len(taken - found.keys())} messages that got 250 are lost"
    assert found.keys() <= watch.stored, f"{len(found.keys() - watch.stored)} messages are done, and not stored"
    posted = watch.posted
    assert posted.keys() == {f"{message_id}/0/keep/2" for message_id in found}, "each is posted under its key"
    repeated = sum(posted.values()) - len(posted)
    unanswered = len(found) - len(taken)
    print(
        f"{len(taken)} messages got 250, {unanswered} more were kept, all done, stored and posted; {repeated} posts repeated"
    )
    early, late = samples[len(samples) // 4 : len(samples) // 2] or samples[:1], samples[-max(1, len(samples) // 4) :]
    before, after = (statistics.mean(each.octets for each in part) for part in (early, late))
    print(f"resident: {before / 2**20:.1f} MB early, {after / 2**20:.1f} MB late")
    assert after <= before * MOST_GROWTH + MOST_GROWTH_OCTETS, "memory grows"
    opened = [statistics.median(each.descriptors for each in part) for part in (early, late)]
    print(f"descriptors: {opened[0]:g} early, {opened[1]:g} late")
    assert opened[1] <= opened[0] + MOST_MORE_DESCRIPTORS, "descriptors grow"
    assert not traffic.others, f"{len(traffic.others)} clients were not served: {traffic.others[:5]}"


def main() -> None:
    minutes = float(os.environ.get("MINUTES", "30"))
    with tempfile.TemporaryDirectory() as directory:
        where, sink = Path(directory), Sink()
        (where / "rules.yaml").write_text(RULES.replace("SINK", sink.url))
        (where / "settings.yaml").write_text(SETTINGS)
        live = GatewayProcess(
            directory=where,
            rules=where / "rules.yaml",
            config=where / "settings.yaml",
            dns=ZONE,
            workers=int(os.environ.get("WORKERS", "2")),
            options=("--quiet",),
        )
        try:
            traffic = Traffic(live.start().address)
            capacity = traffic.run(WARM_UP_SECONDS)
            traffic.rate = capacity * SHARE
            print(f"capacity {capacity:.0f} messages/s; {minutes:g} minutes at {traffic.rate:.0f}/s", flush=True)
            watch = Watch(live, sink)
            watch.start()
            reached = traffic.run(minutes * 60)
            watch.over.set()
            watch.join()
            print(f"reached {reached:.0f} messages/s")
            check(live, traffic, watch)
            assert live.stop() == 0
        except BaseException:
            sys.stderr.write(live.output[-3000:])
            raise
        finally:
            live.kill()
            sink.close()
    print("soak: passed")


if __name__ == "__main__":
    main()
