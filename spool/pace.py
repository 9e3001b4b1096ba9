"""When the next group begins: as soon as the least patient of those who wait will not wait longer for company."""

import asyncio
import math
from collections.abc import Callable


class Pace:
    """Belongs to one event loop. `begin` is called on it, never from within `note` or `arm`."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._due = math.inf
        self._handle: asyncio.Handle | None = None
        self._set_for = math.inf

    def note(self, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        """Somebody waits, and has so many seconds."""
        self._due = min(self._due, loop.time() + patience)

    def arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """No group is under way: the next may begin. Who is not patient waits for the turn of those that were just answered."""
        if self._due >= self._set_for:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._set_for = self._due
        late = self._due <= loop.time()
        self._handle = loop.call_soon(self._begin) if late else loop.call_at(self._due, self._begin)

    def clear(self) -> None:
        """A group has begun: whoever still waits is to be noted anew."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._due = self._set_for = math.inf
