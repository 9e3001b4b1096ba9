"""The whole gateway under load, beside the obvious Python one: messages a second and CPU a message.

    python -m bench.gateway [--messages 2000] [--connections 10] [--each 20] [--octets 4000] [--rounds 3] [--workers 1]

accept: one rule, disk, durable before 250. verified: the client's address comes in a PROXY line, so that SPF has something to say;
the gateway judges SPF, DKIM and DMARC in both. The servers take turns. CPU is user and system time of the server's processes
until they are quiet.
Everything is on loopback, bounded in count and ends by itself.
"""

import argparse
import asyncio
import base64
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ROOT = Path(__file__).parent.parent
DISTINCT = 100
RULES = "version: 1\ndomains: [rcpt.example]\nrule_sets:\n  default:\n    - name: keep\n      actions: [{disk: {path: mail}}]\n"


def corpus(octets: int) -> tuple[list[bytes], str]:
    """Distinct signed messages, dot-stuffed, with the end of data; and the zone that verifies them."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    zone = (
        "bench.example: {TXT: ['v=spf1 ip4:192.0.2.0/24 -all']}\n"
        f"s._domainkey.bench.example: {{TXT: ['v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}']}}\n"
        "_dmarc.bench.example: {TXT: ['v=DMARC1; p=reject']}\n"
    )
    messages = []
    for number in range(DISTINCT):
        body = b"".join(
            b"Line %06d of message %04d, long enough to look like text.\r\n" % (line, number)
            for line in range(octets // 60)
        )
        raw = (
            b"From: Ann <ann@bench.example>\r\nTo: Bob <bob@rcpt.example>\r\nSubject: message %04d\r\n" % number
            + b"Date: Tue, 17 Mar 2026 07:30:08 +0000\r\nMessage-ID: <%04d@bench.example>\r\n\r\n" % number
            + body
        )
        signature = dkim.sign(raw, b"s", b"bench.example", pem, canonicalize=(b"relaxed", b"relaxed"))
        messages.append((signature + raw).replace(b"\r\n.", b"\r\n..") + b".\r\n")
    return messages, zone


async def send(port: int, messages: list[bytes], count: int, each: int, *, proxy: bool) -> None:
    """One connection after the other, `each` messages on each, until `count` were answered 250."""
    sent = 0
    while sent < count:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if proxy:
            writer.write(b"PROXY TCP4 192.0.2.9 127.0.0.1 1234 25\r\n")
        await reader.readline()
        writer.write(b"EHLO mail.bench.example\r\n")
        while (await reader.readline())[3:4] == b"-":
            pass
        for _ in range(min(each, count - sent)):
            for line in (b"MAIL FROM:<ann@bench.example>\r\n", b"RCPT TO:<bob@rcpt.example>\r\n", b"DATA\r\n"):
                writer.write(line)
                await reader.readline()
            writer.write(messages[sent % len(messages)])
            reply = await reader.readline()
            if not reply.startswith(b"250"):
                raise RuntimeError(f"not accepted: {reply!r}")
            sent += 1
        writer.close()


def client(port: int, count: int, connections: int, each: int, proxy: bool, messages: list[bytes]) -> float:
    """Seconds for all messages."""

    async def run() -> float:
        started = time.perf_counter()
        share = count // connections
        await asyncio.gather(*(send(port, messages, share, each, proxy=proxy) for _ in range(connections)))
        return time.perf_counter() - started

    return asyncio.run(run())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """Of a server's process and those that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in (pid, *children)]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def settled(pid: int) -> float:
    """CPU seconds once the server does nothing more for a fifth of a second."""
    was = -1.0
    while (now := cpu_seconds(pid)) - was > 0.01:
        was = now
        time.sleep(0.2)
    return now


def command(server: str, mode: str, directory: Path, port: int, zone: Path, workers: int) -> list[str]:
    if server == "naive":
        return [sys.executable, str(ROOT / "bench/naive.py"), mode, str(directory), str(port), str(zone)]
    (directory / "rules.yaml").write_text(RULES)
    base = [sys.executable, "-m", "gatepost", "serve", "--quiet", "--listen", f"127.0.0.1:{port}", "--dns", str(zone)]
    more = ["--proxy-from", "127.0.0.0/8"] if mode == "verified" else []
    base += ["--workers", str(workers)]
    return [*base, "--data", str(directory / "var"), "--rules", str(directory / "rules.yaml"), *more]


def measure(
    server: str, mode: str, options: argparse.Namespace, messages: list[bytes], zone: Path
) -> tuple[float, float]:
    """Messages a second, and CPU milliseconds a message."""
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    port = free_port()
    process = subprocess.Popen(
        command(server, mode, directory, port, zone, options.workers),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        proxy = mode == "verified"
        client(port, options.connections * 20, options.connections, options.each, proxy, messages)
        before = settled(process.pid)
        seconds = client(port, options.messages, options.connections, options.each, proxy, messages)
        cpu = settled(process.pid) - before
        return options.messages / seconds, cpu / options.messages * 1e3
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(directory)


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not come up")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("messages", 2000),
        ("connections", 10),
        ("each", 20),
        ("octets", 4000),
        ("rounds", 3),
        ("workers", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    messages, zone_text = corpus(options.octets)
    with tempfile.TemporaryDirectory() as temporary:
        zone = Path(temporary) / "zone.yaml"
        zone.write_text(zone_text)
        print("mode      server    messages/s  CPU ms a message   (median of rounds)")
        for mode in ("accept", "verified"):
            found: dict[str, list[tuple[float, float]]] = {"gatepost": [], "naive": []}
            for _ in range(options.rounds):
                for server, results in found.items():
                    results.append(measure(server, mode, options, messages, zone))
            medians = {
                server: tuple(statistics.median(column) for column in zip(*results, strict=True))
                for server, results in found.items()
            }
            for server, (rate, cpu) in medians.items():
                print(f"{mode:9} {server:9} {rate:10.0f}  {cpu:16.3f}")
            ratio = [ours / theirs for ours, theirs in zip(medians["gatepost"], medians["naive"], strict=True)]
            print(f"{mode:9} ratio     {ratio[0]:10.2f}  {ratio[1]:16.2f}")


if __name__ == "__main__":
    main()
