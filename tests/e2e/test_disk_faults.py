"""A disk that fails, goes read-only or turns slow under the running gateway: what got 250 is there, and nothing is asked twice."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from gateway_process import Start, until
from mail_load import Load, message
from sample_gateway import ZONE
from straced import Straced

RULES = "version: 1\ndomains: [example.com]\nrule_sets: {default: [{name: all, actions: [{disk: {path: mail}}]}]}\n"
RAW = b"From: a@b.example\r\nSubject: fine\r\n\r\nfine\r\n"
SLOW_SECONDS = 0.25


class Injected(Straced):
    """Under strace, which lets the system calls that `fault` names fail or wait; strace is let go with `heal`."""

    fault: str = ""

    @property
    def command(self) -> list[str]:
        if not self.fault:
            return super().command
        calls = self.fault.partition(":")[0]
        return [
            *("strace", "-f", "-qq", "-o", "/dev/null"),
            "-e",
            f"trace={calls}",
            "-e",
            f"inject={self.fault}",
            *super().command,
        ]


@pytest.fixture
def injected(gateway: Start) -> Iterator[Injected]:
    probe = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=fsync:delay_enter=1", "true"]
    if shutil.which("strace") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("nobody can inject faults here: that needs strace and the right to trace")
    made = gateway(rules=RULES, dns=ZONE, options=("--quiet",))
    made.__class__ = Injected
    made.deliver(RAW, rcpt_to=["x@example.com"])
    assert made.stop() == 0
    return made


def taken_until_it_breaks(live: Injected) -> tuple[dict[str, bytes], list[str]]:
    """Send one after the other, until a reply is no 250 or there is none."""
    taken: dict[str, bytes] = {}
    for number in range(500):
        raw = message(f"number-{number}")
        try:
            with live.connected(timeout=20) as wire:
                reply = wire.transaction("a@b.example", ["x@example.com"], raw)
        except (OSError, AssertionError) as error:
            return taken, [str(error)]
        if reply.code != 250:
            return taken, [str(reply)]
        taken[reply.text.split()[-1]] = raw
    raise AssertionError("no fault came through")


@pytest.mark.parametrize(
    "fault",
    ["fsync,fdatasync:error=EIO:when=30+", "pwrite64:error=EIO:when=120+", "pwrite64:error=EROFS:when=120+"],
    ids=["a failing fsync", "a failing write", "read-only"],
)
def test_a_disk_that_fails_ends_the_gateway_and_nothing_that_got_250_is_lost(fault: str, injected: Injected) -> None:
    injected.fault = fault
    injected.start()
    taken, ended = taken_until_it_breaks(injected)
    assert taken, "the fault came too early to show anything"
    assert ended[0].startswith("451") or "250" not in ended[0]
    # It never goes on with a disk that failed: a sync that is tried again can only hide what was lost.
    until(lambda: "is closed: the store failed" in injected.output, "it says that the store failed", seconds=30)
    injected.kill()
    injected.fault = ""
    injected.start()
    injected.wait_done(*taken, seconds=60)
    found = {row["id"] for row in injected.objects("find", "--limit", "1000", "--outcome", "accepted")}
    assert taken.keys() <= found
    for message_id, raw in taken.items():
        assert (injected.data / "mail" / message_id).read_bytes().endswith(raw)
    print(f"{fault}: {len(taken)} taken, then {ended[0]!r}; after the restart all {len(taken)} are there, and stored")


def test_a_slow_disk_is_shared_and_holds_up_no_dialogue(injected: Injected) -> None:
    """Each sync takes a quarter of a second: twenty messages at once share them, and who only talks does not wait."""
    injected.fault = f"fsync,fdatasync:delay_enter={int(SLOW_SECONDS * 1_000_000)}"
    injected.start()
    load = Load(injected.address, messages=60, connections=20, recipient="x@example.com")
    started = time.monotonic()
    load.start()
    waits = []
    while not load.is_over:
        asked = time.monotonic()
        with injected.connected(timeout=20) as wire:
            assert wire.command("MAIL FROM:<a@b.example>").code == 250
        waits.append(time.monotonic() - asked)
        threading.Event().wait(0.05)
    load.join()
    seconds = time.monotonic() - started
    assert len(load.taken) == 60
    assert load.refusals == []
    # One after the other they would have taken a sync each, at least.
    assert seconds < 60 * SLOW_SECONDS
    assert sorted(waits)[len(waits) // 2] < 2 * SLOW_SECONDS
    injected.wait_done(*load.taken, seconds=60)
    print(f"60 messages in {seconds:.1f} s at {SLOW_SECONDS} s a sync; dialogues waited {max(waits):.2f} s at most")
