"""What large messages cost in memory: the whole gateway's resident octets while some are received, judged and stored at once.

    python -m bench.large [--octets 39000000] [--at-once 1 20 100]

The gateway runs with one worker, started anew for each number of messages at once. Memory is that of all its processes that no file
stands behind, looked at all the while, from before the first large message until its action has stored it.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
RULES = "version: 1\ndomains: [rcpt.example]\nrule_sets:\n  default:\n    - name: keep\n      actions: [{disk: {path: mail}}]\n"
HEAD = b"From: a@bench.example\r\nTo: b@rcpt.example\r\nSubject: large\r\n\r\n"


def resident(pid: int) -> int:
    """Of the process and all below it."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += sum(resident(int(child)) for child in (task / "children").read_text().split())
    status = Path(f"/proc/{pid}/status").read_text()
    return total + next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))


async def send(port: int, octets: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    for line in (b"EHLO c.example", b"MAIL FROM:<a@bench.example>", b"RCPT TO:<b@rcpt.example>", b"DATA"):
        writer.write(line + b"\r\n")
        while (await reader.readline())[3:4] == b"-":
            pass
    piece = (b"0123456789" * 7 + b"\r\n") * 900
    writer.write(HEAD)
    for _ in range(octets // len(piece)):
        writer.write(piece)
        await writer.drain()
    writer.write(b".\r\n")
    reply = await reader.readline()
    if not reply.startswith(b"250"):
        raise RuntimeError(f"not accepted: {reply!r}")
    writer.close()


async def drive(port: int, octets: int, at_once: int) -> None:
    await asyncio.gather(*(send(port, octets) for _ in range(at_once)))


def measure(port: int, pid: int, mail: Path, octets: int, at_once: int) -> None:
    asyncio.run(send(port, 10_000))
    time.sleep(1)
    before, highest, over = resident(pid), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            highest[0] = max(highest[0], resident(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    asyncio.run(drive(port, octets, at_once))
    elapsed = time.monotonic() - started
    while sum(each.stat().st_size > octets // 2 for each in mail.iterdir()) < at_once:
        time.sleep(0.05)
    stored = time.monotonic() - started
    time.sleep(1)
    over.set()
    watcher.join()
    grown, left = highest[0] - before, resident(pid) - before
    said = f"{at_once} of {octets / 1e6:g} MB at once, taken in {elapsed:.1f} s, stored after {stored:.1f} s"
    print(f"{said}: grew by {grown / 2**20:.1f} MiB at most, {left / 2**20:.1f} MiB a second later", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--octets", type=int, default=39_000_000)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 20, 100])
    options = parser.parse_args()
    for at_once in options.at_once:
        run(options.octets, at_once)


def run(octets: int, at_once: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / "rules.yaml").write_text(RULES)
        (directory / "none.yaml").write_text("{}\n")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "GATEPOST_SMTP__CONNECTIONS_PER_IP": "1000"}
        environment["GATEPOST_WORKERS"] = "1"
        command = [sys.executable, "-m", "gatepost", "serve", "--listen", "127.0.0.1:0", "--data", f"{directory}/var"]
        command += ["--rules", f"{directory}/rules.yaml", "--dns", f"{directory}/none.yaml", "--quiet"]
        command += ["--ready-file", f"{directory}/ready"]
        with subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL) as process:
            try:
                ready = directory / "ready"
                while not ready.exists() and process.poll() is None:
                    time.sleep(0.05)
                port = int(ready.read_text().split('"smtp": ["')[1].split('"')[0].rpartition(":")[2])
                measure(port, process.pid, directory / "var" / "mail", octets, at_once)
            finally:
                process.terminate()


if __name__ == "__main__":
    main()
