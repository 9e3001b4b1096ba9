"""What ARC sealers that the owner trusts say of a message: how it stood before they changed it.

*Standards.* RFC 8617 §5.2 (validation, which comes first), §9.4 (every sealer is to be suspected), RFC 8601 §2.7 (the results).
*Trust.* A chain that passes proves who sealed it and nothing more. A trusted sealer is believed in what it saw itself, so its
words count only while everybody after it is trusted too: whoever came later could have changed message and seals, and what
stands before the oldest of this unbroken run is a stranger's claim. The newest message signature must cover From and the
whole body, else what it vouches for is not what arrived.
*Failure.* None: a field that cannot be read in full says nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mail.address import parse_domain
from mail.errors import Malformed
from mail.message import Message
from mail.values import changed
from mail.verdict import AuthResult
from verdicts.check_arc import ArcSet, arc_sets, results_of_set
from verdicts.dkim_signature import Refused, read_tags
from verdicts.foreign_results import read_foreign_results
from verdicts.policy import Policy
from verdicts.tag_list import colon_list

SIGNERS = 10  # of one attestation, how many DKIM domains are looked at

TRUSTED = "policy.trusted"
"""The property of the ARC result that says that a trusted sealer vouches for the From domain."""

_DOMAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What one trusted sealer found when the message reached it, in RFC 8601's words."""

    sealer: str
    results: tuple[AuthResult, ...]


def attestations(message: Message, arc: AuthResult, policy: Policy) -> tuple[Attestation, ...]:
    """Of the newest sealers, as far down as all of them are trusted, newest first; empty unless the chain passed."""
    if not policy.trusted_sealers or arc.result != "pass":
        return ()
    try:
        sets = arc_sets(message)
        newest = sets[max(sets)]
        if not _covers(newest, message):
            return ()
        found: list[Attestation] = []
        for instance in range(max(sets), 0, -1):
            sealer = _sealer(sets[instance])
            if not is_trusted(sealer, policy.trusted_sealers):
                break
            said = read_foreign_results(results_of_set(sets[instance]))
            if said.is_whole:
                found.append(Attestation(sealer=sealer, results=said.results))
    except (Refused, Malformed):
        return ()
    return tuple(found)


def is_trusted(domain: str, trusted: Iterable[str]) -> bool:
    """Whether a sealer is listed: itself, or for an entry that begins with a dot, as a subdomain."""
    return any(domain.endswith(entry) if entry.startswith(".") else domain == entry for entry in trusted)


def _sealer(one: ArcSet) -> str:
    return parse_domain(read_tags(one.seal)["d"]) if one.seal is not None else ""


def _covers(newest: ArcSet, message: Message) -> bool:
    """Whether the message signature is over every From field and the whole body."""
    if newest.message_signature is None:
        return False
    tags = read_tags(newest.message_signature)
    signed = colon_list(tags.get("h", "")).count("from")
    return "l" not in tags and signed >= len(message.header.all("from")) > 0


def dmarc_claims(attestation: Attestation) -> tuple[AuthResult, ...]:
    return tuple(result for result in attestation.results if result.method == "dmarc")


def claims_pass(claims: Iterable[AuthResult], domain: str) -> bool:
    """Whether all of these DMARC results are a pass of this From domain."""
    return all(
        claim.result == "pass" and claim.properties.get("header.from", "").lower().removesuffix(".") == domain
        for claim in claims
    )


def passed_identities(attestation: Attestation, *, strictly: bool) -> tuple[AuthResult, tuple[AuthResult, ...]]:
    """The SPF identity and the DKIM domains that it says passed, as our own checks would have reported them.

    `i=` stands for `d=` where only that is told, unless DKIM must be aligned strictly: it may be a subdomain.
    """
    spf = AuthResult(method="spf", result="none")
    signers: list[AuthResult] = []
    for result in attestation.results:
        if result.result != "pass":
            continue
        if result.method == "spf" and (domain := _domain(result.properties.get("smtp.mailfrom", ""))):
            spf = changed(result, properties={"smtp.mailfrom": domain})
        elif result.method == "dkim":
            told = result.properties.get("header.d") or ("" if strictly else result.properties.get("header.i", ""))
            if domain := _domain(told):
                signers.append(changed(result, properties={"header.d": domain}))
    return spf, tuple(signers[:SIGNERS])


def _domain(text: str) -> str:
    """The domain of an address or a domain as it is reported; "" where it is none."""
    domain = text.rpartition("@")[2].strip("<>").lower().removesuffix(".")
    return domain if _DOMAIN.match(domain) else ""
