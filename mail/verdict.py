"""What the checks found, in RFC 8601's words, and what SES calls it, derived by one table (semantics.md §5)."""

from collections.abc import Mapping
from enum import StrEnum

from mail.values import Value, changed, field

CHECKS = ("spf", "dkim", "dmarc", "arc")
_OFF = "disabled"  # no word of RFC 8601: nothing was checked


class Status(StrEnum):
    """SES's verdict status (SES: receipt object)."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    GRAY = "GRAY"
    PROCESSING_FAILED = "PROCESSING_FAILED"
    DISABLED = "DISABLED"


_SPF_STATUS = {
    "pass": Status.PASS,
    "fail": Status.FAIL,
    "softfail": Status.GRAY,
    "neutral": Status.GRAY,
    "none": Status.GRAY,
    _OFF: Status.DISABLED,
}
_DMARC_STATUS = {"pass": Status.PASS, "fail": Status.FAIL, "none": Status.GRAY, _OFF: Status.DISABLED}


class AuthResult(Value, frozen=True, kw_only=True):
    """One method's result (RFC 8601 §2.2).

    `reason` is a stable word or short phrase for the trace; `properties` are `ptype.property` pairs such as `smtp.mailfrom`,
    `header.d`, `policy.p`, in the order in which they are printed. Values are raw text and hostile: writers escape.
    """

    method: str
    result: str
    reason: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


def switched_off(method: str) -> AuthResult:
    """Stands for a check that was not made: DISABLED, never PASS or GRAY (semantics.md §5)."""
    return AuthResult(method=method, result=_OFF, reason="switched off in the settings")


class ScanResult(Value, frozen=True, kw_only=True):
    """One scanner's opinion. `score` and `threshold` in the engine's own unit; `symbols` are what it found.

    `is_temporary` says of PROCESSING_FAILED alone whether a later attempt may help: a message that is too large stays so.
    """

    status: Status
    engine: str = ""
    version: str = ""
    reason: str = ""
    score: float | None = None
    threshold: float | None = None
    symbols: tuple[str, ...] = ()
    is_temporary: bool = True


DISABLED = ScanResult(status=Status.DISABLED, reason="no engine is configured")


class Verdicts(Value, frozen=True, kw_only=True):
    """Everything that was judged about one message.

    `spf` holds the MAIL FROM identity's result (`smtp.mailfrom`; `smtp.helo` for the null sender). `dkim` has one result for
    each signature, top first, and is empty for an unsigned message; a check that was not made is `switched_off`.
    `dmarc` carries `header.from`; `dmarc_policy` is the policy that the From domain's record asks for (none, quarantine,
    reject), None without a record. `from_domain` is the RFC 5322 From domain as an A-label, None where there is not exactly one
    or DMARC was not checked.
    """

    spf: AuthResult
    dkim: tuple[AuthResult, ...]
    dmarc: AuthResult
    arc: AuthResult
    spam: ScanResult = DISABLED
    virus: ScanResult = DISABLED
    dmarc_policy: str | None = None
    from_domain: str | None = None

    def status(self, method: str) -> Status:
        """SES's status of `spf`, `dkim`, `dmarc`, `arc`, `spam` or `virus` (semantics.md §5)."""
        match method:
            case "spf":
                return _SPF_STATUS.get(self.spf.result, Status.PROCESSING_FAILED)
            case "dkim":
                return dkim_status(tuple(result.result for result in self.dkim))
            case "dmarc":
                return _DMARC_STATUS.get(self.dmarc.result, Status.PROCESSING_FAILED)
            case "arc":
                return _DMARC_STATUS.get(self.arc.result, Status.PROCESSING_FAILED)
            case "spam":
                return self.spam.status
            case "virus":
                return self.virus.status
        raise ValueError(method)

    def results(self, method: str) -> tuple[AuthResult, ...]:
        """The results behind a status; a scan is shown as a result with score, threshold and symbols as properties.

        Nothing stands behind DISABLED.
        """
        match method:
            case "spf":
                return _made(self.spf)
            case "dkim":
                return _made(*self.dkim)
            case "dmarc":
                return _made(self.dmarc)
            case "arc":
                return _made(self.arc)
            case "spam":
                return scan_results("spam", self.spam)
            case "virus":
                return scan_results("virus", self.virus)
        raise ValueError(method)

    def as_seen(self, *, scanned: bool) -> "Verdicts":
        """The verdicts that a rule sees: without a scan of its own, spam and virus are DISABLED (semantics.md §2)."""
        if scanned or (self.spam.status is Status.DISABLED and self.virus.status is Status.DISABLED):
            return self
        unseen = ScanResult(status=Status.DISABLED, reason="the rule does not scan")
        return changed(self, spam=unseen, virus=unseen)

    @property
    def spf_domain(self) -> str | None:
        """The domain that SPF passed, in lower case; None if it did not pass."""
        if self.spf.result != "pass":
            return None
        identity = self.spf.properties.get("smtp.mailfrom") or self.spf.properties.get("smtp.helo", "")
        return identity.rpartition("@")[2].lower() or None

    @property
    def dkim_domains(self) -> tuple[str, ...]:
        """The d= of each signature that passed, in lower case."""
        return tuple(result.properties.get("header.d", "").lower() for result in self.dkim if result.result == "pass")

    @property
    def from_domain_aligned(self) -> str | None:
        """The From domain if DMARC passed by what we saw ourselves, not on the word of an ARC sealer (`policy.arc`); else None."""
        return self.from_domain if self.dmarc.result == "pass" and "policy.arc" not in self.dmarc.properties else None


VERDICTS = ("spf", "dkim", "dmarc", "arc", "spam", "virus")


def _made(*results: AuthResult) -> tuple[AuthResult, ...]:
    return () if results and results[0].result == _OFF else results


def dkim_status(results: tuple[str, ...]) -> Status:
    """Any pass is PASS; unsigned is GRAY; any temperror, or permerror only, is PROCESSING_FAILED; else FAIL."""
    signed = [result for result in results if result != "none"]
    if not signed:
        return Status.GRAY
    if signed[0] == _OFF:
        return Status.DISABLED
    if "pass" in signed:
        return Status.PASS
    if "temperror" in signed or all(result == "permerror" for result in signed):
        return Status.PROCESSING_FAILED
    return Status.FAIL


def scan_results(method: str, scan: ScanResult) -> tuple[AuthResult, ...]:
    if scan.status is Status.DISABLED:
        return ()
    shown = {"policy.engine": scan.engine, "policy.version": scan.version, "policy.symbols": " ".join(scan.symbols)}
    if scan.score is not None:
        shown["policy.score"] = f"{scan.score:g}"
    if scan.threshold is not None:
        shown["policy.threshold"] = f"{scan.threshold:g}"
    kept = {name: value for name, value in shown.items() if value}
    return (AuthResult(method=method, result=scan.status.value.lower(), reason=scan.reason, properties=kept),)
