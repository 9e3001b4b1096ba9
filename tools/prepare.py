"""Prepares `.venv`: uv by pip into `.tools`, then every pinned package by its hash, then Gatepost itself, editable.

    python3 -m tools.prepare runtime     what the program needs (requirements.lock)
    python3 -m tools.prepare dev         and what its tests and checks need (requirements-dev.lock)
    python3 -m tools.prepare fuzz        and .cache/fuzz: the fuzzer's engine (requirements-fuzz.lock)
    python3 -m tools.prepare interop     .cache/interop: others' programs that read what we wrote (requirements-interop.lock)
    python3 -m tools.prepare lock        write the lock files again
    python3 -m tools.prepare dist        build the source distribution and the wheel into dist/

Needs Python 3.11 (the Makefile looks first) and pip, nothing else: no python3-venv, no compiler, no uv. A stamp keyed on the
content of the lock files makes a second run a matter of reading three files, without network. Every failure ends in one message
that says what to do.

pip installs with --target, which an externally managed Python allows (PEP 668 §"Marking an interpreter": only the default schemes
are protected), so that nothing outside this directory changes but the caches of pip and uv.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.pip_settings import read_settings, uv_environment, uv_flags

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
STAMP = VENV / ".stamp"
LOCKS = {"runtime": ROOT / "requirements.lock", "dev": ROOT / "requirements-dev.lock"}
SCRATCH = ROOT / ".cache"
FUZZ, FUZZ_LOCK = SCRATCH / "fuzz", ROOT / "requirements-fuzz.lock"
INTEROP, INTEROP_LOCK = SCRATCH / "interop", ROOT / "requirements-interop.lock"
TOOLS_LOCK = ROOT / "requirements-tools.lock"
# Build requirements are pinned too: no code that we did not name by its hash runs here.
BUILD = ["--build-constraints", str(TOOLS_LOCK), "--require-build-hashes"]
HINT = """
  Packages come from where pip gets them here: `python3 -m pip config list` and the variables PIP_INDEX_URL, PIP_EXTRA_INDEX_URL,
  PIP_FIND_LINKS, PIP_CERT, PIP_PROXY and HTTPS_PROXY are all used. Behind a mirror: PIP_INDEX_URL=https://... make install
  Without any network, carry this directory over, to the same path, from a machine of the same kind where `make install` has run."""


class Failed(Exception):
    """Set-up cannot go on; the text is all that the user is shown."""


def main(arguments: list[str]) -> int:
    """Exit code: 0 ready, 2 usage, 3 something outside failed."""
    acts = {
        "runtime": prepare_runtime,
        "dev": prepare_dev,
        "fuzz": prepare_fuzz,
        "interop": prepare_interop,
        "lock": write_locks,
        "dist": build_distributions,
    }
    if len(arguments) != 1 or arguments[0] not in acts:
        print("usage: python3 -m tools.prepare " + "|".join(acts), file=sys.stderr)
        return 2
    try:
        SCRATCH.mkdir(exist_ok=True)
        with (SCRATCH / "prepare.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # `make serve` and `make test` may be started side by side
            acts[arguments[0]]()
    except Failed as failure:
        print(f"\nset-up failed: {failure}\n", file=sys.stderr)
        return 3
    return 0


def prepare_runtime() -> None:
    """Make `.venv` able to run the program; what `dev` has put there stays."""
    has_dev = "dev" in read_stamp().get("locks", {})
    prepare("dev" if has_dev else "runtime")


def prepare_dev() -> None:
    """Make `.venv` able to run tests and checks."""
    prepare("dev")


def prepare_fuzz() -> None:
    """The fuzzing engine in a directory beside `.venv`, which stays as the tests know it."""
    if sys.version_info >= (3, 12):
        raise Failed("the pinned atheris has wheels for Python 3.11 only: make fuzz PYTHON=python3.11")
    prepare_dev()
    stamp = FUZZ / ".stamp"
    if stamp.is_file() and stamp.read_text() == digest(FUZZ_LOCK):
        return
    say("making .cache/fuzz")
    shutil.rmtree(FUZZ, ignore_errors=True)
    install = ["--quiet", "--python", str(VENV / "bin" / "python"), "--target", str(FUZZ)]
    run_uv(["pip", "install", *install, "--require-hashes", "-r", str(FUZZ_LOCK)])
    stamp.write_text(digest(FUZZ_LOCK))


def prepare_interop() -> None:
    """Make the environment of other people's programs anew, unless it is what its lock file says."""
    stamp = INTEROP / ".stamp"
    if stamp.is_file() and stamp.read_text() == digest(INTEROP_LOCK) and works(INTEROP / "bin" / "python"):
        return
    install_tools()
    say("making .cache/interop")
    run_uv(["venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(INTEROP)])
    install = ["--quiet", "--python", str(INTEROP / "bin" / "python"), *BUILD]
    run_uv(["pip", "sync", *install, "--require-hashes", str(INTEROP_LOCK)])
    stamp.write_text(digest(INTEROP_LOCK))


def prepare(kind: str) -> None:
    """Bring `.venv` to what the lock file of `kind` says, unless the stamp says it is."""
    wanted = {
        "root": str(ROOT),  # scripts in .venv/bin name it: a moved checkout needs a new one
        "python": list(sys.version_info[:2]),
        "locks": {name: digest(LOCKS[name]) for name in (["runtime", "dev"] if kind == "dev" else ["runtime"])},
        "project": digest(ROOT / "pyproject.toml"),
    }
    have = read_stamp()
    if have == wanted and works(VENV / "bin" / "python"):
        return
    install_tools()
    if (
        have.get("root") != wanted["root"]
        or have.get("python") != wanted["python"]
        or not works(VENV / "bin" / "python")
    ):
        say("making .venv")
        run_uv(["venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(VENV)])
    STAMP.unlink(missing_ok=True)  # a half-done installation must not pass for a whole one
    say(f"installing the packages of {LOCKS[kind].name} into .venv")
    install = ["--quiet", "--python", str(VENV / "bin" / "python"), *BUILD]
    run_uv(["pip", "sync", *install, "--require-hashes", str(LOCKS[kind])])
    run_uv(["pip", "install", *install, "--no-deps", "--editable", str(ROOT)])
    STAMP.write_text(json.dumps(wanted))


def write_locks() -> None:
    """Resolve anew within the bounds of pyproject.toml, keeping pins that still fit. Locks hold hashes and no address."""
    install_tools()
    common = ["--quiet", "--generate-hashes", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    requests = {
        "requirements.lock": ["pyproject.toml"],
        "requirements-dev.lock": ["pyproject.toml", "--group", "dev", "-c", "requirements.lock"],
        "requirements-tools.lock": ["--group", "build"],
        "requirements-fuzz.lock": ["--group", "fuzz"],
        "requirements-interop.lock": ["--group", "interop"],
    }
    for name, sources in requests.items():
        say(f"locking {name}")
        run_uv(["pip", "compile", *sources, *common, "--python", sys.executable, "-o", name], for_lock=True)
        if "://" in (ROOT / name).read_text():
            raise Failed(f"{name} names an address; it must hold names, versions and hashes only")


def build_distributions() -> None:
    """sdist and wheel into dist/, by the pinned hatchling; offline once `.venv` has been made."""
    install_tools()
    run_uv(
        ["build", "--quiet", "--clear", "--python", sys.executable, *BUILD, "--out-dir", str(ROOT / "dist"), str(ROOT)]
    )
    for path in sorted((ROOT / "dist").glob("gatepost-*")):
        print(path.relative_to(ROOT))


def install_tools() -> None:
    """Have the pinned uv in `.tools`, by pip and by its hash."""
    stamp = TOOLS / ".stamp"
    if stamp.is_file() and stamp.read_text() == uv_pin() and works(TOOLS / "bin" / "uv"):
        return
    say("installing uv into .tools with pip")
    fresh = SCRATCH / "tools"
    shutil.rmtree(fresh, ignore_errors=True)
    requirement = SCRATCH / "uv.txt"
    requirement.write_text(uv_pin())
    # --target clashes with the first two when a pip.conf sets them; the others are only noise.
    switches = {
        "PIP_USER": "0",
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    command = [
        *pip(),
        "install",
        "--quiet",
        "--target",
        str(fresh),
        "--require-hashes",
        "--no-deps",
        "-r",
        str(requirement),
    ]
    done = run(command, {**os.environ, **switches})
    requirement.unlink()
    if done.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise Failed(f"pip could not install uv.\n{tail(done.stderr)}{HINT}")
    shutil.rmtree(TOOLS, ignore_errors=True)
    fresh.rename(TOOLS)
    stamp.write_text(uv_pin())


def uv_pin() -> str:
    """The lines of the tools' lock that pin uv, in pip's requirements syntax."""
    lines = TOOLS_LOCK.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("uv=="))
    end = next((number for number in range(start + 1, len(lines)) if not lines[number].startswith("    ")), len(lines))
    return "\n".join(lines[start:end]) + "\n"


def run_uv(arguments: list[str], for_lock: bool = False) -> None:
    """Run uv with pip's settings: from its cache alone first, since pinned hashes give the same packages, then over the network."""
    settings = pip_settings()
    environment = {**os.environ, **uv_environment(settings, os.environ, only_main_index=for_lock)}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    for variable in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"):
        environment.pop(variable, None)  # they would lead uv to another environment than ours
    command = [str(TOOLS / "bin" / "uv"), *arguments, *([] if arguments[0] == "venv" else uv_flags(settings))]
    if not for_lock and run([*command, "--offline"], environment).returncode == 0:
        return
    done = run(command, environment)
    if done.returncode != 0:
        raise Failed(f"`uv {' '.join(arguments[:2])}` did not succeed.\n{tail(done.stderr)}{HINT}")


def pip_settings() -> dict[str, str]:
    """pip's settings in force, by option name."""
    return read_settings(run([*pip(), "config", "list"], dict(os.environ)).stdout)


def pip() -> list[str]:
    """The command that starts pip. Raises `Failed` where there is none."""
    command = [sys.executable, "-m", "pip"]
    if run([*command, "--version"], dict(os.environ)).returncode != 0:
        raise Failed(f"{sys.executable} has no pip. On Debian: apt-get install python3-pip")
    return command


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run to the end in the checkout, with both outputs kept."""
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def works(program: Path) -> bool:
    """Whether `program` is there and starts."""
    return program.is_file() and run([str(program), "--version"], dict(os.environ)).returncode == 0


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_stamp() -> dict[str, Any]:
    """What the last complete run left, or nothing."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def tail(text: str, lines: int = 8) -> str:
    """The last lines of what a program complained of, indented; of pip's many retries only the last."""
    complaint = text.strip().splitlines()
    retries = [line for line in complaint if "Retrying (" in line]
    return "".join(f"    {line}\n" for line in [line for line in complaint if line not in retries[:-1]][-lines:])


def say(what: str) -> None:
    """Progress, on standard error: standard output belongs to what `make` runs next."""
    print(f"set-up: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
