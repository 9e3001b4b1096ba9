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
from actions.object_access import ObjectAccess
from actions.reach import Reach
from mail.errors import Temporary

log = logging.getLogger("gatepost.functions")
TIMEOUT_SECONDS = 30.0  # SES: the limit of a synchronous function
CALLS = 1000
ERROR_LENGTH = 500
# Each thread of a function would take 64 MiB of its address space for memory of its own: boto3 downloads with ten.
_BASIC_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}


class FunctionFailed(Temporary):
    """The function raised, hung, ended its process, or is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """`functions.*`. `path`: the user's directories. `python` None is our interpreter without its site-packages, so that nothing of

    ours can be imported but `packages`, each from the directory that it stands in; another interpreter keeps its own site-packages.
    `environment`: the variables that functions see, by name and value.
    """

    path: tuple[Path, ...]
    python: str | None = None
    processes: int = 2
    timeout_seconds: float = TIMEOUT_SECONDS
    memory_octets: int = 2**30
    environment: Mapping[str, str] = field(default_factory=dict)
    calls: int = CALLS
    packages: Mapping[str, str] = field(default_factory=dict)

    def launch(self, lent: Mapping[str, str]) -> Launch:
        """How a process starts that is `lent` these variables; what the operator names stands above them."""
        # -I: no PYTHON* variables, no directory of the script, no user site. -S: no site-packages, which are ours.
        python = (sys.executable, "-I", "-S") if self.python is None else (self.python, "-I")
        return Launch(
            python=python,
            path=self.path,
            environment={**_BASIC_ENVIRONMENT, **lent, **self.environment},
            memory_octets=self.memory_octets,
            packages=self.packages if self.python is None else {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One invocation: `module` and `function` by name, SES's event, AWS's context fields, and ours.

    Calls of one `rule` share processes, those of two never do. `reach` is what the function may read meanwhile.
    """

    module: str
    function: str
    event: Mapping[str, Any]
    context: Mapping[str, Any]
    gatepost: Mapping[str, str]
    rule: str = ""
    reach: Reach | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    result: Any
    output: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Worker:
    """A process that serves one rule; `key_id` is its access key, "" where it has none."""

    process: FunctionProcess
    rule: str
    key_id: str


class FunctionHost:
    """Made anywhere, used in one event loop; starts nothing before the first call.

    `access` None: functions read no stored objects through us.
    """

    def __init__(self, settings: FunctionSettings, access: ObjectAccess | None = None) -> None:
        self._settings = settings
        self._access = access
        self._turns = asyncio.Semaphore(settings.processes)
        self._taken = 0
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()

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
            reply, output = await self._ask(call, request)
            if reply.get("stale"):
                # A file changed. A fresh process has loaded nothing, so it cannot say so again.
                reply, output = await self._ask(call, request)
        error = reply.get("error")
        if error is not None:
            said = f"{error.get('type')}: {error.get('message')}" if isinstance(error, dict) else "no reason given"
            raise FunctionFailed(one_line(said) + _printed(output))
        return Returned(result=reply.get("result"), output=output)

    async def _ask(self, call: Call, request: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        self._taken += 1
        try:
            worker = await self._take(call.rule)
            self._busy.add(worker)
            self._lend(worker, call.reach)
            try:
                reply = await worker.process.call(request, self._settings.timeout_seconds)
            except Temporary as error:
                raise FunctionFailed(f"{error}{_printed(worker.process.output)}") from error
            finally:
                self._lend(worker, None)
                self._busy.discard(worker)
                if not worker.process.alive:
                    self._revoke(worker)
            output = worker.process.output
            if reply.get("stale") or worker.process.calls >= self._settings.calls:
                await self._end(worker)
            else:
                self._idle.append(worker)
            return reply, output
        finally:
            self._taken -= 1

    async def _take(self, rule: str) -> _Worker:
        for worker in [worker for worker in self._idle if worker.rule == rule or not worker.process.alive]:
            self._idle.remove(worker)
            if worker.process.alive:
                return worker
            self._revoke(worker)
            await worker.process.kill()
        # Not more processes than the settings say: one of another rule makes room.
        while self._idle and len(self._idle) + self._taken > self._settings.processes:
            await self._end(self._idle.pop(0))
        credentials = None if self._access is None else await self._access.issue()
        key_id, environment = ("", {}) if credentials is None else (credentials.key_id, credentials.environment)
        try:
            process = await FunctionProcess.start(self._settings.launch(environment))
        except BaseException:
            if self._access is not None:
                self._access.revoke(key_id)
            raise
        return _Worker(process=process, rule=rule, key_id=key_id)

    def _lend(self, worker: _Worker, reach: Reach | None) -> None:
        if self._access is not None:
            self._access.lend(worker.key_id, reach)

    def _revoke(self, worker: _Worker) -> None:
        if self._access is not None:
            self._access.revoke(worker.key_id)

    async def _end(self, worker: _Worker) -> None:
        self._revoke(worker)
        await worker.process.end()

    async def close(self) -> None:
        """End every process; calls that run are killed."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*map(self._end, idle), *(worker.process.kill() for worker in self._busy))


def one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[: ERROR_LENGTH * 2])[:ERROR_LENGTH]


def _printed(output: str) -> str:
    last = output.strip().rpartition("\n")[2]
    return f" (it printed last: {one_line(last)[:200]})" if last else ""
