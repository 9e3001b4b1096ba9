"""Counts of what happened, by name and labels, for whoever exports them: a name, words of ours as labels, a number that only grows.

Labels are words of ours (the name of a limit, a phase), never a stranger's: so there is a bounded number of them.
"""

Labels = tuple[tuple[str, str], ...]


class Counters:
    """One process's counts. Not for threads: everything that counts runs in the event loop."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Labels], int] = {}

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        key = (name, tuple(sorted(labels.items())))
        self._counts[key] = self._counts.get(key, 0) + amount

    def value(self, name: str, **labels: str) -> int:
        return self._counts.get((name, tuple(sorted(labels.items()))), 0)

    def snapshot(self) -> dict[tuple[str, Labels], int]:
        """Every count so far by name and labels; a copy."""
        return dict(self._counts)
