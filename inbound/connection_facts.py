"""What DNS says of a client, looked up beside the dialogue from connect on (semantics.md §5).

*Trust.* DNS is the client's and the lists'. A look-up that fails or hangs is a client without a name, or one that is not listed.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from inbound.ports import Services
from smtp.calls import started

log = logging.getLogger("gatepost.inbound")


class ConnectionFacts:
    """The look-ups about one client's address. All waiting for lists ends `wait_for_lists_seconds` after its beginning."""

    __slots__ = ("_deadline", "_lists", "_name", "_settings")

    def __init__(self, services: Services, ip: str) -> None:
        self._settings = services.settings
        self._name = None if services.name_of is None else _started(services.name_of(ip))
        self._lists = {name: _started(lists(ip)) for name, lists in services.lists.items()}
        self._deadline: float | None = None

    async def listed(self, *, one_will_do: bool = False) -> tuple[str, ...]:
        """The lists that list the client, in the order of the settings; the first one that says so, if one will do."""
        if not self._lists:
            return ()
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._settings.wait_for_lists_seconds
        while pending := [task for task in self._lists.values() if not task.done()]:
            left = self._deadline - loop.time()
            if left <= 0 or (one_will_do and any(map(_result, self._lists.values()))):
                break
            await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        return tuple(name for name, task in self._lists.items() if _result(task))

    async def name(self) -> str | None:
        """The client's confirmed name, waited for so long as a message may."""
        if self._name is None:
            return None
        if not self._name.done():
            await asyncio.wait((self._name,), timeout=self._settings.wait_for_names_seconds)
        found: str | None = _result(self._name)
        return found

    def cancel(self) -> None:
        for task in (self._name, *self._lists.values()):
            if task is not None:
                task.cancel()


def _started(look_up: Coroutine[Any, Any, Any]) -> "asyncio.Future[Any]":
    found = started(look_up)
    found.add_done_callback(_noted)
    return found


def _result(task: "asyncio.Future[Any]") -> Any:
    """What a look-up found; None while it runs and if it failed."""
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()


def _noted(task: "asyncio.Future[Any]") -> None:
    """A failed look-up changes nothing, whether or not a message came that would have asked for it; but it is logged."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("the client's address could not be looked up: %s", error)
