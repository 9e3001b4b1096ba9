"""rspamd's functional cases (tests/vectors/auth-rspamd), end to end through `judge` over one zone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mail.address import parse_mailbox
from mail.client import Client
from mail.crlf import wire_bytes
from mail.envelope import Envelope
from mail.message import Message
from verdicts.dns_zone import ZoneResolver
from verdicts.judge import Judgement, judge
from verdicts.policy import Policy

FOLDER = Path(__file__).parent.parent / "vectors" / "auth-rspamd"
RECEIVED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

SPF = {
    "R_SPF_ALLOW": "pass",
    "R_SPF_FAIL": "fail",
    "R_SPF_SOFTFAIL": "softfail",
    "R_SPF_NEUTRAL": "neutral",
    "R_SPF_NA": "none",
    "R_SPF_PERMFAIL": "permerror",
    "R_SPF_DNSFAIL": "temperror",
    "R_SPF_PLUSALL": "pass",
}
DKIM = {
    "R_DKIM_ALLOW": "pass",
    "R_DKIM_REJECT": "fail",
    "R_DKIM_PERMFAIL": "permerror",
    "R_DKIM_TEMPFAIL": "temperror",
    "R_DKIM_NA": "none",
}
DMARC = {
    "DMARC_POLICY_ALLOW": ("pass", None),
    "DMARC_POLICY_REJECT": ("fail", "reject"),
    "DMARC_POLICY_QUARANTINE": ("fail", "quarantine"),
    "DMARC_POLICY_SOFTFAIL": ("fail", "none"),
    "DMARC_NA": ("none", None),
    "DMARC_DNSFAIL": ("temperror", None),
}
ARC = {"ARC_ALLOW": ("pass",), "ARC_INVALID": ("fail", "permerror"), "ARC_REJECT": ("fail",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    message: str | None
    ip: str | None
    mail_from: str | None
    helo: str | None
    expect: tuple[str, ...]
    not_expect: tuple[str, ...]

    async def run(self, resolver: ZoneResolver) -> Judgement:
        raw = b"From: <a@nodmarc.invalid>\r\n\r\n"
        if self.message:
            raw, _ = wire_bytes((FOLDER / "messages" / self.message).read_bytes())
        mail_from = (self.mail_from or "").strip("<>")
        return await judge(
            Message.of(raw),
            Envelope(reverse_path=parse_mailbox(mail_from) if mail_from else None, recipients=()),
            Client(ip=self.ip, helo=self.helo),
            received_at=RECEIVED_AT,
            resolver=resolver,
            policy=Policy(dmarc="rfc7489", maximum_signatures=5),
        )

    def symbols(self, judgement: Judgement) -> set[str]:
        """The symbols of rspamd that our verdicts amount to."""
        verdicts = judgement.verdicts
        dkim = [result.result for result in verdicts.dkim] or ["none"]
        found = {symbol for symbol, result in SPF.items() if verdicts.spf.result == result}
        found |= {symbol for symbol, result in DKIM.items() if result in dkim}
        for symbol, (result, policy) in DMARC.items():
            if verdicts.dmarc.result == result and (policy is None or verdicts.dmarc_policy == policy):
                found.add(symbol)
        found |= {symbol for symbol, results in ARC.items() if verdicts.arc.result in results}
        return found


def load() -> tuple[ZoneResolver, list[Case]]:
    data = json.loads((FOLDER / "cases.json").read_text())
    return ZoneResolver(_zone(data["records"])), list(_cases(data["cases"]))


def _cases(cases: list[dict[str, Any]]) -> Iterator[Case]:
    for case in cases:
        yield Case(
            name=case["name"],
            message=case["message"],
            ip=case["ip"],
            mail_from=case["mail_from"],
            helo=case["helo"],
            expect=tuple(case["expect"]),
            not_expect=tuple(case["not_expect"]),
        )


def _zone(records: list[dict[str, Any]]) -> dict[str, Any]:
    zone: dict[str, Any] = {}
    for record in records:
        name, kind, rcode = record["name"], record["type"].upper(), record["rcode"]
        entry = zone.setdefault(name, {})
        if isinstance(entry, str) or kind not in ("TXT", "A", "AAAA", "MX", "PTR", "CNAME"):
            continue
        if rcode in ("timeout", "servfail"):
            entry[kind] = rcode.upper()
        elif record["replies"]:
            entry[kind] = [_reply(kind, reply) for reply in record["replies"]]
    nothing = [name for name, entry in zone.items() if entry == {}]
    for name in nothing:
        if any(record["name"] == name and record["rcode"] == "nxdomain" for record in records):
            del zone[name]
    return zone


def _reply(kind: str, reply: str) -> Any:
    if kind == "MX":
        preference, host = reply.split()
        return [int(preference), host]
    return reply
