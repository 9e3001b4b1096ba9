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

    @property
    def is_full(self) -> bool:
        return self.held > self._limit

    def weigh(self, holder: Holder, octets: int) -> bool:
        """Note that the holder now holds so many octets; whether it must stop reading."""
        is_lighter = octets < holder.weight
        self.held += octets - holder.weight
        holder.weight = octets
        if octets == 0:
            self._waiting.pop(holder, None)
            if self._leader is holder:
                self._leader = None
        must_wait = octets > 0 and self._must_wait(holder)
        if is_lighter or octets == 0:
            self.let_go()
        return must_wait

    def _must_wait(self, holder: Holder) -> bool:
        if self._leader is holder or not (self.is_full or self._is_strained()):
            self._waiting.pop(holder, None)
            return False
        if self._leader is None:
            self._leader = holder
            self._waiting.pop(holder, None)
            return False
        if holder not in self._waiting:
            self._on_wait()
        self._waiting[holder] = None
        return True

    def let_go(self) -> None:
        """Whoever need not wait any more goes on; to be asked now and then too, since the store's strain ends by itself."""
        if not self._waiting:
            return
        if not (self.is_full or self._is_strained()):
            waiting, self._waiting = self._waiting, {}
            for holder in waiting:
                holder.lighten()
        elif self._leader is None:
            self._leader = next(iter(self._waiting))
            del self._waiting[self._leader]
            self._leader.lighten()
