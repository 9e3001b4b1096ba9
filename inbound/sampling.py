"""Which of many like rows are kept, so that a flood of refusals does not become a flood of writes.

A limit that refuses a thousand clients a second leaves `most` rows a minute, and the next row says how many were left out.
"""

from datetime import datetime, timedelta

_WINDOW = timedelta(minutes=1)


class Sampler:
    """`most` rows a minute for each name. Names are words of ours: there is a bounded number of them."""

    def __init__(self, most: int = 60) -> None:
        self._most = most
        self._windows: dict[str, tuple[datetime, int]] = {}
        self._left_out: dict[str, int] = {}

    def take(self, name: str, now: datetime) -> int | None:
        """None: this one is left out. Else it is kept, and so many like it were left out since the last that was."""
        since, kept = self._windows.get(name, (now, 0))
        if now - since >= _WINDOW:
            since, kept = now, 0
        if kept >= self._most:
            self._left_out[name] = self._left_out.get(name, 0) + 1
            return None
        self._windows[name] = (since, kept + 1)
        return self._left_out.pop(name, 0)
