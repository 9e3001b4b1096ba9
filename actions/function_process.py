"""One function process: started by exec, spoken to over its pipes, killed as a group (semantics.md §9)."""

import asyncio
import contextlib
import json
import os
import signal
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any, cast

from mail.errors import Temporary

WORKER = Path(__file__).with_name("function_worker.py")
OUTPUT_OCTETS = 64 * 1024
REPLY_OCTETS = 6 * 2**20  # AWS Lambda's limit of a synchronous response
_PIPE_READ = 256 * 1024
_EXIT_SECONDS = 5.0
_LAST_FRAME_SECONDS = 0.1
_LENGTH = struct.Struct(">I")


class Ended(Temporary):
    """The process is no more, or speaks no longer; it was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How processes are started. `python` is the interpreter with its options; `environment` is all that they see of ours.

    `packages` can be imported by these names alone, each from its directory, though that is not on the path.
    """

    python: Sequence[str]
    path: tuple[Path, ...]
    environment: Mapping[str, str]
    memory_octets: int
    packages: Mapping[str, str] = field(default_factory=dict)


class FunctionProcess:
    """One call at a time. `calls` counts them."""

    def __init__(self, transport: asyncio.SubprocessTransport, frames: "_Frames", output: "_Output") -> None:
        self._transport = transport
        self._frames = frames
        self._output = output
        self.calls = 0

    @classmethod
    async def start(cls, launch: Launch) -> "FunctionProcess":
        output = _Output()
        try:
            transport, frames = await asyncio.get_running_loop().subprocess_exec(
                _Frames,
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
        started = cls(transport, frames, output)
        settings = {"path": [str(path) for path in launch.path], "packages": dict(launch.packages)}
        started._send({**settings, "memory_octets": launch.memory_octets})
        return started

    async def call(self, request: Mapping[str, Any], timeout_seconds: float) -> dict[str, Any]:
        """The reply frame. Raises `Ended` for a process that ended, hung or spoke nonsense, and has killed it then."""
        self.calls += 1
        self._output.begin()
        try:
            reply = self._frames.expect()
            self._send(request)
            async with asyncio.timeout(timeout_seconds):
                return await reply
        except TimeoutError:
            await self.kill()
            raise Ended(f"the function took longer than {timeout_seconds:g} s and was killed") from None
        except BaseException:
            await self.kill()
            raise
        finally:
            self._output.drain()

    def _send(self, value: Mapping[str, Any]) -> None:
        body = json.dumps(value).encode("ascii")
        # Not asserted: uvloop's transports are of classes of their own.
        pipe = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        pipe.write(_LENGTH.pack(len(body)) + body)

    @property
    def alive(self) -> bool:
        return not self._frames.exited.is_set()

    @property
    def output(self) -> str:
        """What the last call printed, at most `OUTPUT_OCTETS`; the rest was thrown away."""
        return self._output.text

    async def kill(self) -> None:
        """End the whole process group at once; safe to call twice."""
        if self.alive:
            kill_group(self._transport.get_pid())
        await self._frames.exited.wait()
        self._transport.close()
        self._output.drain()
        self._output.close()

    async def end(self) -> None:
        """Let an idle process go: its input ends, and what it left behind is killed."""
        pipe = self._transport.get_pipe_transport(0)
        if pipe is not None:
            pipe.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_SECONDS):
                await self._frames.exited.wait()
        await self.kill()


class _Frames(asyncio.SubprocessProtocol):
    """The reply frames of one process. The exit itself ends a call: a child may hold the pipe open behind it."""

    def __init__(self) -> None:
        self.exited = asyncio.Event()
        self._transport: asyncio.SubprocessTransport | None = None
        self._received = bytearray()
        self._reply: asyncio.Future[dict[str, Any]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def expect(self) -> "asyncio.Future[dict[str, Any]]":
        """The next frame. What came without being asked for is thrown away."""
        self._received.clear()
        self._reply = asyncio.get_running_loop().create_future()
        if self.exited.is_set():
            self._reply.set_exception(self._ended())
        return self._reply

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002
        self._received += data
        if len(self._received) < _LENGTH.size:
            return
        (length,) = _LENGTH.unpack_from(self._received)
        if length > REPLY_OCTETS:
            self._fail(Ended(f"the function's result has {length} octets, more than {REPLY_OCTETS}"))
        elif len(self._received) >= _LENGTH.size + length:
            self._take(bytes(self._received[_LENGTH.size : _LENGTH.size + length]))
            self._received.clear()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        if fd == 1 and self.exited.is_set():
            self._fail(self._ended())

    def process_exited(self) -> None:
        self.exited.set()
        # What the function left behind goes with it, now: later the number may be another process's.
        if self._transport is not None:
            kill_group(self._transport.get_pid())
        # Its last frame may still stand in the pipe; one that a child holds open brings no end of its own.
        asyncio.get_running_loop().call_later(_LAST_FRAME_SECONDS, lambda: self._fail(self._ended()))

    def _take(self, body: bytes) -> None:
        if self._reply is None or self._reply.done():
            return
        try:
            frame = json.loads(body)
        except (ValueError, RecursionError):
            frame = None
        if isinstance(frame, dict):
            self._reply.set_result(frame)
        else:
            self._fail(Ended("the function's process sent no reply frame"))

    def _fail(self, error: Ended) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)

    def _ended(self) -> Ended:
        status = None if self._transport is None else self._transport.get_returncode()
        return Ended(f"the function ended its process (exit status {status})")


def kill_group(process: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)


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
