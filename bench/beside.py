"""Gatepost beside Exim, Postfix, OpenSMTPD, Haraka, chasquid and plain Python, in interleaved runs: every row of bench/reach.py.

    sudo bench/yardstick/setup.sh                     # once: the other servers, messages, a name server (Debian 12, root)
    sudo .venv/bin/python -m bench.beside --results results.jsonl      # all rows, three rounds: about half an hour
    sudo .venv/bin/python -m bench.beside --rows verify,latency --against exim-queued --loads 4k:10:20 --rounds 5
    sudo .venv/bin/python -m bench.beside --quick     # every row once, for a moment: does all of it work?
    .venv/bin/python -m bench.beside --table results.jsonl --page docs/performance.md    # draw it again; nothing is run

What is measured, and how, stands in bench/yardstick/README.md. A load is SET:CONNECTIONS:MESSAGES_PER_CONNECTION. In each round
every server has its turn, so that what the machine does meanwhile falls on all. A figure is the median of the rounds; CPU a message
counts all processes of a server, and is the figure to compare by, since client and server share the cores.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench import growth
from bench.figures import plot, plot_name, read, report, runs_of
from bench.machine import machine
from bench.reach import ACCEPT, IDLE, LOADS, OURS, ROWS, VERIFY
from bench.turns import Turn, is_there, ours, take, told

GROUPS = ("accept", "verify", "latency", "idle", "large", "growth")
BEGIN, END = "<!-- begin: python -m bench.beside --table -->\n", "<!-- end -->\n"
_WIDE = {"smtp__connections": 100_000, "smtp__connections_per_ip": 100_000, "smtp__connections_per_network": 100_000}
_QUICK = {"seconds": 0.3, "rounds": 1, "deferred": 20_000, "loads": LOADS[0]}


def turns(asked: argparse.Namespace, directory: Path) -> Iterator[Turn]:
    """All turns of one round, in the order of the groups."""
    rules = directory / "rules.json"
    rules.write_text(growth.many_rules(1))
    loads = tuple(asked.loads.split(","))
    accept = ours(rules, options=asked.options, verdicts__checks="none")
    verify = ours(rules, options=f"{asked.options} --proxy-from 127.0.0.0/8")
    mine = {
        "accept": Turn("run", OURS, "accept", loads, accept),
        "verify": Turn("run", OURS, "verify", loads, verify, True),
    }
    for mode, peers in (("accept", ACCEPT), ("verify", VERIFY)):
        all_of = [mine[mode], *(Turn("run", peer, mode, loads) for peer in chosen(peers, asked.against))]
        if mode in asked.rows:
            yield from (each._replace(more=("--retries", "0" if asked.quick else "1")) for each in all_of)
        if "latency" in asked.rows:
            count = ("--count", "20" if asked.quick else "200")
            yield from (each._replace(what="latency", loads=(), more=count) for each in all_of)
    if "idle" in asked.rows:
        number = "200" if asked.quick else "2000"
        yield Turn("idle", OURS, "accept", (), ours(rules, options=asked.options, **_WIDE), more=("--conns", number))
        for peer in chosen(IDLE, asked.against):
            yield Turn("idle", peer, "idle" if peer == "postfix" else "accept", more=("--conns", number))
        yield Turn("idle-own", OURS, more=("--connections", number))
    if "large" in asked.rows:
        octets = ("--octets", "4000000") if asked.quick else ()
        yield Turn("large", "large-1", more=(*octets, "--at-once", "1"))
        yield Turn("large", "large-100", more=(*octets, "--at-once", "4" if asked.quick else "100"))
    if "growth" in asked.rows:
        yield from growth.turns(directory, asked.deferred)


def chosen(peers: tuple[str, ...], against: str) -> list[str]:
    """Those that are wanted and there; who is not there is named once."""
    wanted = [peer for peer in peers if not against or peer in against.split(",")]
    for peer in wanted:
        if not is_there(peer):
            print(f"{peer} is not set up: bench/yardstick/setup.sh installs it", file=sys.stderr)
    return [peer for peer in wanted if is_there(peer)]


def run(asked: argparse.Namespace, out: Path) -> int:
    """How many turns left nothing."""
    with out.open("a") as lines:
        lines.write(json.dumps({"kind": "machine", "text": machine(datetime.now(UTC))}) + "\n")
    missed = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        os.chmod(directory, 0o755)
        round_ = list(turns(asked, Path(directory)))
        began = time.monotonic()
        for number in range(asked.rounds):
            for place, turn in enumerate(round_):
                gone = time.monotonic() - began
                print(
                    f"{gone:6.0f} s  round {number + 1}/{asked.rounds}  {place + 1}/{len(round_)}  {told(turn)}",
                    file=sys.stderr,
                )
                if not take(turn, out, asked.seconds):
                    missed.append(turn)
    for turn in missed:
        print(f"no figure of {told(turn)}", file=sys.stderr)
    return len(missed)


def write(asked: argparse.Namespace, results: Path) -> None:
    """The report to the page, between its two marks, or to standard output; the plots to their directory."""
    records = read(results)
    if asked.plots is not None:
        asked.plots.mkdir(parents=True, exist_ok=True)
        for row in ROWS:
            if runs_of(row, records):
                (asked.plots / plot_name(row)).write_text(plot(row, records))
    if asked.page is None:
        print(report(records))
        return
    under = "" if asked.plots is None else os.path.relpath(asked.plots, asked.page.parent)
    before, begin, rest = asked.page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{asked.page} lacks the marks {BEGIN.strip()} and {END.strip()}")
    asked.page.write_text(f"{before}{BEGIN}\n{report(records, under)}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(GROUPS), help=f"of {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--loads", default=",".join(LOADS), help="of accept and verify")
    parser.add_argument("--against", default="", help="peers, by the yardstick's names (default: all that are set up)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="length of one run")
    parser.add_argument("--deferred", type=int, default=1_000_000, help="jobs that wait for a retry, in that row")
    parser.add_argument("--options", default="", help="more options of gatepost serve")
    parser.add_argument("--quick", action="store_true", help="one short round, with few of everything")
    parser.add_argument("--results", type=Path, help="JSON lines; kept, and added to, where the file is named")
    parser.add_argument("--table", type=Path, metavar="RESULTS", help="run nothing: tables and plots of what is there")
    parser.add_argument("--plots", type=Path, metavar="DIRECTORY", help="one SVG a row")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the tables between the marks of this page")
    asked = parser.parse_args()
    asked.rows = asked.rows.split(",")
    if unknown := set(asked.rows) - set(GROUPS):
        parser.error(f"--rows knows {', '.join(GROUPS)}, not {', '.join(sorted(unknown))}")
    if asked.table is not None:
        return write(asked, asked.table)
    if asked.quick:
        vars(asked).update(_QUICK)
        os.environ.setdefault("BENCH_QUIET_SECONDS", "0")
    with tempfile.TemporaryDirectory() as directory:
        out = asked.results or Path(directory) / "results.jsonl"
        missed = run(asked, out)
        write(asked, out)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
