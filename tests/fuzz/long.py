"""Fuzz for as long as wanted: `python tests/fuzz/long.py [SECONDS] [TARGET...]`, 60 s a target by default. Needs atheris.

Each target runs in a process of its own, over a copy of its corpus in .cache/fuzz-corpus that grows from run to run. What makes
one fail is left in .cache/fuzz-found: look at it, make it a file `found-…` in tests/fuzz/corpus, and fix what it shows. Exit
code: 1 if anything was found, 3 without atheris.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".cache"
FOUND = CACHE / "fuzz-found"


def run_all(seconds: int, names: list[str]) -> int:
    if importlib.util.find_spec("atheris") is None:
        print("there is no atheris here: `make fuzz PYTHON=python3.11` puts it into .cache/fuzz", file=sys.stderr)
        return 3
    from targets import TARGETS  # noqa: PLC0415 - the child instruments what it imports

    failed = []
    for name in names or TARGETS:
        corpus = CACHE / "fuzz-corpus" / name
        shutil.copytree(HERE / "corpus" / name, corpus, dirs_exist_ok=True)
        FOUND.mkdir(exist_ok=True)
        options = [
            f"-max_total_time={seconds}",
            "-max_len=4096",
            f"-artifact_prefix={FOUND / name}-",
            "-print_final_stats=1",
        ]
        done = subprocess.run(
            [sys.executable, __file__, "--one", name, *options, str(corpus)],
            capture_output=True,
            text=True,
            check=False,
        )
        runs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        print(
            f"{name}: {'found something' if done.returncode else 'nothing found'}, {runs[0] if runs else '?'} runs",
            flush=True,
        )
        if done.returncode:
            failed.append(name)
            print(done.stdout[-2000:] + done.stderr[-3000:])
    return 1 if failed else 0


def run_one(name: str, options: list[str]) -> None:
    import atheris  # noqa: PLC0415 - only here, and only where `make fuzz` put it

    with atheris.instrument_imports(include=["mail", "verdicts", "smtp", "dkim", "spf", "authres"]):
        from targets import TARGETS  # noqa: PLC0415
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        run_one(sys.argv[2], sys.argv[3:])
    else:
        given = sys.argv[1:]
        limit = int(given.pop(0)) if given and given[0].isdigit() else 60
        sys.exit(run_all(limit, given))
