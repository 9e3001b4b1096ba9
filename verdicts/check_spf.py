"""SPF by pyspf, hardened: the only place that imports it.

*Standards.* RFC 7208; RFC 8601 §2.7.2 (properties).
*Trust.* Every input is hostile: the address, HELO, the client's DNS and the records of whatever domain the address names.
pyspf splits an address at its first "@", asks the system resolver, reads the clock and lets library exceptions escape; here
it gets a split address, our answers and the time of receipt, and anything it raises is a result. An `exp=` text is a
stranger's prose that nobody needs, so it is never fetched.
*Failure.* `Need` and `OverBudget` of the inquiry; nothing else.
"""

import ipaddress
import re
from datetime import datetime
from functools import lru_cache
from typing import Any

import spf

from mail.address import Mailbox
from mail.verdict import AuthResult
from verdicts.inquiry import Ask, OverBudget
from verdicts.ports import Lookup
from verdicts.spf_memory import SpfMemory
from verdicts.spf_plain import plain_result

REASON_LENGTH = 200
_UNMATCHED = "nothing matched"

_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)+\Z", re.I
)
# RFC 7208 §7.1: macro-expand; a number of labels is not 0.
_MACRO = re.compile(r"%(?:[%_-]|\{[a-z](?:0*[1-9][0-9]*)?r?[-.+,/_=]*\})", re.I)
_UNPRINTABLE = re.compile(r"[^ -~]+")


def _value(qtype: str, record: str) -> object:
    """A record in pyspf's own form."""
    if qtype == "TXT":
        return record.encode("latin-1", "replace")
    if qtype == "MX":
        preference, _, host = record.partition(" ")
        return (int(preference), host)
    return record


@lru_cache(maxsize=4096)
def _network(address: str, prefix: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(address).supernet(new_prefix=prefix)


_memory = SpfMemory()


class _Query(spf.query):  # type: ignore[misc]
    """pyspf's evaluation over our answers, with its deviations from RFC 7208 put right."""

    ask: Ask

    def dns(self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False) -> list[Any]:
        """The records of a name; CNAMEs are followed already. Counts void lookups (RFC 7208 §4.6.4)."""
        del cnames
        name = str(name).removesuffix(".").lower()
        if not all(0 < len(label) < 64 for label in name.split(".")):
            return []
        found = self.cache.get((name, qtype))
        if found is None:
            answer = self.ask(name, qtype)
            if answer.outcome is Lookup.TEMPORARY:
                raise spf.TempError(f"{answer.detail} for {qtype} {name}")
            found = self.cache[name, qtype] = [_value(qtype, record) for record in answer.records]
        if not found and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"Void lookup limit of {spf.MAX_VOID_LOOKUPS} exceeded")
        return list(found)

    def dns_txt(self, domainname: str, rr: str = "TXT", ignore_void: bool = False) -> list[bytes]:
        return self.dns(domainname, rr, ignore_void=ignore_void) if domainname else []

    def expand(self, text: str, stripdot: bool = True) -> str:
        """RFC 7208 §7.1, which pyspf reads loosely: a macro that its grammar does not know makes the record an error."""
        if "%" in text:
            if "%" in _MACRO.sub("", text):
                raise spf.PermError("invalid macro", text)
            text = _MACRO.sub(lambda macro: macro[0][:3] + macro[0][3:].lower(), text)  # it knows no R for r
        return str(super().expand(text, stripdot))

    def get_explanation(self, spec: str) -> None:
        """Not fetched; a record with a bad `exp=` is still a permerror, because the domain is expanded before this."""

    def cidrmatch(self, ipaddrs: list[str], n: int) -> bool:
        """Whether the client is in one of these networks; what is no address is the record's fault."""
        try:
            return any(self.ipaddr in _network(address, n) for address in ipaddrs)
        except ValueError as error:
            raise spf.PermError(str(error)) from None

    def validated_ptrs(self) -> list[str]:
        """RFC 7208 §5.5: a failed PTR lookup is no match, a name whose address lookup fails is skipped."""
        try:
            names = self.dns_ptr(self.i)[: spf.MAX_PTR]
        except spf.TempError:
            return []
        valid = []
        for name in names:
            try:
                if self.cidrmatch(self.dns_a(name, self.A), self.cidrmax):
                    valid.append(name)
            except spf.TempError:
                continue
        return valid


def check_spf(
    ask: Ask,
    *,
    ip: str | None,
    helo: str | None,
    reverse_path: Mailbox | None,
    received_at: datetime,
    receiver: str = "unknown",
) -> AuthResult:
    """The MAIL FROM identity's result; HELO's for the null sender (RFC 7208 §2.4)."""
    if reverse_path is None:
        local, domain = "postmaster", (helo or "").removesuffix(".")
        properties = {"smtp.helo": helo or ""}
    else:
        local, _, domain = str(reverse_path).rpartition("@")
        # RFC 7208 §4.3: an empty local-part reads postmaster.
        local = "postmaster" if local in ("", '""') else local
        properties = {"smtp.mailfrom": str(reverse_path)}
    if ip is None:
        return AuthResult(method="spf", result="none", reason="no client address", properties=properties)
    if not _DOMAIN.match(domain):
        # RFC 7208 §4.3: not a multi-label domain name: none, before any record is asked for.
        return AuthResult(method="spf", result="none", reason="not a domain name", properties=properties)
    result, reason = _evaluate(ask, ip.partition("%")[0], local, domain, helo or "", received_at, receiver)
    return AuthResult(method="spf", result=result, reason=reason, properties=properties)


def _evaluate(
    ask: Ask, ip: str, local: str, domain: str, helo: str, received_at: datetime, receiver: str
) -> tuple[str, str]:
    plain = plain_result(ask, ip, domain)
    if plain is not None:
        result, directive = plain
        return result, _printable(f"matched {directive}") if directive else _UNMATCHED
    known = _memory.recall(ask, ip, domain)
    if known is not None:
        return known
    try:
        query = _Query(i=ip, s=f"{local}@{domain}", h=helo, receiver=receiver)
        # The constructor splits at the first "@" and reads the clock; %{t} is the time of receipt.
        query.l, query.o, query.d = local, domain, domain
        query.ask = ask
        query.t = str(int(received_at.timestamp()))
        result = query.check()[0]
        reason = _reason(query, result)
        _memory.keep(ask, ip, domain, result, reason)
        return result, reason
    except OverBudget:
        raise
    except (spf.PermError, spf.TempError) as error:
        return "permerror" if isinstance(error, spf.PermError) else "temperror", _printable(str(error))
    except Exception as error:  # a hostile record found a hole in pyspf: the record is at fault
        return "permerror", f"record cannot be evaluated ({type(error).__name__})"


def _reason(query: Any, result: str) -> str:
    if result in ("permerror", "temperror"):
        return _printable(" ".join((str(query.prob), *map(str, query.mech))))
    if result == "none":
        return "no SPF record"
    return _printable(f"matched {query.mechanism}") if query.mechanism else _UNMATCHED


def _printable(text: str) -> str:
    """A stranger's text as one line of printable ASCII."""
    return _UNPRINTABLE.sub("?", text)[:REASON_LENGTH]
