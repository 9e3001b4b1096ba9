"""DNS from the network: aiodns behind a cache, dnspython where aiodns is missing; the only place that imports either.

*Standards.* RFC 1035, RFC 2308 (negative answers; ours live 60 s, because aiodns hides the SOA), RFC 8020.
*Trust.* Answers are hostile: names and records are text that nobody escapes for the reader. Names come from hostile
records too; what is no DNS name is answered NONE without a question. No search domain is ever appended.
*Failure.* Never raises for DNS: SERVFAIL, refusal, timeout and an unreachable resolver are TEMPORARY answers.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver

from mail.counters import Counters, key
from mail.values import changed
from verdicts.dns_names import presentation
from verdicts.ports import Answer, Lookup

try:
    import aiodns
except ImportError:  # no wheel for this platform: slower, same answers
    aiodns = None  # type: ignore[assignment]

NEGATIVE_SECONDS = 60
TEMPORARY_SECONDS = 5
MAXIMUM_TTL_SECONDS = 3600
MAXIMUM_RECORDS = 64
QUERY_SECONDS = 6.0
# A resolver that was never heard of, or not for a minute, gets this long to show that it is there at all.
PATIENCE_SECONDS = 1.5
HEARD_SECONDS = 60.0

_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]+\Z")
_NOT_A_NAME = Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS, detail="not a DNS name")
_UNREACHABLE = Answer(outcome=Lookup.TEMPORARY, ttl=TEMPORARY_SECONDS, detail="no resolver reachable")
_TIMEOUT = Answer(outcome=Lookup.TEMPORARY, ttl=TEMPORARY_SECONDS, detail="TIMEOUT")


_HITS, _MISSES = key("dns_cache_hits_total"), key("dns_cache_misses_total")
Question = tuple[str, str]


class Backend(Protocol):
    """Asks the network once; `heard` says whether any server answered, be it with an error."""

    async def query(self, name: str, type: str) -> tuple[Answer, bool]: ...  # noqa: A002

    async def close(self) -> None: ...


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
        self._use_aiodns = use_aiodns and aiodns is not None
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
                return _NOT_A_NAME
            if self._clock() < self._silent_until:
                return _UNREACHABLE
            self._misses.value += 1
            task = asyncio.create_task(self._ask(question, written))
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

    async def _ask(self, question: Question, written: str) -> Answer:
        query = asyncio.create_task(self._query(written, question[1]))
        if self._clock() - self._heard_at > HEARD_SECONDS:
            if self._probe is None or self._probe.done():
                # The root's name servers are in every resolver's cache: whoever is there answers this at once.
                self._probe = asyncio.create_task(self._query(".", "NS"))
            await asyncio.wait((query,), timeout=PATIENCE_SECONDS)
            if not query.done() and self._clock() - self._heard_at > HEARD_SECONDS:
                query.cancel()
                self._silent_until = self._clock() + TEMPORARY_SECONDS
                return _UNREACHABLE
        answer, _ = await query
        self._keep(question, answer)
        return answer

    async def _query(self, written: str, type_: str) -> tuple[Answer, bool]:
        try:
            async with asyncio.timeout(self._seconds):
                answer, heard = await self._backend_for(written).query(written, type_)
        except TimeoutError:
            return _TIMEOUT, False
        if heard:
            self._heard_at = self._clock()
        elif answer is _UNREACHABLE and self._clock() - self._heard_at > HEARD_SECONDS:
            self._silent_until = self._clock() + TEMPORARY_SECONDS
        return answer, heard

    def _backend_for(self, written: str) -> Backend:
        # c-ares refuses every name that is no host name; those of SPF macros may hold anything ("%{l}").
        fast = self._use_aiodns and _HOST_NAME.match(written) is not None
        if fast not in self._backends:
            self._backends[fast] = (_Aiodns if fast else _Dnspython)(self._nameservers, self._seconds)
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


def _records(found: list[tuple[str, int]]) -> Answer:
    if not found:
        return Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS)
    ttl = max(1, min(MAXIMUM_TTL_SECONDS, *(seconds for _, seconds in found)))
    # Sorted: servers rotate their answers, and equal answers should have equal evidence.
    records = tuple(sorted(text for text, _ in found))[:MAXIMUM_RECORDS]
    return Answer(outcome=Lookup.RECORDS, records=records, ttl=ttl)


class _Aiodns:
    """c-ares through aiodns. It retries, turns to TCP and to the next server by itself."""

    def __init__(self, nameservers: Sequence[str] | None, seconds: float) -> None:
        self._resolver = aiodns.DNSResolver(nameservers=nameservers, timeout=seconds / 3, tries=3)
        error = aiodns.error
        self._none = {
            error.ARES_ENOTFOUND: Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS, detail="NXDOMAIN"),
            error.ARES_ENODATA: Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS),
            error.ARES_EBADNAME: _NOT_A_NAME,
        }
        self._failed = {
            error.ARES_ESERVFAIL: "SERVFAIL",
            error.ARES_EREFUSED: "REFUSED",
            error.ARES_EFORMERR: "FORMERR",
            error.ARES_ENOTIMP: "NOTIMP",
            error.ARES_EBADRESP: "malformed answer",
        }
        self._types = {"TXT": 16, "A": 1, "AAAA": 28, "MX": 15, "PTR": 12, "CNAME": 5}

    async def query(self, name: str, type: str) -> tuple[Answer, bool]:  # noqa: A002
        try:
            result = await self._resolver.query_dns(name, type)
        except aiodns.error.DNSError as error:
            return self._failure(error.args[0])
        wanted = self._types.get(type)
        return _records([(_text(type, row.data), row.ttl) for row in result.answer if row.type == wanted]), True

    def _failure(self, code: int) -> tuple[Answer, bool]:
        if code in self._none:
            return self._none[code], True
        if code in self._failed:
            return Answer(outcome=Lookup.TEMPORARY, ttl=TEMPORARY_SECONDS, detail=self._failed[code]), True
        return (_TIMEOUT if code == aiodns.error.ARES_ETIMEOUT else _UNREACHABLE), False

    async def close(self) -> None:
        await self._resolver.close()


def _text(type_: str, data: Any) -> str:
    match type_:
        case "TXT":
            return str(data.data.decode("latin-1"))
        case "MX":
            return f"{data.priority} {data.exchange.removesuffix('.')}"
        case "PTR":
            return str(data.dname.removesuffix("."))
        case "CNAME":
            return str(data.cname.removesuffix("."))
    return str(data.addr)


class _Dnspython:
    """dnspython's asyncio resolver."""

    def __init__(self, nameservers: Sequence[str] | None, seconds: float) -> None:
        self._seconds = seconds
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=nameservers is None)
        except dns.resolver.NoResolverConfiguration:
            self._resolver = dns.asyncresolver.Resolver(configure=False)
        if nameservers is not None:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(*_host_port(text)) for text in nameservers]
        self._resolver.timeout = seconds / 3

    async def query(self, name: str, type: str) -> tuple[Answer, bool]:  # noqa: A002
        try:
            found = await self._resolver.resolve(
                name.removesuffix(".") + ".", type, search=False, lifetime=self._seconds
            )
        except dns.resolver.NXDOMAIN:
            return Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS, detail="NXDOMAIN"), True
        except dns.resolver.NoAnswer:
            return Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS), True
        except dns.exception.Timeout:
            return _TIMEOUT, False
        except dns.resolver.NoNameservers as error:
            heard = any(response is not None for *_, response in error.kwargs.get("errors", ()))
            detail = "SERVFAIL" if heard else _UNREACHABLE.detail
            return Answer(outcome=Lookup.TEMPORARY, ttl=TEMPORARY_SECONDS, detail=detail), heard
        except (dns.exception.DNSException, OSError):
            return _UNREACHABLE, False
        ttl = found.rrset.ttl if found.rrset is not None else NEGATIVE_SECONDS
        return _records([(_rdata_text(type, rdata), ttl) for rdata in found]), True

    async def close(self) -> None:
        """Nothing stays open between queries."""


def _rdata_text(type_: str, rdata: Any) -> str:
    match type_:
        case "TXT":
            return b"".join(rdata.strings).decode("latin-1")
        case "MX":
            return f"{rdata.preference} {rdata.exchange.to_text(omit_final_dot=True).removesuffix('.')}"
        case "PTR" | "CNAME":
            return str(rdata.target.to_text(omit_final_dot=True))
    return str(rdata)


def _host_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, int(port[1:] or 53)
    host, _, port = text.partition(":") if text.count(":") == 1 else (text, "", "")
    return host, int(port or 53)
