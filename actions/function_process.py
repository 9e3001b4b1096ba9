"""One function process: started by exec, spoken to over its pipes, killed as a group (semantics.md §9)."""

import asyncio
import contextlib
import json
import os
import signal
import struct
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mail.errors import Temporary

WORKER = Path(__file__).with_name("function_worker.py")
OUTPUT_OCTETS = 64 * 1024
REPLY_OCTETS = 6 * 2**20  # AWS Lambda's limit of a synchronous response
_PIPE_READ = 256 * 1024
_EXIT_SECONDS = 5.0


class Ended(Temporary):
    """The process is no more, or speaks no longer; it was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How processes are started. `python` is the interpreter with its options; `environment` is all that they see of ours."""

    python: Sequence[str]
    path: tuple[Path, ...]
    environment: Mapping[str, str]
    memory_octets: int


class FunctionProcess:
    """One call at a time. `calls` counts them."""

    def __init__(self, process: Process, output: "_Output") -> None:
        self._process = process
        self._output = output
        self.calls = 0

    @classmethod
    async def start(cls, launch: Launch) -> "FunctionProcess":
        output = _Output()
        try:
            process = await asyncio.create_subprocess_exec(
                *launch.python,
                str(WORKER),
                stdin=PIPE,
                stdout=PIPE,
                stderr=output.write_end,
                env=dict(launch.environment),
                cwd=next((path for path in launch.path if path.is_dir()), "/"),
                start_new_session=True,
                close_fds=True,
            )
        except OSError as error:
            output.close()
            raise Temporary(f"cannot start {launch.python[0]}: {error.strerror or error}") from error
        finally:
            output.close_write_end()
        started = cls(process, output)
        await started._send({"path": [str(path) for path in launch.path], "memory_octets": launch.memory_octets})
        return started

    async def call(self, request: Mapping[str, Any], timeout_seconds: float) -> dict[str, Any]:
        """The reply frame. Raises `Ended` for a process that ended, hung or spoke nonsense, and has killed it then."""
        self.calls += 1
        self._output.begin()
        try:
            return await self._exchange(request, timeout_seconds)
        except BaseException:
            await self.kill()
            raise
        finally:
            self._output.drain()

    async def _exchange(self, request: Mapping[str, Any], timeout_seconds: float) -> dict[str, Any]:
        reading = asyncio.ensure_future(self._ask(request))
        exiting = asyncio.ensure_future(self._process.wait())
        try:
            # A child that the function left behind may hold the pipe open, so the exit itself is watched too.
            await asyncio.wait({reading, exiting}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            if exiting.done() and not reading.done():
                await asyncio.wait({reading}, timeout=0.1)
            if reading.done():
                return reading.result()
            if exiting.done():
                raise Ended(f"the function ended its process (exit status {exiting.result()})")
            raise Ended(f"the function took longer than {timeout_seconds:g} s and was killed")
        finally:
            for task in (reading, exiting):
                task.cancel()
            await asyncio.gather(reading, exiting, return_exceptions=True)

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            await self._send(request)
            (length,) = struct.unpack(">I", await self._process.stdout.readexactly(4))
            if length > REPLY_OCTETS:
                raise Ended(f"the function's result has {length} octets, more than {REPLY_OCTETS}")
            reply = json.loads(await self._process.stdout.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            status = await self._process.wait()
            raise Ended(f"the function ended its process (exit status {status})") from None
        except ValueError:
            raise Ended("the function's process sent no reply frame") from None
        if not isinstance(reply, dict):
            raise Ended("the function's process sent no reply frame")
        return reply

    async def _send(self, value: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        body = json.dumps(value).encode("ascii")
        self._process.stdin.write(struct.pack(">I", len(body)) + body)
        await self._process.stdin.drain()

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def output(self) -> str:
        """What the last call printed, at most `OUTPUT_OCTETS`; the rest was thrown away."""
        return self._output.text

    async def kill(self) -> None:
        """End the whole process group at once; safe to call twice."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._output.close()

    async def end(self) -> None:
        """Let an idle process go: its input ends, and what it left behind is killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _EXIT_SECONDS)
        await self.kill()


class _Output:
    """The parent's end of the output pipe: always read, so that no function blocks on it; the beginning is kept."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._kept = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read_end, self._read)

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")

    def begin(self) -> None:
        self.drain()
        self._kept.clear()

    def drain(self) -> None:
        """Take what stands in the pipe; bounded, since a thread of the function may never stop printing."""
        for _ in range(16):
            if not self._read():
                return

    def _read(self) -> bool:
        if self._read_end < 0:
            return False
        try:
            chunk = os.read(self._read_end, _PIPE_READ)
        except BlockingIOError:
            return False
        if not chunk:
            self.close()
            return False
        self._kept += chunk[: OUTPUT_OCTETS - len(self._kept)]
        return True

    def close_write_end(self) -> None:
        os.close(self.write_end)

    def close(self) -> None:
        if self._read_end >= 0:
            self._loop.remove_reader(self._read_end)
            os.close(self._read_end)
            self._read_end = -1
