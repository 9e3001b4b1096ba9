"""Counts of what happened, by name and labels, for whoever exports them: a name, words of ours as labels, a number that only grows.

Whoever does the work adds to its process's counters; what the processes counted is added up where somebody asks
(`gatepost.metrics`), so counting is one look into a dictionary and nothing is shared.

Labels are words of ours (the name of a limit, a rule, a phase), never a stranger's: each new one costs memory for good. Beyond
`MOST_SAMPLES` of one name new ones are counted together, as `LEFT_OUT`.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

MOST_SAMPLES = 2_000
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of a latency: a commit takes milliseconds, a judgement with a scan seconds."""

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]
"""A name, and its labels in the order of their names."""


def key(name: str, **labels: str) -> Key:
    """Of a metric's name and labels."""
    return name, tuple(sorted(labels.items()))


LEFT_OUT = key("samples_left_out_total")


class Histogram:
    """How many values fell at or below each bound. Belongs to one thread."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self, name: str) -> Iterator[tuple[Key, float]]:
        """In Prometheus's form: cumulative `_bucket`s with their bound as label `le`, then `_sum` and `_count`."""
        cumulated = 0
        for bound, count in zip((*(f"{bound:g}" for bound in self._bounds), "+Inf"), self._counts, strict=True):
            cumulated += count
            yield key(f"{name}_bucket", le=bound), cumulated
        yield key(f"{name}_sum"), self._sum
        yield key(f"{name}_count"), cumulated


class Cell:
    """One count. Whoever counts for every message keeps it and adds to `value`: nothing is looked up then."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Counters:
    """One process's counts. Not for threads: everything that counts runs in the event loop."""

    __slots__ = ("_cells", "_histograms", "_left_out", "_sizes")

    def __init__(self) -> None:
        self._cells: dict[Key, Cell] = {}
        self._histograms: dict[str, Histogram] = {}
        self._sizes: dict[str, int] = {}  # how many sets of labels each name has
        self._left_out = Cell()

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        self.cell((name, tuple(sorted(labels.items())))).value += amount

    def cell(self, what: Key) -> Cell:
        """The count under this key, from now on in every snapshot."""
        cell = self._cells.get(what)
        if cell is not None:
            return cell
        size = self._sizes.get(what[0], 0)
        if size >= MOST_SAMPLES:
            return self._left_out
        self._sizes[what[0]] = size + 1
        cell = self._cells[what] = Cell()
        return cell

    def value(self, name: str, **labels: str) -> int:
        cell = self._cells.get(key(name, **labels))
        return 0 if cell is None else cell.value

    def histogram(self, name: str) -> Histogram:
        """The one of this name, to be kept by whoever observes."""
        return self._histograms.setdefault(name, Histogram())

    def snapshot(self) -> dict[Key, float]:
        """Every count so far by name and labels, histograms in Prometheus's form; a copy."""
        found: dict[Key, float] = {what: cell.value for what, cell in self._cells.items()}
        if self._left_out.value:
            found[LEFT_OUT] = self._left_out.value
        for name, histogram in self._histograms.items():
            found.update(histogram.samples(name))
        return found
