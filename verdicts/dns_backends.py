"""Who asks the network: aiodns for host names, dnspython for all else and where aiodns is missing; the only importer of either.

*Standards.* RFC 1035, RFC 2308 (negative answers; ours live 60 s, because aiodns hides the SOA).
*Failure.* Never raises for DNS: SERVFAIL, refusal, timeout and an unreachable resolver are TEMPORARY answers.
"""

import asyncio
import weakref
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver

from verdicts.ports import Answer, Lookup

try:
    import aiodns

    _cares: Any = aiodns.pycares  # type: ignore[attr-defined]
except ImportError:  # no wheel for this platform: slower, same answers
    aiodns = None  # type: ignore[assignment]

NEGATIVE_SECONDS = 60
TEMPORARY_SECONDS = 5
MAXIMUM_TTL_SECONDS = 3600
MAXIMUM_RECORDS = 64

NOT_A_NAME = Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS, detail="not a DNS name")
UNREACHABLE = Answer(outcome=Lookup.TEMPORARY, ttl=TEMPORARY_SECONDS, detail="no resolver reachable")
UNREADABLE = Answer(outcome=Lookup.TEMPORARY, ttl=TEMPORARY_SECONDS, detail="unreadable answer")
TIMEOUT = Answer(outcome=Lookup.TEMPORARY, ttl=TEMPORARY_SECONDS, detail="TIMEOUT")


class Backend(Protocol):
    """Asks the network."""

    def ask(self, name: str, type: str) -> "asyncio.Future[Any]":  # noqa: A002
        """A question, on its way."""

    def read(self, asked: "asyncio.Future[Any]", type: str) -> tuple[Answer, bool]:  # noqa: A002
        """The answer to a question that is done, and whether any server answered, be it with an error."""

    async def close(self) -> None: ...


def has_aiodns() -> bool:
    return aiodns is not None


def _records(found: list[tuple[str, int]]) -> Answer:
    if not found:
        return Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS)
    ttl = max(1, min(MAXIMUM_TTL_SECONDS, *(seconds for _, seconds in found)))
    # Sorted: servers rotate their answers, and equal answers should have equal evidence.
    records = tuple(sorted(text for text, _ in found))[:MAXIMUM_RECORDS]
    return Answer(outcome=Lookup.RECORDS, records=records, ttl=ttl)


class _OnTheLoop(aiodns.DNSResolver if aiodns is not None else object):  # type: ignore[misc]
    """c-ares on the event loop's own sockets. A thread of its own, as aiodns prefers, must take the interpreter's lock for each
    answer, and a busy loop gives it away every 5 ms only."""

    def _make_channel(self, **options: Any) -> tuple[bool, Any]:
        known = weakref.ref(self)  # as aiodns does: the channel would keep us, and we the channel

        def watch(descriptor: int, is_read: bool, is_written: bool) -> None:
            resolver = known()
            if resolver is None:
                return
            # aiodns would watch for room to write until the socket is closed, and there always is.
            if not is_written and descriptor in resolver._write_fds:
                resolver._write_fds.discard(descriptor)
                resolver.loop.remove_writer(descriptor)
            resolver._sock_state_cb(descriptor, is_read, is_written)

        return False, _cares.Channel(sock_state_cb=watch, timeout=self._timeout, **options)


def are_on_this_machine(servers: Sequence[str]) -> bool:
    """Whether questions to these servers (`ip`, `ip:port` or `[ip]:port`) never leave it."""
    return bool(servers) and all(ip_address(_host_port(server)[0].partition("%")[0]).is_loopback for server in servers)


def _of_resolv_conf() -> Sequence[str]:
    try:
        return [str(server) for server in dns.resolver.Resolver().nameservers]
    except dns.resolver.NoResolverConfiguration:
        return ()


class Aiodns:
    """c-ares through aiodns. It retries, turns to TCP and to the next server by itself.

    *Trust.* It opens a socket for each question: who would forge the answer has to guess the port too (RFC 5452 §4.5). Nobody
    guesses at what never leaves this machine: there one socket stays, and a question costs up to a third less.
    """

    def __init__(self, nameservers: Sequence[str] | None, seconds: float) -> None:
        near = are_on_this_machine(_of_resolv_conf() if nameservers is None else nameservers)
        flags = _cares.ARES_FLAG_EDNS | _cares.ARES_FLAG_STAYOPEN if near else None  # the first alone is the default
        self._resolver = _OnTheLoop(nameservers=nameservers, timeout=seconds / 3, tries=3, flags=flags)
        error = aiodns.error
        self._none = {
            error.ARES_ENOTFOUND: Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS, detail="NXDOMAIN"),
            error.ARES_ENODATA: Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS),
            error.ARES_EBADNAME: NOT_A_NAME,
        }
        self._failed = {
            error.ARES_ESERVFAIL: "SERVFAIL",
            error.ARES_EREFUSED: "REFUSED",
            error.ARES_EFORMERR: "FORMERR",
            error.ARES_ENOTIMP: "NOTIMP",
            error.ARES_EBADRESP: "malformed answer",
        }
        self._types = {"TXT": 16, "A": 1, "AAAA": 28, "MX": 15, "PTR": 12, "CNAME": 5}

    def ask(self, name: str, type: str) -> "asyncio.Future[Any]":  # noqa: A002
        asked: asyncio.Future[Any] = self._resolver.query_dns(name, type)
        return asked

    def read(self, asked: "asyncio.Future[Any]", type: str) -> tuple[Answer, bool]:  # noqa: A002
        try:
            result = asked.result()
        except aiodns.error.DNSError as error:
            return self._failure(error.args[0])
        wanted = self._types.get(type)
        return _records([(_text(type, row.data), row.ttl) for row in result.answer if row.type == wanted]), True

    def _failure(self, code: int) -> tuple[Answer, bool]:
        if code in self._none:
            return self._none[code], True
        if code in self._failed:
            return Answer(outcome=Lookup.TEMPORARY, ttl=TEMPORARY_SECONDS, detail=self._failed[code]), True
        return (TIMEOUT if code == aiodns.error.ARES_ETIMEOUT else UNREACHABLE), False

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


class Dnspython:
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

    def ask(self, name: str, type: str) -> "asyncio.Future[Any]":  # noqa: A002
        whole = name.removesuffix(".") + "."
        return asyncio.ensure_future(self._resolver.resolve(whole, type, search=False, lifetime=self._seconds))

    def read(self, asked: "asyncio.Future[Any]", type: str) -> tuple[Answer, bool]:  # noqa: A002
        try:
            found = asked.result()
        except dns.resolver.NXDOMAIN:
            return Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS, detail="NXDOMAIN"), True
        except dns.resolver.NoAnswer:
            return Answer(outcome=Lookup.NONE, ttl=NEGATIVE_SECONDS), True
        except dns.exception.Timeout:
            return TIMEOUT, False
        except dns.resolver.NoNameservers as error:
            heard = any(response is not None for *_, response in error.kwargs.get("errors", ()))
            detail = "SERVFAIL" if heard else UNREACHABLE.detail
            return Answer(outcome=Lookup.TEMPORARY, ttl=TEMPORARY_SECONDS, detail=detail), heard
        except (dns.exception.DNSException, OSError):
            return UNREACHABLE, False
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
