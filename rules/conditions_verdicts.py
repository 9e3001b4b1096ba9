"""Conditions on verdicts. What a verdict could not be is not what it was not: with a temporary failure the answer is unknown.

A verdict in temperror (or a scanner that failed) may turn out to be anything, so `dmarc: FAIL` is unknown then; `dmarc:
PROCESSING_FAILED` and `{result: temperror}` ask about the failure itself and are answered. permerror is an answer: it stays so.
DISABLED is one too: nobody will ever judge.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mail.address import Mailbox
from mail.verdict import ScanResult, Status, Verdicts
from rules.conditions_numbers import holds_all
from rules.conditions_strings import UNSENT, AddressLists, Known, Source, compile_string, domain_text
from rules.facts import NOT_YET, Facts, Seen, Test

SCANS = ("spam", "virus")


def compile_verdict(method: str, value: Mapping[str, Any]) -> Test:
    """`spf dkim dmarc arc spam virus` in each of their forms."""
    if "status" in value:
        return _status(method, frozenset(value["status"]))
    if "result" in value:
        return _result(method, frozenset(value["result"]))
    if "trusted" in value:
        return _trusted(value["trusted"])
    if "symbol" in value:
        return _symbol(method, frozenset(symbol.lower() for symbol in value["symbol"]))
    return _score(value["score"])


class Failure(NamedTuple):
    """What kept a verdict from being known. It may pass, or a later attempt would fail the same (a message too large to scan)."""

    reason: str
    is_temporary: bool = True

    def seen(self, saw: str = "") -> Seen:
        return Seen(None, saw or self.reason, is_temporary=self.is_temporary)


def _failure(verdicts: Verdicts, method: str) -> Failure | None:
    """What kept this verdict from being known; None where it is known."""
    if method in SCANS:
        scan = _scan(verdicts, method)
        failed = scan.status is Status.PROCESSING_FAILED
        return Failure(scan.reason or "scanner failed", scan.is_temporary) if failed else None
    results = [result.result for result in verdicts.results(method)]
    return Failure("temperror") if "temperror" in results and "pass" not in results else None


def _scan(verdicts: Verdicts, method: str) -> ScanResult:
    return verdicts.spam if method == "spam" else verdicts.virus


def _status(method: str, wanted: frozenset[str]) -> Test:
    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.verdicts is None:
            return NOT_YET
        status = facts.verdicts.status(method).value
        failure = _failure(facts.verdicts, method)
        if failure and status not in wanted:
            return failure.seen(f"{status} ({failure.reason})")
        return Seen(status in wanted, status)

    return test


def _result(method: str, wanted: frozenset[str]) -> Test:
    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.verdicts is None:
            return NOT_YET
        if facts.verdicts.status(method) is Status.DISABLED:
            return Seen(False, Status.DISABLED.value)
        # An unsigned message has no DKIM result; RFC 8601 §2.7.1 calls that none.
        results = [result.result for result in facts.verdicts.results(method)] or ["none"]
        saw = results[0] if len(results) == 1 else results
        if not wanted.isdisjoint(results):
            return Seen(True, saw)
        # Of several signatures each may still become anything, whatever the others said.
        return Seen(None, saw, is_temporary=True) if "temperror" in results else Seen(False, saw)

    return test


def _trusted(wanted: bool) -> Test:
    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.verdicts is None:
            return NOT_YET
        arc = facts.verdicts.arc
        if arc.result == "temperror":
            return Seen(None, "temperror", is_temporary=True)
        is_trusted = arc.result == "pass" and arc.properties.get("policy.trusted") == "true"
        if facts.verdicts.status("arc") is Status.DISABLED:
            return Seen(not wanted, Status.DISABLED.value)
        saw = "trusted" if is_trusted else f"{arc.result}, no trusted sealer" if arc.result == "pass" else arc.result
        return Seen(is_trusted is wanted, saw)

    return test


def _symbol(method: str, wanted: frozenset[str]) -> Test:
    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.verdicts is None:
            return NOT_YET
        symbols = list(_scan(facts.verdicts, method).symbols)
        if any(symbol.lower() in wanted for symbol in symbols):
            return Seen(True, symbols)
        failure = _failure(facts.verdicts, method)
        return failure.seen() if failure else Seen(False, symbols)

    return test


def _score(bounds: Mapping[str, float]) -> Test:
    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.verdicts is None:
            return NOT_YET
        failure = _failure(facts.verdicts, "spam")
        if failure:
            return failure.seen()
        score = facts.verdicts.spam.score
        return Seen(False, facts.verdicts.spam.status.value) if score is None else Seen(holds_all(bounds, score), score)

    return test


def compile_dmarc_policy(value: Mapping[str, Any], _: AddressLists) -> Test:
    """The policy that the From domain's record asks for; a domain without a record asks for nothing, not for none."""
    wanted = frozenset(value["policy"])

    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.verdicts is None:
            return NOT_YET
        if facts.verdicts.status("dmarc") is Status.DISABLED:
            return Seen(False, Status.DISABLED.value)
        policy = facts.verdicts.dmarc_policy
        if policy is None and facts.verdicts.dmarc.result == "temperror":
            return Seen(None, "temperror", is_temporary=True)
        return Seen(policy in wanted, policy)

    return test


def _from_domain_aligned(verdicts: Verdicts) -> Iterable[str]:
    return [verdicts.from_domain_aligned] if verdicts.from_domain_aligned else []


def _spf_domain(verdicts: Verdicts) -> Iterable[str]:
    return [verdicts.spf_domain] if verdicts.spf_domain else []


def _dkim_domain(verdicts: Verdicts) -> Iterable[str]:
    return [domain for domain in verdicts.dkim_domains if domain]


_IDENTITIES = {
    "from_domain_aligned": (("dmarc",), (_from_domain_aligned,)),
    "spf_domain": (("spf",), (_spf_domain,)),
    "dkim_domain": (("dkim",), (_dkim_domain,)),
    "authenticated_domain": (("dmarc", "spf", "dkim"), (_from_domain_aligned, _spf_domain, _dkim_domain)),
}


def authenticated(name: str) -> Source:
    """The domains that really authenticated; with a method in temperror there may be more of them than are known."""
    methods, identities = _IDENTITIES[name]

    def source(facts: Facts, _: Mailbox | None) -> Known:
        verdicts = facts.verdicts
        if verdicts is None:
            return UNSENT
        domains = dict.fromkeys(domain for identity in identities for domain in identity(verdicts))
        failed = [method for method in methods if any(one.result == "temperror" for one in verdicts.results(method))]
        missing = ", ".join(f"{method} temperror" for method in failed)
        return Known([domain_text(domain) for domain in domains], missing, is_temporary=bool(missing))

    return source


def compile_identity(name: str, value: Mapping[str, Any], lists: AddressLists) -> Test:
    """`authenticated_domain`, and singly `from_domain_aligned`, `spf_domain` and `dkim_domain`."""
    return compile_string(value, lists, authenticated(name), syntax="domain")
