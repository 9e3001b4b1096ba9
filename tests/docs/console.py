"""Runs the ```console blocks of a page in a copy of the samples, with a real server, and compares what is printed.

In a block `$ command` is followed by its output. In the output `...` stands for anything in a line, and a line that is only `...`
for any lines. Times, dates, message ids, session ids and digests need no `...`: they count as equal. An id that a page shows is
remembered, so that a later command on the page may use it, or its first characters.

`make serve` and `gatepost serve` go on in the background, on a port that the system chooses; wherever the page says 127.0.0.1:2525,
that port is meant, and /home/you/gatepost is the directory of it all. `aws` is played by samples/ses/rules.json, and `swaks` by a
few lines of smtplib where it is not installed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PORT = "127.0.0.1:2525"
CHECKOUT = "/home/you/gatepost"  # what a page calls the directory in which it is tried
_FENCE = re.compile(r"^```(.*)$")
_ID = re.compile(r"\b[0-9a-v]{38}[0-9a-v]1\b")
# What differs from run to run, and what it is compared as.
_VOLATILE = (
    (_ID, "<id>"),
    (re.compile(r"\b[0-9a-f]{16}(\.\d+)?\b"), "<session>"),
    (re.compile(r"\b20\d\d-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)?"), "<moment>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<time>"),
    (re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d? \w{3} \d{4}\b"), "<date>"),
    (re.compile(r"@[0-9a-f]{4}\b"), "@<digest>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<digest>"),
    (
        re.compile(r"^( *)\d+(?= +(ready|leased|dead|parked) )"),
        r"\1<job>",
    ),  # it depends on the worker that took the mail
)
_READING = ("find", "show", "explain", "queue list", "queue show")
_SWAKS = """\
import argparse, smtplib, sys
options = argparse.ArgumentParser()
for name in ("--server", "--from", "--to", "--data", "--helo"):
    options.add_argument(name)
options.add_argument("--silent", action="store_true")
said = options.parse_args()
host, port = said.server.rsplit(":", 1)
with smtplib.SMTP(host, int(port), said.helo) as client, open(said.data.removeprefix("@"), "rb") as file:
    try:
        client.sendmail(getattr(said, "from"), said.to.split(","), file.read())
    except smtplib.SMTPRecipientsRefused as refused:
        for code, text in refused.recipients.values():
            print(f"<** {code} {text.decode()}")
        sys.exit(24)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: what stands behind the fence, its text, and where."""

    info: str
    text: str
    path: Path
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a console block with the output that the page shows."""

    command: str
    expected: tuple[str, ...]
    place: str


