"""The settings of judging that change a verdict. Their digest is part of what a replay compares."""

import hashlib
from dataclasses import dataclass

from mail.verdict import CHECKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`checks` are those that are made: DMARC only with both SPF and DKIM, on which it rests.
    `dmarc` is `rfc9989` (DNS tree walk) or `rfc7489` (public suffix list). `on_error` words are defer, accept and reject.

    `trust_partial_bodies` lets a signature whose l= leaves a part of the body unsigned count for DMARC.
    `trusted_sealers` are ARC sealers that may lift a DMARC failure: A-labels, with a leading dot the subdomains of one.
    `clock_skew_seconds` is allowed to the t= and x= of a signature. `receiver` is SPF's %{r}.
    """

    checks: tuple[str, ...] = CHECKS
    dmarc: str = "rfc9989"
    minimum_rsa_bits: int = 1024
    maximum_signatures: int = 10
    trust_partial_bodies: bool = False
    clock_skew_seconds: int = 300
    receiver: str = "unknown"
    deadline_seconds: float = 20.0
    dns_deadline_seconds: float = 10.0
    spam_deadline_seconds: float = 20.0
    virus_deadline_seconds: float = 20.0
    spam_on_error: str = "accept"
    virus_on_error: str = "defer"
    trusted_sealers: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:32]
