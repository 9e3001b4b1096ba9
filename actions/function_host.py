"""The host of `python:` functions: a few processes of our own, each with one call at a time (semantics.md §9).

*Trust.* A function is the operator's code, and mail reaches it: it runs in its own session with limited address space, none of our
descriptors, a named environment and the user's directories as its path, and is killed with all its children at the limit.
*Failure.* `Temporary` for whatever goes wrong in or around a function: the caller retries.
"""

import asyncio
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actions.function_process import FunctionProcess, Launch
from mail.errors import Temporary

log = logging.getLogger("gatepost.functions")
TIMEOUT_SECONDS = 30.0  # SES: the limit of a synchronous function
CALLS = 1000
ERROR_LENGTH = 500
_BASIC_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


class FunctionFailed(Temporary):
    """The function raised, hung, ended its process, or is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """`functions.*`. `path`: the user's directories. `python` None is our interpreter without its site-packages, so that nothing of

    ours can be imported; another interpreter keeps its own. `environment`: the variables that functions see, by name and value.
    """

    path: tuple[Path, ...]
    python: str | None = None
    processes: int = 2
    timeout_seconds: float = TIMEOUT_SECONDS
    memory_octets: int = 2**30
    environment: Mapping[str, str] = field(default_factory=dict)
    calls: int = CALLS

    @property
    def launch(self) -> Launch:
        # -I: no PYTHON* variables, no directory of the script, no user site. -S: no site-packages, which are ours.
        python = (sys.executable, "-I", "-S") if self.python is None else (self.python, "-I")
        return Launch(
            python=python,
            path=self.path,
            environment={**_BASIC_ENVIRONMENT, **self.environment},
            memory_octets=self.memory_octets,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One invocation: `module` and `function` by name, SES's event, AWS's context fields, and ours."""

    module: str
    function: str
    event: Mapping[str, Any]
    context: Mapping[str, Any]
    gatepost: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    result: Any
    output: str


class FunctionHost:
    """Made anywhere, used in one event loop; starts nothing before the first call."""

    def __init__(self, settings: FunctionSettings) -> None:
        self._settings = settings
        self._turns = asyncio.Semaphore(settings.processes)
        self._idle: list[FunctionProcess] = []
        self._busy: set[FunctionProcess] = set()

    @property
    def memory_octets(self) -> int:
        return self._settings.memory_octets

    async def call(self, call: Call) -> Returned:
        """What the function returned, with what it printed. Raises `FunctionFailed`, or `Temporary` if no process starts."""
        async with self._turns:
            request = {
                "module": call.module,
                "function": call.function,
                "event": call.event,
                "context": call.context,
                "gatepost": call.gatepost,
                "timeout_seconds": self._settings.timeout_seconds,
            }
            reply, output = await self._ask(request)
            if reply.get("stale"):
                # A file changed. A fresh process has loaded nothing, so it cannot say so again.
                reply, output = await self._ask(request)
        error = reply.get("error")
        if error is not None:
            said = f"{error.get('type')}: {error.get('message')}" if isinstance(error, dict) else "no reason given"
            raise FunctionFailed(one_line(said) + _printed(output))
        return Returned(result=reply.get("result"), output=output)

    async def _ask(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        process = await self._take()
        self._busy.add(process)
        try:
            reply = await process.call(request, self._settings.timeout_seconds)
        except Temporary as error:
            raise FunctionFailed(f"{error}{_printed(process.output)}") from error
        finally:
            self._busy.discard(process)
        if reply.get("stale") or process.calls >= self._settings.calls:
            await process.end()
        else:
            self._idle.append(process)
        return reply, process.output

    async def _take(self) -> FunctionProcess:
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            await process.kill()
        return await FunctionProcess.start(self._settings.launch)

    async def close(self) -> None:
        """End every process; calls that run are killed."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(process.end() for process in idle), *(process.kill() for process in self._busy))


def one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[: ERROR_LENGTH * 2])[:ERROR_LENGTH]


def _printed(output: str) -> str:
    last = output.strip().rpartition("\n")[2]
    return f" (it printed last: {one_line(last)[:200]})" if last else ""
