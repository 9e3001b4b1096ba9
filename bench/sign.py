"""What one DKIM signature (rsa-2048, relaxed/relaxed) costs in CPU, beside stock dkimpy called the obvious way: `dkim.sign`.

Each side runs in a process of its own, the sides take turns, and only their own CPU time counts. Both sign the same fields.

    .venv/bin/python -m bench.sign                # table of medians of five rounds
"""

# ruff: noqa: PLC0415 - each side imports its own packages in its own process

import json
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime

from bench.verdicts import ROOT, SIZES, message

ROUNDS = 5


def unsigned(octets: int) -> bytes:
    """The message of the verdicts' bench without its signature, the topmost field."""
    raw = message(octets)
    return raw[raw.index(b"\r\nReceived: ") + 2 :]


def ours(raw: bytes, count: int) -> float:
    from signing import PRIVATE_2048

    from mail.message import Message
    from outbound.sign import sign
    from outbound.signing_key import load_key

    key = load_key("acme.example", "s", PRIVATE_2048)

    def run() -> None:
        sign(Message.of(raw), (key,), now=datetime.now(UTC))

    return per_call(run, count)


def stock(raw: bytes, count: int) -> float:
    import dkim
    from signing import PRIVATE_2048

    def run() -> None:
        dkim.sign(raw, b"s", b"acme.example", PRIVATE_2048, canonicalize=(b"relaxed", b"relaxed"))

    return per_call(run, count)


def per_call(run, count: int) -> float:
    run()
    started = time.process_time()
    for _ in range(count):
        run()
    return (time.process_time() - started) / count


def measure(side: str, octets: int, count: int) -> float:
    command = [sys.executable, "-m", "bench.sign", side, str(octets), str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def table() -> None:
    print(f"{'message':>8}  {'stock ms':>9}  {'ours ms':>8}  {'ratio':>6}")
    for label, octets in SIZES.items():
        count = 10 if octets > 1_000_000 else 100
        rounds = [{side: measure(side, octets, count) for side in ("stock", "ours")} for _ in range(ROUNDS)]
        costs = {side: statistics.median(one[side] for one in rounds) * 1000 for side in ("stock", "ours")}
        print(
            f"{label:>8}  {costs['stock']:9.3f}  {costs['ours']:8.3f}  {costs['stock'] / costs['ours']:6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        table()
    else:
        side, octets, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        print(json.dumps((ours if side == "ours" else stock)(unsigned(octets), count)))
