"""DNS from the network, behind a cache that lives as long as the answers do.

*Standards.* RFC 1035, RFC 8020.
*Trust.* Answers are hostile: names and records are text that nobody escapes for the reader. Names come from hostile
records too; what is no DNS name is answered NONE without a question. No search domain is ever appended.
*Failure.* Never raises for DNS: SERVFAIL, refusal, timeout and an unreachable resolver are TEMPORARY answers.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mail.counters import Counters, key
from mail.values import changed
from verdicts.dns_backends import (
    NOT_A_NAME,
    TEMPORARY_SECONDS,
    TIMEOUT,
    UNREACHABLE,
    UNREADABLE,
    Aiodns,
    Backend,
    Dnspython,
    has_aiodns,
)
from verdicts.dns_names import presentation
from verdicts.ports import Answer

QUERY_SECONDS = 6.0
# A resolver that was never heard of, or not for a minute, gets this long to show that it is there at all.
PATIENCE_SECONDS = 1.5
HEARD_SECONDS = 60.0

_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]+\Z")
_HITS, _MISSES = key("dns_cache_hits_total"), key("dns_cache_misses_total")
Question = tuple[str, str]
_ROOT: Question = (".", "NS")


@dataclass(slots=True, eq=False)
class _Flight:
    """A question on its way, and who waits for the answer."""

    question: Question
    backend: Backend
    asked: asyncio.Future[Any]
    timer: asyncio.TimerHandle | None = None
    waiters: list[asyncio.Future[Answer]] = field(default_factory=list)


class LiveResolver:
    """The resolver of one event loop. `nameservers` are `ip`, `ip:port` or `[ip]:port`; by default those of resolv.conf."""

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        *,
        cache_entries: int = 20_000,
        query_seconds: float = QUERY_SECONDS,
        use_aiodns: bool = True,
        clock: Callable[[], float] = time.monotonic,
        counters: Counters | None = None,
    ) -> None:
        self._nameservers = nameservers
        self._entries = cache_entries
        self._seconds = query_seconds
        self._use_aiodns = use_aiodns and has_aiodns()
        self._clock = clock
        counters = counters or Counters()
        self._hits, self._misses = counters.cell(_HITS), counters.cell(_MISSES)
        self._cache: dict[Question, tuple[Answer, float]] = {}
        self._in_flight: dict[Question, _Flight] = {}
        self._backends: dict[bool, Backend] = {}
        self._heard_at = -HEARD_SECONDS
        self._silent_until = -HEARD_SECONDS

    def cached(self, name: str, type: str) -> Answer | None:  # noqa: A002
        """Without waiting: from the cache, with the seconds that are left of its time to live."""
        question = (name, type)
        if question not in self._cache:  # it may be written otherwise
            question = (name.lower().removesuffix("."), type)
        entry = self._cache.get(question)
        if entry is None:
            return None
        answer, expires = entry
        left = int(expires - self._clock())
        if left < 0:
            del self._cache[question]
            return None
        self._hits.value += 1
        if left != answer.ttl:
            answer = changed(answer, ttl=left)
            self._cache[question] = (answer, expires)
        return answer

    def lookup(self, name: str, type: str) -> asyncio.Future[Answer]:  # noqa: A002
        """The answer; equal questions in flight are asked once."""
        question = (name.lower().removesuffix("."), type)
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        flight = self._in_flight.get(question)
        if flight is not None:
            flight.waiters.append(waiter)
        elif (known := self.cached(*question)) is not None:
            waiter.set_result(known)
        elif (written := presentation(question[0])) is None:
            waiter.set_result(NOT_A_NAME)
        elif self._clock() < self._silent_until:
            waiter.set_result(UNREACHABLE)
        else:
            self._misses.value += 1
            self._ask(question, written).waiters.append(waiter)
        return waiter

    async def is_reachable(self) -> bool:
        """Whether some name server was heard of within the last minute, or answers now, be it with an error."""
        if self._clock() >= self._silent_until and not self._is_heard:
            waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            (self._in_flight.get(_ROOT) or self._ask(_ROOT, ".")).waiters.append(waiter)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiter, PATIENCE_SECONDS)
        return self._is_heard

    @property
    def _is_heard(self) -> bool:
        return self._clock() - self._heard_at <= HEARD_SECONDS

    def _ask(self, question: Question, written: str) -> _Flight:
        """The question leaves here and now, and is answered by callbacks: a task for each would cost as much as the rest."""
        backend = self._backend_for(written)
        flight = self._in_flight[question] = _Flight(question, backend, backend.ask(written, question[1]))
        flight.asked.add_done_callback(lambda _: self._arrived(flight))
        patience = self._seconds
        if not self._is_heard:
            patience = min(patience, PATIENCE_SECONDS)
            if _ROOT not in self._in_flight:
                # The root's name servers are in every resolver's cache: whoever is there answers this at once.
                self._ask(_ROOT, ".")
        flight.timer = asyncio.get_running_loop().call_later(patience, self._late, flight, patience)
        return flight

    def _late(self, flight: _Flight, waited: float) -> None:
        if not self._is_heard:
            self._silent_until = self._clock() + TEMPORARY_SECONDS
            self._land(flight, UNREACHABLE)
        elif waited < self._seconds:
            flight.timer = asyncio.get_running_loop().call_later(
                self._seconds - waited, self._late, flight, self._seconds
            )
        else:
            self._land(flight, TIMEOUT)

    def _arrived(self, flight: _Flight) -> None:
        if self._in_flight.get(flight.question) is not flight:
            return  # it came too late
        answer, heard = UNREADABLE, False
        try:
            answer, heard = flight.backend.read(flight.asked, flight.question[1])
        finally:  # our own fault is the loop's to report, and nobody waits for it
            self._land(flight, answer)
        if heard:
            self._heard_at = self._clock()
        elif answer is UNREACHABLE and not self._is_heard:
            self._silent_until = self._clock() + TEMPORARY_SECONDS

    def _land(self, flight: _Flight, answer: Answer) -> None:
        self._end(flight)
        self._keep(flight.question, answer)
        for waiter in flight.waiters:
            if not waiter.done():  # who waited may have been cancelled
                waiter.set_result(answer)

    def _end(self, flight: _Flight) -> None:
        del self._in_flight[flight.question]
        flight.asked.cancel()
        if flight.timer is not None:
            flight.timer.cancel()

    def _backend_for(self, written: str) -> Backend:
        # c-ares refuses every name that is no host name; those of SPF macros may hold anything ("%{l}").
        fast = self._use_aiodns and _HOST_NAME.match(written) is not None
        if fast not in self._backends:
            self._backends[fast] = (Aiodns if fast else Dnspython)(self._nameservers, self._seconds)
        return self._backends[fast]

    def _keep(self, question: Question, answer: Answer) -> None:
        if len(self._cache) >= self._entries:
            del self._cache[next(iter(self._cache))]
        self._cache[question] = (answer, self._clock() + answer.ttl)

    async def close(self) -> None:
        """Ends what is in flight."""
        for flight in [*self._in_flight.values()]:
            self._end(flight)
            for waiter in flight.waiters:
                waiter.cancel()
        for backend in self._backends.values():
            await backend.close()
        self._backends.clear()
