"""What an idle connection costs in memory: the whole gateway's resident octets with and without many clients that have said EHLO.

    python -m bench.idle [--connections 2000] [--batches 4]

The connections are opened in equal batches and the cost is that of all but the first, so that what is loaded once is not counted
twice over; the first batch is said too. Kernel memory (socket buffers) is not in it. In the end every connection is served a NOOP.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
RULES = "version: 1\ndomains: [rcpt.example]\nrule_sets:\n  default:\n    - name: keep\n      actions: [{disk: {path: mail}}]\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def resident(pid: int) -> int:
    """Anonymous octets in memory: files that are mapped are not the connections' doing."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


async def opened(port: int, number: int) -> Connection:
    """Connected and greeted, from an address of its own."""
    source = (f"127.{1 + number // 60_000}.{number // 200 % 250 + 1}.{number % 200 + 1}", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
    await reader.readline()
    await said(reader, writer, b"EHLO idle.example\r\n")
    return reader, writer


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bytes:
    writer.write(line)
    while (answer := await reader.readline())[3:4] == b"-":
        pass
    return answer


async def measure(port: int, pid: int, options: argparse.Namespace) -> None:
    for number in range(20):  # what is made at the first connection
        _, writer = await opened(port, number)
        writer.close()
    await asyncio.sleep(2)
    held: list[Connection] = []
    empty = before = resident(pid)
    each = options.connections // options.batches
    for batch in range(options.batches):
        held += [await opened(port, batch * each + number) for number in range(each)]
        await asyncio.sleep(1.5)
        now = resident(pid)
        print(f"{len(held):6} connections  {(now - before) / each:7.0f} octets each in this batch")
        before = now
    answers = [await said(*connection, b"NOOP\r\n") for connection in held]
    served = sum(answer.startswith(b"250") for answer in answers)
    print(
        f"{(resident(pid) - empty) / len(held):.0f} octets each over the empty server; {served} of {len(held)} served"
    )
    for _, writer in held:
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--batches", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / "rules.yaml").write_text(RULES)
        (directory / "none.yaml").write_text("{}\n")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "GATEPOST_SMTP__CONNECTIONS": "100000"}
        environment["GATEPOST_SMTP__CONNECTIONS_PER_NETWORK"] = "100000"
        command = [sys.executable, "-m", "gatepost", "serve", "--listen", "127.0.0.1:0", "--data", f"{directory}/var"]
        command += ["--rules", f"{directory}/rules.yaml", "--dns", f"{directory}/none.yaml", "--quiet"]
        command += ["--ready-file", f"{directory}/ready", "--workers", "1"]
        with subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL) as process:
            try:
                ready = directory / "ready"
                while not ready.exists() and process.poll() is None:
                    time.sleep(0.05)
                port = int(ready.read_text().split('"smtp": ["')[1].split('"')[0].rpartition(":")[2])
                asyncio.run(measure(port, json.loads(ready.read_text())["workers"][0], options))
            finally:
                process.terminate()


if __name__ == "__main__":
    main()
