"""DMARC over finished SPF and DKIM results.

*Standards.* RFC 9989 (tree walk, psd, np, t) by default, RFC 7489 (public suffix list, pct) by policy; RFC 8601 §2.7.
*Trust.* The From field and all records are hostile. Only what SPF or DKIM proved counts, and only for a domain that is aligned.
*Failure.* `Need` and `OverBudget` of the inquiry; everything else is a result.

Several author domains (several From fields, or several mailboxes) are evaluated each, and the most severe result is the
verdict, as RFC 7489 §6.6.1 has it: a second From must not hide the first. If all of them pass, or none has a policy, the
author is still ambiguous: permerror.

A failure is lifted where a trusted ARC sealer says that the message passed when it came there (RFC 8617 §7.2): the result is
pass, and its reason and the property `policy.arc` say on whose word. It is no proof: such a From domain does not count as
authenticated.
"""

import re
from collections.abc import Iterator

from mail.address import parse_domain
from mail.address_list import NamedAddress, parse_address_list
from mail.errors import Malformed
from mail.headers import HeaderView
from mail.values import Value, changed
from mail.verdict import AuthResult
from verdicts.alignment import Unreachable, policy_record, registrable_domain, tree_walk
from verdicts.check_dkim import UNSIGNED_OCTETS
from verdicts.dmarc_record import POLICIES, DmarcRecord, one_level_lower, parse_record
from verdicts.inquiry import Ask
from verdicts.policy import Policy
from verdicts.ports import Lookup
from verdicts.trusted_sealers import Attestation, claims_pass, dmarc_claims, passed_identities

_DNS_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\Z")
_QUOTED_STRING = re.compile(r'"(?:[^"\\]|\\.)*"\Z', re.DOTALL)
_BEHIND_AT = re.compile(r"@([^@,:<>\s\0]*)")

_WITHOUT_RECORD = parse_record("v=DMARC1")  # relaxed alignment

AUTHOR_DOMAINS = 4
FROM_OCTETS = 32 * 1024


class Discovery(Value, frozen=True, kw_only=True):
    """The policy that applies to an author domain, None if there is none; `found_at` is the domain that publishes it."""

    record: DmarcRecord | None
    found_at: str


class DmarcVerdict(Value, frozen=True, kw_only=True):
    """`policy` is none, quarantine or reject as the record asks for this domain, None without a record.

    `vouched_by` is the trusted ARC sealer that says that the message passed, whatever it does here; None if there is none.
    """

    result: AuthResult
    policy: str | None = None
    from_domain: str | None = None
    vouched_by: str | None = None


def author_domains(header: HeaderView) -> list[str]:
    """The domains of all From fields' mailboxes as A-labels, distinct, in order; one that is no domain is ""."""
    domains: list[str] = []
    for field in header.all("from"):
        if len(field.raw) > FROM_OCTETS:
            domains.append("")
            continue
        for named in parse_address_list(field.text):
            domains += _domains_of(named)
    return list(dict.fromkeys(domains))


def _domains_of(named: NamedAddress) -> list[str]:
    """Of an address that is none, `a@b@c` or with a route before it, each name that a reader may take for the author's."""
    local = named.address.rpartition("@")[0]
    if "@" not in local or _QUOTED_STRING.match(local):
        return [_author_domain(named.domain.removesuffix("."))]
    return [_author_domain(name) for name in _BEHIND_AT.findall(named.address)]


def _author_domain(text: str) -> str:
    if _DNS_NAME.match(text):
        # Wider than RFC 5322 needs: a name with "_" has no host, but it can have a policy, and readers show it.
        return text.lower()
    try:
        return parse_domain(text)
    except Malformed:
        return ""


def discover(ask: Ask, domain: str, policy: Policy) -> Discovery:
    """Find the record that governs this author domain: its own, else an ancestor's. Raises `Unreachable`."""
    record = policy_record(ask, domain)
    if record is not None:
        return Discovery(record=record, found_at=domain)
    if policy.dmarc == "rfc7489":
        organizational = registrable_domain(domain)
        return Discovery(record=policy_record(ask, organizational), found_at=organizational)
    walk = tree_walk(ask, domain)
    found = dict(walk.records)
    # RFC 9989 §4.10.1: the organizational domain's record, else the public suffix's.
    for name in (walk.organizational_domain, walk.public_suffix):
        if name is not None and name in found:
            return Discovery(record=found[name], found_at=name)
    return Discovery(record=None, found_at=domain)


