"""Gatepost beside Postfix, Exim, OpenSMTPD, Haraka and plain Python, in the same interleaved runs, with a plot for each row.

    sudo bench/yardstick/setup.sh                     # once: the other servers, messages, a name server (Debian 12, root)
    sudo .venv/bin/python -m bench.beside             # all rows, three runs each: about half an hour
    sudo .venv/bin/python -m bench.beside --only verify --loads 4k:10:20 --runs 5 --plots docs/plots

What is measured, and how, stands in bench/yardstick/README.md. A load is SET:CONNECTIONS:MESSAGES_PER_CONNECTION. The figures are
medians; CPU a message counts all processes of a server, and is the figure to compare by, since client and server share the cores.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.bars import Bar, bars

ROOT = Path(__file__).parent.parent
YARDSTICK = Path(__file__).parent / "yardstick" / "bench.py"
RULES = "version: 1\ndomains: [rcpt.test]\nrule_sets:\n  default:\n    - name: keep\n      actions: [{disk: {path: mail}}]\n"
LOADS = "4k:10:20,4k:10:1,50k:10:20,mix:10:20"
OURS = "gatepost"
PEERS = {
    "accept": "exim,postfix-hold,postfix,opensmtpd,haraka,aiosmtpd",
    "verify": "exim-queued,postfix,haraka,aiosmtpd",
}
WHO = {
    "exim": "Exim, queue only",
    "exim-queued": "Exim, queued",
    "postfix-hold": "Postfix, held",
    "opensmtpd": "OpenSMTPD (never syncs)",
    "haraka": "Haraka",
    "aiosmtpd": "plain Python",
    OURS: "Gatepost",
}
Row = dict[str, Any]


def started(mode: str, rules: Path, options: str) -> str:
    """What the yardstick is told: how to start us, and whether the client's address comes in a PROXY line."""
    command = f"env PYTHONPATH={ROOT} {sys.executable} -m gatepost serve --quiet --listen 127.0.0.1:{{port}}"
    command += f" --data {{dir}}/var --rules {rules} {options}"
    return f"{OURS}=verify+proxy:{command} --proxy-from 127.0.0.0/8" if mode == "verify" else f"{OURS}=accept:{command}"


def run(what: str, mode: str, asked: argparse.Namespace, rules: Path, out: Path) -> None:
    peers = f"{OURS},{asked.against or PEERS[mode]}"
    command = [sys.executable, str(YARDSTICK), what, "--peers", peers, "--modes", mode, "--runs", str(asked.runs)]
    command += ["--loads", asked.loads, "--seconds", str(asked.seconds), "--out", str(out)]
    added = ["--add", started(mode, rules, asked.options)]
    subprocess.run([*command, *added], check=True, stdout=subprocess.DEVNULL)


def rows_of(out: Path) -> list[Row]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def median(rows: list[Row], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def named(peer: str, mode: str) -> str:
    return "Postfix with rspamd" if (peer, mode) == ("postfix", "verify") else WHO.get(peer, peer.capitalize())


def table(rows: list[Row], mode: str, load: str, plots: Path | None) -> None:
    """One row of the comparison: a line for each server, cheapest first, and its plot."""
    of = [row for row in rows if row["kind"] == "run" and row["mode"] == mode and row["load"] == load]
    peers = {peer: [row for row in of if row["peer"] == peer] for peer in dict.fromkeys(row["peer"] for row in of)}
    print(
        f"\n### {mode}, {load}\n\n| server | messages a second (least to most) | CPU ms a message | p50 ms | p99 ms |"
    )
    print("| --- | --- | --- | --- | --- |")
    costs, rates = [], []
    for peer, runs in sorted(peers.items(), key=lambda each: median(each[1], "cpu_ms")):
        name, rate, cost = named(peer, mode), median(runs, "msg_per_s"), median(runs, "cpu_ms")
        least, most = (pick(row["msg_per_s"] for row in runs) for pick in (min, max))
        spread = f"{rate:,.0f} ({least:,.0f} to {most:,.0f})"
        print(f"| {name} | {spread} | {cost:.2f} | {median(runs, 'p50_ms'):.1f} | {median(runs, 'p99_ms'):.1f} |")
        costs.append(Bar(name, cost, f"{cost:.2f}", is_ours=peer == OURS))
        rates.append(Bar(name, rate, f"{rate:,.0f}", is_ours=peer == OURS))
    if plots is not None and costs:
        plots.mkdir(parents=True, exist_ok=True)
        drawn = bars(f"{mode}, {load}", (("CPU ms a message", costs), ("messages a second", rates)))
        (plots / f"{mode}-{load.replace(':', '-')}.svg").write_text(drawn)


def latencies(rows: list[Row], mode: str) -> None:
    of = [row for row in rows if row["kind"] == "latency" and row["mode"] == mode]
    if not of:
        return
    print(
        f"\n### {mode}: one message at a time, from connect to the final 250\n\n| server | p50 ms | p99 ms |\n| --- | --- | --- |"
    )
    for peer in sorted(
        {row["peer"] for row in of}, key=lambda each: median([r for r in of if r["peer"] == each], "p50_ms")
    ):
        runs = [row for row in of if row["peer"] == peer]
        print(f"| {named(peer, mode)} | {median(runs, 'p50_ms'):.2f} | {median(runs, 'p99_ms'):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("accept", "verify"), help="one of the two modes")
    parser.add_argument("--loads", default=LOADS)
    parser.add_argument("--against", default="", help="peers, by the yardstick's names")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="length of one run")
    parser.add_argument("--plots", type=Path, help="directory for one SVG a row")
    parser.add_argument("--results", type=Path, help="keep the raw figures here, and add to what is there")
    parser.add_argument("--options", default="", help="more options of gatepost serve")
    parser.add_argument("--no-latency", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        rules = Path(directory) / "rules.yaml"
        rules.write_text(RULES)
        out = asked.results or Path(directory) / "results.jsonl"
        for mode in [asked.only] if asked.only else list(PEERS):
            run("run", mode, asked, rules, out)
            if not asked.no_latency:
                run("latency", mode, asked, rules, out)
            for load in asked.loads.split(","):
                table(rows_of(out), mode, load, asked.plots)
            latencies(rows_of(out), mode)


if __name__ == "__main__":
    main()
