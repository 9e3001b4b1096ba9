"""What forwarding needs of the settings: keys and secrets that belong together, and a seal that verifies."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from stored_mail import Mail, accepted

from actions.onward import Onward
from gatepost.onward import onward_of
from gatepost.settings import Settings
from mail.errors import Malformed
from mail.message import Message
from mail.receipt import Receipt, decode_receipt
from mail.values import changed
from mail.verdict import AuthResult
from verdicts.canonical import BodyHashes
from verdicts.check_arc import check_arc
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Inquiry
from verdicts.policy import Policy

KEYS = Path(__file__).parent.parent / "vectors" / "dkim-dkimpy"
PUBLIC = (KEYS / "2048_testkey_wo_markers.pub.txt").read_text().strip().rpartition("p=")[2]
NOW = datetime(2026, 1, 13, 21, 2, 45, tzinfo=UTC)
ARC = {"arc_domain": "fwd.example", "arc_selector": "s", "arc_key": KEYS / "2048_testkey.key"}


def receipt() -> Receipt:
    unit = accepted(Mail(number=1))
    return decode_receipt(unit.receipt, unit.raw[: unit.header_octets], {})


def made(**settings: object) -> Onward:
    return onward_of(Settings(**settings), None, "mx.example.com", lambda: NOW)  # type: ignore[arg-type]


def test_without_settings_nothing_is_sealed_and_no_sender_rewritten() -> None:
    assert (made().seal, made().rewriting) == (None, None)


def test_the_seal_carries_our_verdicts_and_verifies() -> None:
    seal = made(**ARC).seal
    assert seal is not None
    raw = Mail(number=1).raw
    fields = seal(raw, receipt(), NOW)
    assert b"fwd.example; " in fields.replace(b";\r\n", b"; ")
    assert b"dmarc=pass" in fields
    message = Message.of(fields + raw)
    zone = ZoneResolver({"s._domainkey.fwd.example": {"TXT": [f"v=DKIM1; k=rsa; p={PUBLIC}"]}})
    bodies = BodyHashes(message.raw, message.header.body_start)
    found = check_arc(Inquiry(zone).begin("arc"), message, bodies, received_at=NOW, policy=Policy())
    assert found.result == "pass"


def test_a_chain_whose_check_could_not_be_made_is_not_sealed() -> None:
    seal = made(**ARC).seal
    assert seal is not None
    had = receipt()
    unsure = changed(had, verdicts=changed(had.verdicts, arc=AuthResult(method="arc", result="temperror")))
    with pytest.raises(Malformed, match="temperror"):
        seal(Mail(number=1).raw, unsure, NOW)


@pytest.mark.parametrize(
    "settings",
    [
        {"srs_domain": "srs.example.com"},
        {"srs_secret": "x" * 32},
        {"srs_domain": "srs.example.com", "srs_secret": "short"},
        {"srs_domain": "no domain", "srs_secret": "x" * 32},
        {"arc_domain": "fwd.example"},
        {**ARC, "arc_selector": ""},
        {**ARC, "arc_domain": "a\r\nb"},
        {**ARC, "arc_key": KEYS / "nothing.key"},
        {**ARC, "arc_key": KEYS / "test.message"},
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(settings: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        made(**settings)