def organizational_domain(ask: Ask, domain: str, policy: Policy) -> str:
    if policy.dmarc == "rfc7489":
        return registrable_domain(domain)
    return tree_walk(ask, domain).organizational_domain


def look_ahead(ask: Ask, domains: list[str], policy: Policy) -> bool:
    """Ask for the policy records already while SPF and DKIM wait for DNS; the answers are kept by the inquiry."""
    try:
        for domain in domains[:AUTHOR_DOMAINS]:
            if domain:
                discover(ask, domain, policy)
    except Unreachable:
        return False
    return True


def check_dmarc(
    ask: Ask,
    header: HeaderView,
    *,
    spf: AuthResult,
    dkim: tuple[AuthResult, ...],
    policy: Policy,
    attestations: tuple[Attestation, ...] = (),
) -> DmarcVerdict:
    """The From domain's verdict, its effective policy, and where the record stands, in the properties."""
    domains = author_domains(header)
    if not domains or domains == [""]:
        return DmarcVerdict(result=_result("permerror", "no author domain in From", {}))
    valid = [domain for domain in domains if domain]
    if len(domains) == 1 and len(header.all("from")) == 1:
        return _vouched(ask, _of_domain(ask, domains[0], spf, dkim, policy), attestations, policy)
    verdicts = [_of_domain(ask, domain, spf, dkim, policy) for domain in valid[:AUTHOR_DOMAINS]]
    failed = [verdict for verdict in verdicts if verdict.result.result == "fail"]
    worst = max(failed, key=lambda verdict: POLICIES.index(verdict.policy or "none"), default=None)
    reason = "several author domains" if len(domains) > 1 else "several From fields"
    if worst is not None:
        shown = _result("fail", f"{reason}; {worst.result.reason}", dict(worst.result.properties))
        return DmarcVerdict(result=shown, policy=worst.policy)
    if any(verdict.result.result == "temperror" for verdict in verdicts):
        return DmarcVerdict(result=_result("temperror", reason, {}))
    return DmarcVerdict(result=_result("permerror", reason, {"header.from": valid[0]}))


def _of_domain(ask: Ask, domain: str, spf: AuthResult, dkim: tuple[AuthResult, ...], policy: Policy) -> DmarcVerdict:
    properties = {"header.from": domain}
    try:
        found = discover(ask, domain, policy)
        record = found.record
        if record is None or record.policy is None:
            reason = "no DMARC record" if record is None else "DMARC record without a policy"
            return DmarcVerdict(result=_result("none", reason, properties), from_domain=domain)
        asked = _policy_for(ask, domain, found, record)
        effective = asked
        if record.is_testing if policy.dmarc == "rfc9989" else record.percent == 0:
            effective = one_level_lower(asked)
        properties |= _shown(found, record, asked, effective)
        result, reason = _aligned(ask, domain, record, spf, dkim, policy)
    except Unreachable as error:
        return DmarcVerdict(result=_result("temperror", str(error), properties), from_domain=domain)
    return DmarcVerdict(result=_result(result, reason, properties), policy=effective, from_domain=domain)


def _policy_for(ask: Ask, domain: str, found: Discovery, record: DmarcRecord) -> str:
    """p= at the author domain itself, np= for a name that does not exist, else sp=."""
    if found.found_at == domain:
        return record.policy or "none"
    if record.nonexistent_policy != record.subdomain_policy:
        # RFC 9989 §3.2.13: NXDOMAIN, by which RFC 8020 means the names below it too.
        answer = ask(domain, "A")
        if answer.outcome is Lookup.TEMPORARY:
            raise Unreachable(f"{answer.detail} for {domain}")
        if answer.detail == "NXDOMAIN":
            return record.nonexistent_policy
    return record.subdomain_policy


