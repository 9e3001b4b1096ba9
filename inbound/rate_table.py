"""What the limits count across workers: one shared file, a column per worker (semantics.md §6).

A worker writes only its own column and judges by the sum over all of them, so nothing is locked and nothing is lost between two
processes. A count belongs to a key and a window of time, or to what is there now (connections) and has no end. The parent
zeroes the column of a worker that died.

Memory is fixed: where more keys come than there is room, the smallest count makes way, and what is there now never does.
"""

from collections.abc import Iterator
from pathlib import Path

from inbound.shared_cells import SharedCells, create_cells

BUCKETS = 16_384  # 65,536 keys and 1 MiB a worker; pages that are never touched take no memory
_COUNT_BITS = 32
_COUNT = 0xFFFF_FFFF
_FOR_EVER = 0xFFFF_FFFF


class RateTable:
    """The table as the parent sees it: made new at start, wiped column by column."""

    def __init__(self, path: Path, *, workers: int, buckets: int = BUCKETS) -> None:
        """Map what `create_rate_table` made with the same numbers. Raises `OSError`, or ValueError for another file."""
        self._cells = SharedCells(path, columns=workers, buckets=buckets)
        self._workers = workers

    def zero(self, worker: int) -> None:
        """Forget what a worker counted that is no more."""
        self._cells.wipe(worker)

    def column(self, worker: int) -> "RateColumn":
        return RateColumn(self._cells, worker, self._workers)

    def close(self) -> None:
        self._cells.close()


def create_rate_table(path: Path, *, workers: int, buckets: int = BUCKETS) -> RateTable:
    create_cells(path, columns=workers, buckets=buckets)
    return RateTable(path, workers=workers, buckets=buckets)


class RateColumn:
    """The table as one worker uses it. Every count that is returned is the sum over all workers."""

    def __init__(self, cells: SharedCells, worker: int, workers: int) -> None:
        self._cells = cells
        self._worker = worker
        self._others = tuple(number for number in range(workers) if number != worker)

    def add(self, key: str, now: float, window_seconds: int, amount: int = 1) -> int:
        """Count in the window of `now` (seconds since 1970), and say how many it makes there."""
        window = int(now // window_seconds)
        tag = self._cells.tag(f"{window_seconds}/{window}/{key}")
        return self._add(tag, (window + 1) * window_seconds, int(now), amount) + self._elsewhere(tag)

    def count(self, key: str, now: float, window_seconds: int) -> int:
        """How many there are in the window of `now`."""
        tag = self._cells.tag(f"{window_seconds}/{int(now // window_seconds)}/{key}")
        return self._here(tag) + self._elsewhere(tag)

    def enter(self, key: str) -> int:
        """One more is there until `leave`; how many there are, this one included."""
        tag = self._cells.tag(key)
        return self._add(tag, _FOR_EVER, 0, 1) + self._elsewhere(tag)

    def leave(self, key: str) -> None:
        words = self._cells.words
        tag = self._cells.tag(key)
        for at in self._cells.bucket(self._worker, tag):
            if words[at] == tag:
                count = (words[at + 1] & _COUNT) - 1
                words[at + 1] = _value(_FOR_EVER, count)
                if count <= 0:
                    words[at] = 0

    def _add(self, tag: int, until: int, now: int, amount: int) -> int:
        words = self._cells.words
        at = next(self._places(tag, now), None)
        if at is None:
            return amount  # the bucket is full of what is there now: this one is not counted
        before = words[at + 1] & _COUNT if words[at] == tag else 0
        count = min(before + amount, _COUNT)
        if words[at] != tag:
            words[at + 1] = 0  # so that nobody reads the old count under the new tag
            words[at] = tag
        words[at + 1] = _value(until, count)
        return count

    def _places(self, tag: int, now: int) -> Iterator[int]:
        """The key's own cell; else one that is free or whose time is over; else the one with the smallest count."""
        words = self._cells.words
        places = self._cells.bucket(self._worker, tag)
        yield from (at for at in places if words[at] == tag)
        yield from (at for at in places if words[at] == 0 or words[at + 1] >> _COUNT_BITS <= now)
        yield from sorted(
            (at for at in places if words[at + 1] >> _COUNT_BITS != _FOR_EVER), key=lambda at: words[at + 1] & _COUNT
        )

    def _here(self, tag: int) -> int:
        return self._in(self._worker, tag)

    def _elsewhere(self, tag: int) -> int:
        return sum(self._in(worker, tag) for worker in self._others)

    def _in(self, worker: int, tag: int) -> int:
        words = self._cells.words
        for at in self._cells.bucket(worker, tag):
            if words[at] == tag:
                count: int = words[at + 1] & _COUNT
                return count
        return 0


def _value(until: int, count: int) -> int:
    return until << _COUNT_BITS | max(count, 0)
