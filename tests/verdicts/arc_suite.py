"""ValiMail's ARC validation suite (tests/vectors/arc-validation) as cases over our resolver for zone data."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from mail.crlf import wire_bytes
from mail.message import Message
from mail.verdict import AuthResult
from verdicts.canonical import BodyHashes
from verdicts.check_arc import check_arc
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Inquiry
from verdicts.policy import Policy

SUITE = Path(__file__).parent.parent / "vectors" / "arc-validation" / "arc-draft-validation-tests.yml"
RECEIVED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    message: str
    zone: dict[str, dict[str, list[str]]]
    expected: str

    def run(self, newline: bytes = b"\n") -> AuthResult:
        """Judged as a file with these line ends comes in."""
        file = self.message.encode().replace(b"\r\n", b"\n").replace(b"\n", newline)
        raw, _ = wire_bytes(file)
        message = Message.of(raw)
        return check_arc(
            Inquiry(ZoneResolver(self.zone)).begin("arc"),
            message,
            BodyHashes(raw, message.header.body_start),
            received_at=RECEIVED_AT,
            policy=Policy(),
        )


def cases() -> Iterator[Case]:
    with SUITE.open(encoding="utf-8") as file:
        documents = [document for document in yaml.safe_load_all(file) if document]
    for document in documents:
        records = document.get("txt-records") or {}
        zone = {name: {"TXT": ["".join(text.splitlines())]} for name, text in records.items()}
        for name, test in document["tests"].items():
            # The suite writes no value for a chain that a sealer ended with cv=fail: RFC 8617 §5.2 step 2, the status is fail.
            expected = test["cv"].strip().lower() or "fail"
            yield Case(name=name, message=test["message"], zone=zone, expected=expected)
