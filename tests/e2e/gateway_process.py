"""The real program as a child process: started as a user would, watched through its output, ended by its own id only."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from smtp_wire import Wire

from gatepost.cli import gatepost

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLES = ROOT / "samples"
START_SECONDS = 30.0
# What no reply and no log may show to anybody.
PYTHON = re.compile(r"Traceback|Exception|[a-z]Error\b|\.py\b|<class|object at|asyncio:|never awaited|b'")
PROGRAM = (sys.executable, "-m", "gatepost")


def environment(**more: str) -> dict[str, str]:
    """Ours without a setting of the person who runs the tests; the checkout is what is imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEPOST_")}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **more}


def run_program(
    *arguments: str | Path,
    cwd: Path,
    stdin: bytes | None = None,
    timeout: float = 60,
    wrapped: Sequence[str] = (),
    **variables: str,
) -> subprocess.CompletedProcess[bytes]:
    """One command, to its end."""
    return subprocess.run(
        [*wrapped, *PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def until(condition: Callable[[], Any], what: str, *, seconds: float = 20.0, every: float = 0.02) -> Any:
    """The first true value of `condition`; fails with `what` when the time is up."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(every)
    return value


@dataclass(kw_only=True)
class GatewayProcess:
    """`gatepost serve` in a directory of its own; `options` go behind those that every test needs."""

    directory: Path
    rules: Path | None = None
    dns: Path | None = None
    config: Path | None = None
    options: tuple[str, ...] = ()
    listen: str = "127.0.0.1:0"
    state: Path | None = None
    workers: int = 1  # one costs less to start, and is the same code; what is about several says so
    variables: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.state or self.directory / "var"

    @property
    def ready_file(self) -> Path:
        return self.directory / "ready.json"

    @property
    def output(self) -> str:
        """Everything that it has printed, since its first start."""
        with contextlib.suppress(FileNotFoundError):
            return (self.directory / "output").read_text(errors="replace")
        return ""

    @property
    def command(self) -> list[str]:
        given = {"--rules": self.rules, "--dns": self.dns, "--config": self.config}
        named = [part for option, value in given.items() if value is not None for part in (option, str(value))]
        fixed = ["--listen", self.listen, "--ready-file", str(self.ready_file), "--data", str(self.data)]
        fixed += ["--workers", str(self.workers)]
        return [*PROGRAM, "serve", *fixed, *named, *self.options]

    def launch(self) -> None:
        """Start it without waiting."""
        self.directory.mkdir(exist_ok=True)
        self.ready_file.unlink(missing_ok=True)
        with (self.directory / "output").open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                env=environment(**self.variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self) -> None:
        process = self.running
        until(lambda: self.ready_file.exists() or process.poll() is not None, "the ready file", seconds=START_SECONDS)
        assert self.ready_file.exists(), f"it ended with {process.returncode}:\n{self.output}"

    def start(self) -> GatewayProcess:
        self.launch()
        self.wait_ready()
        # A restart must be found where its clients know it.
        self.listen = json.loads(self.ready_file.read_text())["smtp"][0]
        return self

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "not started"
        return self.process

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    def kill(self) -> None:
        """kill -9, at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.running.send_signal(number)

    def wait(self, seconds: float = 40) -> int:
        """Its exit code."""
        return self.running.wait(timeout=seconds)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    @property
    def pids(self) -> list[int]:
        """The workers that were there when it became ready."""
        found: list[int] = json.loads(self.ready_file.read_text())["workers"]
        return found

    def children(self) -> list[int]:
        """The processes that the parent has now: one for each worker, or one less while it is being replaced; at least one."""
        pid = self.running.pid
        listed = Path(f"/proc/{pid}/task/{pid}/children")
        return until(lambda: [int(each) for each in listed.read_text().split()], "a worker")  # type: ignore[no-any-return]

    @property
    def resident_octets(self) -> int:
        """Of all workers."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids)
        return pages * os.sysconf("SC_PAGE_SIZE")

    # --- what a user does with it

    @contextlib.contextmanager
    def connected(self, *, timeout: float = 30, hello: str = "client.example") -> Iterator[Wire]:
        """A session behind EHLO."""
        with Wire(self.address, timeout=timeout) as wire:
            assert wire.reply().code == 220
            assert wire.command(f"EHLO {hello}").code == 250
            yield wire

    def deliver(
        self, raw: bytes, *, mail_from: str = "a@b.example", rcpt_to: Sequence[str], hello: str = "c.example"
    ) -> str:
        """Send one mail that must be taken; its id."""
        with self.connected(hello=hello) as wire:
            reply = wire.transaction(mail_from, rcpt_to, raw)
        assert reply.code == 250, reply
        return reply.text.split()[-1]

    def cli(self, *arguments: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        """A command about this gateway's state."""
        named = ("--config", self.config) if self.config is not None else ()
        given = (*arguments, "--data", self.data, *named)
        return run_program(*given, cwd=self.directory, timeout=timeout, **self.variables)

    def objects(self, *arguments: str | Path, timeout: float = 60) -> list[dict[str, Any]]:
        """The lines of a command's --json, which must succeed."""
        done = self.cli(*arguments, "--json", timeout=timeout)
        assert done.returncode == 0, done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]

    def stories(self, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
        """`explain ID --json` for many, without a process for each."""
        named = ["--config", str(self.config)] if self.config is not None else []
        for message_id in ids:
            arguments = ["explain", message_id, "--json", "--data", str(self.data), *named]
            done = CliRunner().invoke(gatepost, arguments, catch_exceptions=False, standalone_mode=False)
            yield json.loads(done.stdout)

    def wait_done(self, *ids: str, seconds: float = 30) -> None:
        done = self.cli("wait", *ids, "--timeout", f"{seconds:g}s", timeout=seconds + 30)
        assert done.returncode == 0, done.stdout.decode()[-2000:] + done.stderr.decode()


# The fixture `gateway`: makes one, started unless `start=False`, and ends it with the test.
Start = Callable[..., GatewayProcess]
