"""The longest time for which the event loop of a gateway stands still while one large message is received, judged and accepted.

    python -m bench.stall [--megabytes 40] [--rounds 5]

The gateway is the real one, in a process of its own; beside its work a timer asks to be called each millisecond, and how late it is
called is how long every other session had to wait; on a busy machine the CPU time of the loop between two calls says how much of
that was ours. The message is signed relaxed/relaxed and simple/simple; text and base64 take turns. Its rule drops it: what actions
do with it afterwards is not measured.
"""

import argparse
import asyncio
import base64
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dkim

from bench.gateway import ROOT, free_port, send, wait_for

TICK_SECONDS = 0.001
RULES = "version: 1\ndomains: [rcpt.example]\nrule_sets:\n  default:\n    - {name: drop, actions: [{drop: {}}]}\n"
SERVE = ("serve", "--quiet", "--workers", "1", "--proxy-from", "127.0.0.0/8")


# Read by the interpreter of each process of the gateway before anything else.
INJECTED = "import bench.stall\nbench.stall.inject()\n"
REPORTS = "BENCH_STALL_REPORTS"  # the file that a worker reports to


class Probe:
    """The longest stall since the last report, which SIGUSR1 asks for; the first line of the reports is our process's id."""

    def __init__(self, reports: Path) -> None:
        self._reports = reports
        self._worst = (0.0, 0.0)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._report)
        self._task = loop.create_task(self._run())
        self._reports.write_text(f"{os.getpid()}\n")

    async def _run(self) -> None:
        while True:
            due, used = time.perf_counter() + TICK_SECONDS, time.thread_time()
            await asyncio.sleep(TICK_SECONDS)
            late, used = time.perf_counter() - due, time.thread_time() - used
            self._worst = (max(self._worst[0], late), max(self._worst[1], used))

    def _report(self) -> None:
        with self._reports.open("a") as file:
            file.write(json.dumps(self._worst) + "\n")
        self._worst = (0.0, 0.0)


def inject() -> None:
    """The gateway of this process starts the probe when it opens."""
    from gatepost import gateway  # noqa: PLC0415 - only in the process that serves

    opened = gateway.opened

    def probed(*parameters: Any, **more: Any) -> Any:
        probe = inject.probe = Probe(Path(os.environ[REPORTS]))  # type: ignore[attr-defined]
        probe.start()
        return opened(*parameters, **more)

    gateway.opened = probed


def message(kind: str, octets: int) -> tuple[bytes, str]:
    """A large signed message with the end of data, and the zone that verifies it."""
    sys.path.append(str(ROOT / "tests" / "verdicts"))
    from signing import PRIVATE_2048, RECORD  # noqa: PLC0415

    if kind == "base64":
        coded = base64.b64encode(bytes(range(256)) * (octets * 3 // 4 // 256))
        body = b"\r\n".join(coded[start : start + 76] for start in range(0, len(coded), 76)) + b"\r\n"
    else:
        line = b"Words and  more words, with\twhite space of every kind  and a dot ... \r\n.\r\n"
        body = line * (octets // len(line))
    raw = b"From: Ann <ann@bench.example>\r\nTo: bob@rcpt.example\r\nSubject: large\r\n\r\n" + body
    names = [b"from", b"to", b"subject"]
    for form in (b"relaxed", b"simple"):
        raw = (
            dkim.sign(raw, b"s", b"bench.example", PRIVATE_2048, canonicalize=(form, form), include_headers=names) + raw
        )
    zone = (
        "bench.example: {TXT: ['v=spf1 ip4:192.0.2.0/24 -all']}\n"
        f"s._domainkey.bench.example: {{TXT: ['{RECORD}']}}\n"
        "_dmarc.bench.example: {TXT: ['v=DMARC1; p=reject']}\n"
    )
    return (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n", zone


def measure(raw: bytes, zone: str, rounds: int) -> list[tuple[float, float]]:
    """Seconds of the longest stall of each round, on the clock and in CPU time."""
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    reports = directory / "reports"
    (directory / "sitecustomize.py").write_text(INJECTED)
    (directory / "rules.yaml").write_text(RULES)
    (directory / "zone.yaml").write_text(zone)
    port = free_port()
    more = ["--listen", f"127.0.0.1:{port}", "--dns", str(directory / "zone.yaml"), "--data", str(directory / "var")]
    process = subprocess.Popen(
        [sys.executable, "-m", "gatepost", *SERVE, *more, "--rules", str(directory / "rules.yaml")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{directory}:{ROOT}", REPORTS: str(reports)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def line(number: int) -> str:
            for _ in range(600):
                lines = reports.read_text().splitlines() if reports.exists() else []
                if len(lines) > number:
                    return lines[number]
                time.sleep(0.05)
            raise RuntimeError("the gateway does not report")

        worker = int(line(0))
        wait_for(port)
        os.kill(worker, signal.SIGUSR1)
        found = []
        for number in range(rounds):
            line(number + 1)
            asyncio.run(send(port, [raw], 1, 1, proxy=True))
            time.sleep(0.5)
            os.kill(worker, signal.SIGUSR1)
            found.append(tuple(json.loads(line(number + 2))))
        return found
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("body     longest stall in ms: median, worst   of CPU time: median, worst")
    for kind in ("text", "base64"):
        raw, zone = message(kind, options.megabytes * 950_000)
        columns = zip(*measure(raw, zone, options.rounds), strict=True)
        clock, cpu = ((statistics.median(each) * 1e3, max(each) * 1e3) for each in columns)
        print(f"{kind:8} {clock[0]:27.1f}, {clock[1]:5.1f}  {cpu[0]:19.1f}, {cpu[1]:5.1f}", flush=True)


if __name__ == "__main__":
    main()
