"""The openspf suites for RFC 7208 and RFC 4408, and others in their form (tests/vectors/spf-*), over our resolver for zone data."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from mail.address import Mailbox
from mail.verdict import AuthResult
from verdicts.check_spf import check_spf
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Inquiry

VECTORS = Path(__file__).parent.parent / "vectors"
SUITE = VECTORS / "spf-rfc7208" / "rfc7208-tests.yml"
SUITE_4408 = VECTORS / "spf-rfc4408" / "rfc4408-tests.yml"
SUITE_BLITIRI = VECTORS / "spf-blitiri" / "blitirispf-tests.yml"
# RFC 7208 §4.3: what is no multi-label domain name has no result but none; that suite names its domains d01, mx10.
_ONE_LABEL = "a domain of one label: none, and permerror where it is included"
OPINIONS = {
    "resolution-with-10-lookups": _ONE_LABEL,
    "mx-resolution-10-terms": _ONE_LABEL,
    "mx-resolution-11-terms": _ONE_LABEL,
    "one-mx-not-found": _ONE_LABEL,
    "all-mx-not-found": _ONE_LABEL,
    "include-not-found": _ONE_LABEL,
    "redirect-not-found": _ONE_LABEL,
}
RECEIVED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    zone: dict[str, Any]
    helo: str
    ip: str
    mail_from: str
    expected: tuple[str, ...]

    def run(self) -> tuple[AuthResult, int]:
        """The result, and how many questions it took."""
        inquiry = Inquiry(ZoneResolver(self.zone))
        ask = inquiry.begin("spf")
        result = check_spf(
            ask, ip=self.ip, helo=self.helo, reverse_path=sender(self.mail_from), received_at=RECEIVED_AT
        )
        return result, len(ask.used)


def sender(text: str) -> Mailbox | None:
    """MAIL FROM as the suite writes it: it may lack a local-part, or be no address at all."""
    if not text:
        return None
    local, _, domain = text.rpartition("@")
    return Mailbox(local_part=local, domain=domain)


def cases(suite: Path = SUITE) -> Iterator[Case]:
    with suite.open(encoding="utf-8") as file:
        documents = list(yaml.safe_load_all(file))
    for document in documents:
        if document is None:
            continue
        zone = _zone(document["zonedata"])
        for name, test in document["tests"].items():
            result = test["result"]
            yield Case(
                name=name,
                zone=zone,
                helo=test.get("helo", ""),
                ip=test["host"],
                mail_from=test["mailfrom"],
                expected=tuple(result) if isinstance(result, list) else (result,),
            )


def _zone(data: dict[str, Any]) -> dict[str, Any]:
    """The suite's form as ours: an SPF record stands for TXT unless the name has TXT of its own; `TXT: NONE` is no TXT."""
    zone: dict[str, Any] = {}
    for name, records in data.items():
        if isinstance(records, str):
            zone[name] = records
            continue
        entry: dict[str, Any] = {}
        failure = ""
        has_txt = any(isinstance(record, dict) and "TXT" in record for record in records)
        for record in records:
            ((kind, value),) = ({record: True} if isinstance(record, str) else record).items()
            if kind in ("TIMEOUT", "SERVFAIL"):
                failure = kind
                continue
            if kind == "SPF":
                if has_txt:
                    continue
                kind = "TXT"
            if kind not in ("TXT", "A", "AAAA", "MX", "CNAME", "PTR") or value == "NONE":
                continue
            entry.setdefault(kind, []).append(value)
        if failure:
            entry = {**{kind: failure for kind in ("TXT", "A", "AAAA", "MX", "PTR") if kind not in entry}, **entry}
        zone[name] = entry
    return zone
