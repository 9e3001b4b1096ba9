"""How many jobs a runner works on at once, and how many it has in hand (semantics.md §6)."""

import asyncio

_TASKS_FOR_A_SLOT = 4
_WORTH_CLAIMING = 1 / 8  # of the slots: a claim of one job costs as much as one of sixty


class Slots:
    """At most `most` jobs hold one. Who only waits for his end to be durable holds none, while few do.

    Half as many jobs again are leased ahead, so that no slot waits for a claim to be durable.
    """

    def __init__(self, most: int) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._most = most
        self._held: set[int] = set()

    @property
    def is_one_free(self) -> bool:
        return len(self._held) < self._most and len(self.tasks) < _TASKS_FOR_A_SLOT * self._most

    def room(self, leased: int) -> int:
        """How many jobs more may be leased, beside so many that have not begun.

        While a slot is free these wait for their destinations, and hold up nobody else.
        """
        ahead = self._most // 2
        return self._most - len(self._held) + ahead if self.is_one_free else ahead - leased

    def is_claim_worth(self, leased: int) -> bool:
        return not self.tasks or self.room(leased) >= _WORTH_CLAIMING * self._most

    def take(self, job: int, task: asyncio.Task[None]) -> None:
        self._held.add(job)
        self.tasks.add(task)

    def give_up(self, job: int) -> None:
        """Again: nothing."""
        self._held.discard(job)
