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
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from mail.counters import Counters, key
from mail.values import changed
from verdicts.dns_backends import (
    NOT_A_NAME,
    TEMPORARY_SECONDS,
    TIMEOUT,
    UNREACHABLE,
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
        self._in_flight: dict[Question, asyncio.Task[Answer]] = {}
        self._backends: dict[bool, Backend] = {}
        self._heard_at = -HEARD_SECONDS
        self._silent_until = -HEARD_SECONDS
        self._probe: asyncio.Task[tuple[Answer, bool]] | None = None

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

    async def lookup(self, name: str, type: str) -> Answer:  # noqa: A002
        """The answer; equal questions in flight are asked once."""
        question = (name.lower().removesuffix("."), type)
        known = self.cached(*question)
        if known is not None:
            return known
        task = self._in_flight.get(question)
        if task is None:
            written = presentation(question[0])
            if written is None:
                return NOT_A_NAME
            if self._clock() < self._silent_until:
                return UNREACHABLE
            self._misses.value += 1
            backend = self._backend_for(written)
            # The question leaves here and now: a task begins a turn of the loop later.
            task = asyncio.create_task(self._ask(question, backend, backend.ask(written, type)))
            self._in_flight[question] = task
            task.add_done_callback(lambda _: self._in_flight.pop(question, None))
        # A waiter that is cancelled must not take the answer from the others.
        return await asyncio.shield(task)

    async def is_reachable(self) -> bool:
        """Whether some name server was heard of within the last minute, or answers now, be it with an error."""
        if self._clock() - self._heard_at <= HEARD_SECONDS:
            return True
        if self._clock() < self._silent_until:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._query(".", "NS")
        return self._clock() - self._heard_at <= HEARD_SECONDS

    async def _ask(self, question: Question, backend: Backend, asked: asyncio.Future[Any]) -> Answer:
        if self._clock() - self._heard_at <= HEARD_SECONDS:
            answer, _ = await self._read(backend, asked, question[1])
        else:
            answer = await self._ask_who_was_not_heard(self._read(backend, asked, question[1]))
        self._keep(question, answer)
        return answer

    async def _ask_who_was_not_heard(self, reading: Coroutine[Any, Any, tuple[Answer, bool]]) -> Answer:
        query = asyncio.create_task(reading)
        if self._probe is None or self._probe.done():
            # The root's name servers are in every resolver's cache: whoever is there answers this at once.
            self._probe = asyncio.create_task(self._query(".", "NS"))
        await asyncio.wait((query,), timeout=PATIENCE_SECONDS)
        if not query.done() and self._clock() - self._heard_at > HEARD_SECONDS:
            query.cancel()
            self._silent_until = self._clock() + TEMPORARY_SECONDS
            return UNREACHABLE
        answer, _ = await query
        return answer

    async def _query(self, written: str, type_: str) -> tuple[Answer, bool]:
        backend = self._backend_for(written)
        return await self._read(backend, backend.ask(written, type_), type_)

    async def _read(self, backend: Backend, asked: asyncio.Future[Any], type_: str) -> tuple[Answer, bool]:
        try:
            async with asyncio.timeout(self._seconds):
                answer, heard = await backend.read(asked, type_)
        except TimeoutError:
            return TIMEOUT, False
        if heard:
            self._heard_at = self._clock()
        elif answer is UNREACHABLE and self._clock() - self._heard_at > HEARD_SECONDS:
            self._silent_until = self._clock() + TEMPORARY_SECONDS
        return answer, heard

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
        tasks = [*self._in_flight.values(), *([self._probe] if self._probe else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for backend in self._backends.values():
            await backend.close()
        self._backends.clear()