def blocks(path: Path, info: str | None = None) -> list[Block]:
    """The fenced blocks of a page, or those whose fence begins with `info`."""
    found, inside, start = [], None, 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is None:
            if inside is not None:
                inside[1].append(line)
        elif inside is None:
            inside, start = (fence.group(1).strip(), []), number
        else:
            text = "\n".join(inside[1]) + "\n"
            found.append(Block(info=inside[0], text=text, path=path, line=start))
            inside = None
    assert inside is None, f"{path.name}:{start}: the block is not closed"
    return [block for block in found if info is None or block.info == info or block.info.startswith(info + " ")]


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block in order; a command goes on in the next line after a backslash."""
    lines = block.text.splitlines()
    assert lines[0].startswith("$ "), f"{block.path.name}:{block.line}: a console block begins with a command"
    at = 0
    while at < len(lines):
        start, command = at, lines[at].removeprefix("$ ")
        while command.endswith("\\"):
            at += 1
            command = command[:-1] + lines[at].strip()
        at += 1
        output = []
        while at < len(lines) and not lines[at].startswith("$ "):
            output.append(lines[at].rstrip())
            at += 1
        yield Command(command=command, expected=tuple(output), place=f"{block.path.name}:{block.line + start + 1}")


def matches(expected: tuple[str, ...], actual: str) -> bool:
    """Whether the output is what the page shows, by the rules of this module."""
    pattern = ""
    for line in expected:
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in _steady(line).split("...")) + "\n"
    text = "".join(f"{_steady(line.rstrip())}\n" for line in actual.splitlines())
    return re.fullmatch(pattern, text) is not None


def _steady(line: str) -> str:
    for volatile, name in _VOLATILE:
        line = volatile.sub(name, line)
    return re.sub(r" {2,}", "  ", line)  # columns move with what stands in them


@dataclass(slots=True)
class Console:
    """A copy of the samples in `home`, and what a page has done there so far."""

    home: Path
    ids: dict[str, str] = field(default_factory=dict)
    port: str = PORT
    server: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        shutil.copytree(ROOT / "samples", self.home / "samples")
        programs = self.home / ".venv" / "bin"
        programs.mkdir(parents=True)
        _script(programs / "gatepost", f'exec {shlex.quote(sys.executable)} -m gatepost "$@"\n')
        _script(programs / "aws", f"exec cat {shlex.quote(str(ROOT / 'samples/ses/rules.json'))}\n")
        if shutil.which("swaks") is None:
            _script(programs / "swaks", f'exec {shlex.quote(sys.executable)} -c {shlex.quote(_SWAKS)} "$@"\n')

    def run_page(self, path: Path) -> None:
        """Every console block of the page, in order. Raises AssertionError with the place and both outputs."""
        for block in blocks(path, "console"):
            for command in commands(block):
                self.run(command)

    def run(self, command: Command) -> None:
        if re.match(r"(make|gatepost) serve\b", command.command):
            actual = self._serve(command)
        else:
            actual = self._wait_for(command)
        self._remember(command.expected, actual)
        shown = "\n".join(command.expected)
        assert matches(command.expected, actual), (
            f"{command.place}: $ {command.command}\n--- shown\n{shown}\n--- printed\n{actual}"
        )

    def close(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            self.server.communicate(timeout=30)
            self.server = None

    def _wait_for(self, command: Command) -> str:
        """The output; a command that only reads is asked again while the gateway is still at work."""
        again = command.command.startswith(tuple(f"gatepost {word}" for word in _READING))
        deadline = time.monotonic() + (15 if again else 0)
        while True:
            actual = self._output(command)
            if matches(command.expected, actual) or time.monotonic() >= deadline:
                return actual

    def _output(self, command: Command) -> str:
        text = self._translated(command.command)
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=self.home,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return self._as_shown(done.stdout)

    def _serve(self, command: Command) -> str:
        self.close()
        text = command.command
        if text.startswith("make"):
            # The recipe's last line is the program; that `make serve` gets so far is what tests/e2e proves.
            text = recipe(*shlex.split(text)[1:]).strip().splitlines()[-1].removeprefix("exec ")
        ready = self.home / "ready.json"
        ready.unlink(missing_ok=True)
        log = self.home / "serve.log"
        with log.open("w") as output:
            self.server = subprocess.Popen(
                ["bash", "-c", f"exec {text} --listen 127.0.0.1:0 --ready-file {shlex.quote(str(ready))}"],
                cwd=self.home,
                env=self._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert self.server.poll() is None, f"{command.place}: {log.read_text()}"
            assert time.monotonic() < deadline, f"{command.place}: not ready"
            time.sleep(0.02)
        self.port = json.loads(ready.read_text())["smtp"][0]
        return self._as_shown(log.read_text())

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GATEPOST_", "COV_"))}
        programs = self.home / ".venv" / "bin"
        return {
            **{name: value for name, value in kept.items() if not name.startswith("AWS_")},
            **dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), "/nonexistent"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "PATH": f"{programs}:{kept['PATH']}",
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
            "COLUMNS": "100",
        }

    def _translated(self, command: str) -> str:
        command = command.replace(PORT, self.port)
        for shown, real in self.ids.items():
            command = re.sub(
                rf"\b{re.escape(shown[:6])}[0-9a-v]*\b",
                lambda found, shown=shown, real=real: real if shown.startswith(found.group()) else found.group(),
                command,
            )
        return command

    def _as_shown(self, output: str) -> str:
        return output.replace(str(self.home), CHECKOUT).replace(self.port, PORT)

    def _remember(self, expected: tuple[str, ...], actual: str) -> None:
        shown = list(dict.fromkeys(_ID.findall("\n".join(expected))))
        real = list(dict.fromkeys(_ID.findall(actual)))
        if len(shown) == len(real):
            self.ids.update(zip(shown, real, strict=True))


def recipe(*arguments: str) -> str:
    """What `make` would run; as when somebody calls it, not from within another make. Raises for a target that is not there."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    done = subprocess.run(
        ["make", "-n", *arguments], cwd=ROOT, env=outside, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def _script(path: Path, text: str) -> None:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
