"""One turn of one server: the yardstick started with it, for some loads, its lines added to the results.

A server that does not come up costs its own turn and no other's.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from bench.reach import OURS

ROOT = Path(__file__).parent.parent
YARDSTICK = Path(__file__).parent / "yardstick" / "bench.py"
_HOME = Path(os.environ.get("BENCH_HOME") or Path.home() / ".cache" / "mailbench")
_PEERS = Path(os.environ.get("BENCH_PEERS") or _HOME / "peers")
_FIRST_PORT, _PORTS = 20_250, 9_000  # of the servers: below those that the system deals out
_OWN = {  # what a benchmark of ours prints, and what we call it
    "large": ((re.compile(r"grew by ([0-9.]+) MiB at most"), None),),
    "idle-own": (
        (re.compile(r"([0-9]+) octets each over the empty server"), "idle-own"),
        (re.compile(r"([0-9]+) of [0-9]+ served"), "idle-unserved"),
    ),
}


class Turn(NamedTuple):
    """`what` is the yardstick's word, or the name of a benchmark of ours. `command` starts one of our own servers."""

    what: str
    peer: str
    mode: str = ""
    loads: tuple[str, ...] = ()
    command: str = ""
    proxy: bool = False
    more: tuple[str, ...] = ()


def is_there(peer: str) -> bool:
    """Whether setup.sh has installed it."""
    if peer.startswith("postfix"):
        return shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is not None
    places = {"exim": "exim4-daemon-heavy", "exim-queued": "exim4-daemon-heavy", "aiosmtpd": "py/bin/python"}
    return (_PEERS / places.get(peer, peer)).exists()


def ours(rules: Path, *, options: str = "", data: str = "{dir}/var", **settings: object) -> str:
    """How the yardstick starts us; the settings are those of gatepost.yaml, `__` for the dot."""
    named = " ".join(f"GATEPOST_{name.upper()}={value}" for name, value in settings.items())
    command = f"env PYTHONPATH={ROOT} {named} {sys.executable} -m gatepost serve --quiet --listen 127.0.0.1:{{port}}"
    return " ".join(f"{command} --data {data} --rules {rules} {options}".split())


def take(turn: Turn, out: Path, seconds: float) -> bool:
    """Run it; whether it left what it should."""
    before = out.stat().st_size if out.exists() else 0
    if turn.what in _OWN:
        _take_own(turn, out)
    else:
        _take_yardstick(turn, out, seconds)
    return out.exists() and out.stat().st_size > before


def _take_yardstick(turn: Turn, out: Path, seconds: float) -> None:
    command = [sys.executable, str(YARDSTICK), turn.what, "--peers", turn.peer, "--modes", turn.mode, "--runs", "1"]
    command += ["--loads", ",".join(turn.loads or ("4k:1:1",)), "--seconds", str(seconds), "--out", str(out)]
    if turn.command:
        command += ["--add", f"{turn.peer}={turn.mode}{'+proxy' if turn.proxy else ''}:{turn.command}"]
    environment = {**os.environ, "BENCH_PORT": str(_FIRST_PORT + os.getpid() * 3 % _PORTS)}
    subprocess.run([*command, *turn.more], check=False, stdout=subprocess.DEVNULL, env=environment)


def _take_own(turn: Turn, out: Path) -> None:
    command = [sys.executable, "-m", f"bench.{turn.what.removesuffix('-own')}", *turn.more]
    done = subprocess.run(command, check=False, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with out.open("a") as lines:
        for peer, value in own_figures(turn, done.stdout):
            lines.write(json.dumps({"kind": "own", "mode": "own", "peer": peer, "value": value}) + "\n")


def own_figures(turn: Turn, printed: str) -> list[tuple[str, float]]:
    """What stands in the last words of a benchmark of ours."""
    found = []
    for pattern, peer in _OWN[turn.what]:
        match = pattern.search(printed)
        if match is None:
            return []
        value = float(match[1])
        if peer == "idle-unserved":
            served, of = match[0].split(" of ")
            value = float(of.removesuffix(" served")) - float(served)
        found.append((peer or turn.peer, value))
    return found


def told(turn: Turn) -> str:
    """For the line that says how far we are."""
    return " ".join(part for part in (turn.what, turn.mode, turn.peer if turn.peer != OURS else "gatepost") if part)
