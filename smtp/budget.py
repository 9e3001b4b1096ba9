"""The octets of messages that all connections hold together, and who must wait when they are too many (semantics.md §6)."""

from collections.abc import Callable
from typing import Protocol


class Holder(Protocol):
    weight: int

    def lighten(self) -> None: ...


class Budget:
    """Beyond `limit`, connections stop reading, but for one: were all to wait, each with half a message, none would ever end.

    That one is who came first over the limit; when it is done the next takes its turn. So what is held stays below `limit`, one
    message, and one read for each connection. While `is_strained` (the store cannot keep up) it is as if the limit were reached.
    """

    def __init__(
        self,
        limit: int,
        is_strained: Callable[[], bool] = lambda: False,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_wait` is told of each holder that must stop."""
        self._limit = limit
        self._is_strained = is_strained
        self._on_wait = on_wait
        self._waiting: dict[Holder, None] = {}
        self._leader: Holder | None = None
        self.held = 0

    @property
    def waiting(self) -> int:
        """How many holders must wait."""
        return len(self._waiting)

    def weigh(self, holder: Holder, octets: int) -> bool:
        """Note that the holder now holds so many octets; whether it must stop reading."""
        self.held += octets - holder.weight
        holder.weight = octets
        if octets == 0:
            self._waiting.pop(holder, None)
            if self._leader is holder:
                self._leader = None
            self._let_go()
            return False
        if self._leader is holder or (self.held <= self._limit and not self._is_strained()):
            return False
        if self._leader is None:
            self._leader = holder
            return False
        if holder not in self._waiting:
            self._on_wait()
        self._waiting[holder] = None
        return True

    def _let_go(self) -> None:
        if not self._waiting:
            return
        if self.held <= self._limit and not self._is_strained():
            waiting, self._waiting = self._waiting, {}
            for holder in waiting:
                holder.lighten()
        elif self._leader is None:
            self._leader = next(iter(self._waiting))
            del self._waiting[self._leader]
            self._leader.lighten()