def _shown(found: Discovery, record: DmarcRecord, asked: str, effective: str) -> dict[str, str]:
    shown = {
        "policy.dmarc": effective,
        "policy.p": record.policy or "none",
        "policy.sp": record.subdomain_policy,
        "policy.domain": found.found_at,
        "policy.record": record.text,
    }
    if effective != asked:
        shown["policy.asked"] = asked
    return shown


def _aligned(
    ask: Ask, domain: str, record: DmarcRecord, spf: AuthResult, dkim: tuple[AuthResult, ...], policy: Policy
) -> tuple[str, str]:
    """pass with what aligned, temperror if something that would align could not be checked now, else fail."""
    identifiers = [(signer, record.dkim_is_strict, result) for signer, result in _signers(dkim, policy)]
    if spf.result in ("pass", "temperror"):
        identity = spf.properties.get("smtp.mailfrom") or spf.properties.get("smtp.helo", "")
        identifiers.append((identity.rpartition("@")[2].lower().removesuffix("."), record.spf_is_strict, spf))
    pending = ""
    # Equal names need no DNS, so they come first; a pass is worth more than a maybe.
    for identifier, strict, result in sorted(identifiers, key=lambda one: (one[2].result != "pass", one[0] != domain)):
        if _is_aligned(ask, identifier, domain, strict, policy):
            method = result.method.upper()
            if result.result == "pass":
                return "pass", f"{method} domain {identifier} is aligned"
            pending = pending or f"{method} of {identifier} cannot be checked now"
    return ("temperror", pending) if pending else ("fail", "neither an SPF nor a DKIM domain that passed is aligned")


def _vouched(ask: Ask, verdict: DmarcVerdict, attestations: tuple[Attestation, ...], policy: Policy) -> DmarcVerdict:
    """The verdict with the sealer that vouches for it, which lifts a failure."""
    domain = verdict.from_domain
    if not attestations or domain is None or verdict.result.result == "temperror":
        return verdict
    properties = dict(verdict.result.properties)
    try:
        record = discover(ask, domain, policy).record or _WITHOUT_RECORD
        sealer = next((each.sealer for each in attestations if _says_aligned(ask, domain, record, each, policy)), None)
    except Unreachable as error:
        if verdict.result.result != "fail":
            return verdict
        return changed(verdict, result=_result("temperror", str(error), properties))
    if sealer is None or verdict.result.result != "fail":
        return changed(verdict, vouched_by=sealer)
    reason = f"{verdict.result.reason}; lifted by the trusted ARC chain of {sealer}"
    return changed(verdict, result=_result("pass", reason, properties | {"policy.arc": sealer}), vouched_by=sealer)


def _says_aligned(ask: Ask, domain: str, record: DmarcRecord, said: Attestation, policy: Policy) -> bool:
    """Whether this sealer saw DMARC pass, or where it does not speak of DMARC, something pass that is aligned."""
    claims = dmarc_claims(said)
    if claims:
        return claims_pass(claims, domain)
    spf, dkim = passed_identities(said, strictly=record.dkim_is_strict)
    return _aligned(ask, domain, record, spf, dkim, policy)[0] == "pass"


def _signers(dkim: tuple[AuthResult, ...], policy: Policy) -> Iterator[tuple[str, AuthResult]]:
    for result in dkim:
        is_partial = UNSIGNED_OCTETS in result.properties and not policy.trust_partial_bodies
        if result.result in ("pass", "temperror") and not is_partial and "header.d" in result.properties:
            yield result.properties["header.d"], result


def _is_aligned(ask: Ask, identifier: str, domain: str, strict: bool, policy: Policy) -> bool:
    """RFC 9989 §4.4. A tree is walked only where the two names have a common ancestor: a forger pays no queries of ours."""
    if identifier == domain:
        return True
    if strict or not identifier or identifier.rpartition(".")[2] != domain.rpartition(".")[2]:
        return False
    organizational = organizational_domain(ask, domain, policy)
    if identifier != organizational and not identifier.endswith("." + organizational):
        return False
    return organizational_domain(ask, identifier, policy) == organizational


def _result(result: str, reason: str, properties: dict[str, str]) -> AuthResult:
    return AuthResult(method="dmarc", result=result, reason=reason, properties=properties)
