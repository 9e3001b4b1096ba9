"""SPF records of networks, includes and redirects alone, evaluated over numbers: what most senders publish.

pyspf reads and checks every record anew for every message, which is a fifth of what judging a small one costs; here a record is
read once for its text. Whatever is not plain in any record that is met (another mechanism, a macro, a failed or empty answer, a
look-up too many, any error) is pyspf's to judge, from the start: so result, reason and the answers used are always pyspf's.

*Standards.* RFC 7208 §4.6, §5.1, §5.2, §5.6, §6.1. *Trust.* Records are hostile; patterns are linear and look-ups are counted.
*Failure.* `Need` and `OverBudget` of the inquiry.
"""

import ipaddress
import re
from functools import lru_cache

from mail.values import Value
from verdicts.inquiry import Ask
from verdicts.ports import Lookup

LOOKUPS = 10  # RFC 7208 §4.6.4
RECORD_OCTETS = 4096

_VERSION = "v=spf1"
_QUALIFIERS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral", "": "pass"}
_NAME = r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z]{2,63}"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_NAME}\Z")
_TERM = re.compile(
    rf"([+~?-]?)(?:(all)|ip4:([0-9.]+)(?:/([1-9]?[0-9]))?|ip6:([0-9a-f:]+)(?:/([1-9]?[0-9]{{1,2}}))?|include:({_NAME}))\Z"
)
_REDIRECT = re.compile(rf"redirect=({_NAME})\Z")


class _NotPlain(Exception):
    """pyspf's to judge."""


class Term(Value, frozen=True, kw_only=True):
    """One directive: of all clients (`width` 0), of those whose address of `width` bits begins with `prefix`, or an include."""

    text: str
    result: str
    width: int = 0
    shift: int = 0
    prefix: int = 0
    include: str = ""


class PlainRecord(Value, frozen=True, kw_only=True):
    terms: tuple[Term, ...]
    included: frozenset[str]
    redirect: str


def plain_result(ask: Ask, ip: str, domain: str) -> tuple[str, str] | None:
    """The result and the directive that matched ("" for none); None where it is pyspf's to judge."""
    address = _numbers(ip)
    if address is None or not _DOMAIN.match(domain):
        return None
    try:
        return _Evaluation(ask, *address).of(domain)
    except _NotPlain:
        return None


class _Evaluation:
    def __init__(self, ask: Ask, number: int, width: int) -> None:
        self._ask = ask
        self._number, self._width = number, width
        self._lookups = 0

    def of(self, domain: str) -> tuple[str, str]:
        record = self._record(domain)
        if domain in record.included:
            raise _NotPlain
        if record.redirect:
            self._count()
        for term in record.terms:
            if self._matches(term):
                return term.result, term.text
        return self.of(record.redirect) if record.redirect else ("neutral", "")

    def _matches(self, term: Term) -> bool:
        if term.include:
            self._count()
            return self.of(term.include)[0] == "pass"
        return not term.width or (term.width == self._width and self._number >> term.shift == term.prefix)

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > LOOKUPS:
            raise _NotPlain

    def _record(self, domain: str) -> PlainRecord:
        answer = self._ask(domain, "TXT")
        found = [text for text in answer.records if text[: len(_VERSION)].lower() == _VERSION]
        record = _parsed(found[0]) if len(found) == 1 and answer.outcome is Lookup.RECORDS else None
        if record is None:
            raise _NotPlain
        return record


@lru_cache(maxsize=1024)
def _numbers(ip: str) -> tuple[int, int] | None:
    """An address and its width in bits; None for what is no address."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return None
    return int(address), address.max_prefixlen


@lru_cache(maxsize=4096)
def _parsed(text: str) -> PlainRecord | None:
    """Keyed by the text, so it is never older than the record."""
    version, *terms = text.split(" ")
    if version != _VERSION or len(text) > RECORD_OCTETS:
        return None
    redirects = [term for term in terms if term.startswith("redirect=")]
    directives = [_directive(term) for term in terms if term and not term.startswith("redirect=")]
    redirect = _REDIRECT.match(redirects[0]) if len(redirects) == 1 else None
    if None in directives or (redirects and redirect is None):
        return None
    known = tuple(directive for directive in directives if directive is not None)
    included = frozenset(directive.include for directive in known)
    return PlainRecord(terms=known, included=included, redirect=redirect[1] if redirect else "")


def _directive(text: str) -> Term | None:
    match = _TERM.match(text)
    if match is None:
        return None
    qualifier, _, ip4, length4, ip6, length6, include = match.groups()
    term = Term(text=text, result=_QUALIFIERS[qualifier], include=include or "")
    if ip4 is None and ip6 is None:
        return term
    try:
        address = ipaddress.ip_address(ip4 or ip6)
    except ValueError:
        return None
    width = address.max_prefixlen
    shift = width - int(length4 or length6 or width)
    if shift < 0 or width != (128 if ip4 is None else 32):
        return None
    return Term(text=text, result=term.result, width=width, shift=shift, prefix=int(address) >> shift)
