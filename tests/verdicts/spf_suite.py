"""The openspf RFC 7208 suite (tests/vectors/spf-rfc7208) as cases over our resolver for zone data."""

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

SUITE = Path(__file__).parent.parent / "vectors" / "spf-rfc7208" / "rfc7208-tests.yml"
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


def cases() -> Iterator[Case]:
    with SUITE.open(encoding="utf-8") as file:
        documents = list(yaml.safe_load_all(file))
    for document in documents:
        zone = _zone(document["zonedata"])
        for name, test in document["tests"].items():
            result = test["result"]
            yield Case(
                name=name,
                zone=zone,
                helo=test["helo"],
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
        timeout = False
        has_txt = any(isinstance(record, dict) and "TXT" in record for record in records)
        for record in records:
            if isinstance(record, str):
                timeout = True
                continue
            ((kind, value),) = record.items()
            if kind == "SPF":
                if has_txt:
                    continue
                kind = "TXT"
            if kind not in ("TXT", "A", "AAAA", "MX", "CNAME", "PTR") or value == "NONE":
                continue
            entry.setdefault(kind, []).append(value)
        if timeout:
            entry = {**{kind: "TIMEOUT" for kind in ("TXT", "A", "AAAA", "MX", "PTR") if kind not in entry}, **entry}
        zone[name] = entry
    return zone
