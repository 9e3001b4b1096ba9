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
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dkim

from bench.gateway import ROOT, free_port, send

TICK_SECONDS = 0.001
RULES = "version: 1\ndomains: [rcpt.example]\nrule_sets:\n  default:\n    - {name: drop, actions: [{drop: {}}]}\n"
SERVE = ("serve", "--quiet", "--proxy-from", "127.0.0.0/8")


class Probe:
    """The longest stall since the last report, which SIGUSR1 asks for."""

    def __init__(self) -> None:
        self._worst = (0.0, 0.0)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._report)
        self._report()
        self._task = loop.create_task(self._run())

    async def _run(self) -> None:
        while True:
            due, used = time.perf_counter() + TICK_SECONDS, time.thread_time()
            await asyncio.sleep(TICK_SECONDS)
            late, used = time.perf_counter() - due, time.thread_time() - used
            self._worst = (max(self._worst[0], late), max(self._worst[1], used))

    def _report(self) -> None:
        print(json.dumps(self._worst), flush=True)
        self._worst = (0.0, 0.0)


def serve(arguments: list[str]) -> None:
    """The gateway's own command line, with the probe started when it is ready."""
    from gatepost import serve as serving  # noqa: PLC0415 - only in the process that serves
    from gatepost.__main__ import main  # noqa: PLC0415

    announce = serving._announce

    def announced(*parameters: object) -> None:
        announce(*parameters)
        Probe().start()

    serving._announce = announced
    sys.argv[1:] = arguments
    main()


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
    (directory / "rules.yaml").write_text(RULES)
    (directory / "zone.yaml").write_text(zone)
    port = free_port()
    more = ["--listen", f"127.0.0.1:{port}", "--dns", str(directory / "zone.yaml"), "--data", str(directory / "var")]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.stall", *SERVE, *more, "--rules", str(directory / "rules.yaml")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:

        def reported() -> tuple[float, float]:
            for line in process.stdout:
                if line.startswith("["):
                    return tuple(json.loads(line))
            raise RuntimeError("the server ended")

        reported()
        found = []
        for _ in range(rounds):
            asyncio.run(send(port, [raw], 1, 1, proxy=True))
            time.sleep(0.5)
            process.send_signal(signal.SIGUSR1)
            found.append(reported())
        return found
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(directory)


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[1:])
        return
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
