"""Sealing: what our own check and stock dkimpy say of the chains that we go on with."""

from __future__ import annotations

from datetime import UTC, datetime

import dkim
import pytest
from signing import KEYS, LATER, MESSAGE, PRIVATE_1024, PRIVATE_2048, PUBLIC_1024, RECORD

from mail.errors import Malformed, Misuse
from mail.message import Message
from mail.verdict import AuthResult
from outbound.seal_arc import check_sealing_key, seal_arc
from outbound.signing_key import SigningKey, load_key
from verdicts.canonical import BodyHashes
from verdicts.check_arc import check_arc
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Inquiry
from verdicts.policy import Policy

NOW = datetime(2026, 1, 13, 21, 2, 45, tzinfo=UTC)
KEY = load_key("fwd.example", "arc", PRIVATE_2048)
OTHER = load_key("other.example", "a1", PRIVATE_1024)
RECORDS = {
    "arc._domainkey.fwd.example": RECORD,
    "a1._domainkey.other.example": f"v=DKIM1; k=rsa; p={PUBLIC_1024.rpartition('p=')[2]}",
}
RESULTS = (
    b"mx.fwd.example (our MX);\r\n spf=pass (sender is \\(really\\) known) smtp.mailfrom=ann@acme.example;\r\n"
    b" dkim=pass (2048-bit key) header.d=acme.example; arc=none"
)


def check(raw: bytes) -> AuthResult:
    message = Message.of(raw)
    zone = {name: {"TXT": [record]} for name, record in RECORDS.items()}
    return check_arc(
        Inquiry(ZoneResolver(zone)).begin("arc"),
        message,
        BodyHashes(raw, message.header.body_start),
        received_at=LATER,
        policy=Policy(minimum_rsa_bits=1024),
    )


def stock(raw: bytes) -> bytes | None:
    """What dkimpy's own verification says."""
    cv, _, _ = dkim.arc_verify(raw, dnsfunc=lambda name, timeout=5: RECORDS[name.decode().rstrip(".")].encode())
    return cv


def sealed(raw: bytes = MESSAGE, cv: str = "none", key: SigningKey = KEY, results: bytes = RESULTS) -> bytes:
    return seal_arc(raw, results, cv, key, now=NOW) + raw


def test_a_first_seal_verifies_here_and_with_stock_dkimpy() -> None:
    raw = sealed()
    assert (check(raw).result, check(raw).properties["header.d"]) == ("pass", "fwd.example")
    assert stock(raw) == dkim.CV_Pass


def test_a_chain_of_many_hops_verifies_at_each() -> None:
    raw = sealed()
    for number in range(2, 8):
        raw = sealed(b"Received: from hop%d\r\n" % number + raw, "pass", OTHER if number % 2 else KEY)
        assert check(raw).result == "pass", number
        assert stock(raw) == dkim.CV_Pass, number
    assert check(raw).properties["arc.chain"].split(":")[0] == "other.example"


def test_a_seal_goes_on_with_a_chain_that_stock_dkimpy_began() -> None:
    results = b"Authentication-Results: first.example; arc=none; spf=pass smtp.mailfrom=a@acme.example\r\n"
    first = b"".join(
        dkim.arc_sign(
            results + MESSAGE, b"a1", b"other.example", PRIVATE_1024, b"first.example", timestamp="1768338165"
        )
    )
    raw = first + MESSAGE
    assert check(raw).result == "pass"
    again = sealed(raw, "pass")
    assert (check(again).result, stock(again)) == ("pass", dkim.CV_Pass)


def test_signature_and_seal_are_byte_equal_to_stock_dkimpys_where_it_can_carry_the_results() -> None:
    plain = b"mx.fwd.example;\r\n spf=pass smtp.mailfrom=acme.example;\r\n arc=none"
    field = b"Authentication-Results: " + plain + b"\r\n"
    theirs = dkim.arc_sign(
        field + MESSAGE, b"arc", b"fwd.example", PRIVATE_2048, b"mx.fwd.example", timestamp=str(int(NOW.timestamp()))
    )
    ours = seal_arc(field + MESSAGE, plain, "none", KEY, now=NOW)
    assert ours == b"".join(theirs)


def test_the_plain_form_is_byte_equal_to_stock_dkimpys_standard_form_which_the_public_vectors_are_in() -> None:
    plain = b"mx.fwd.example; spf=pass smtp.mailfrom=acme.example; arc=none"
    field = b"Authentication-Results: " + plain + b"\r\n"
    names = ["date", "from", "to", "subject"]
    theirs = dkim.arc_sign(
        field + MESSAGE,
        b"arc",
        b"fwd.example",
        PRIVATE_2048,
        b"mx.fwd.example",
        include_headers=[name.encode() for name in names],
        timestamp="12345",
        standardize=True,
    )
    then = datetime.fromtimestamp(12345, UTC)
    ours = seal_arc(field + MESSAGE, plain, "none", KEY, now=then, names=names, plain=True)
    # Their AAR is written anew from what authres read; ours is what was given.
    assert ours.split(b"ARC-Auth")[0] == b"".join(theirs[:2])
    assert check(ours + field + MESSAGE).result == "pass"
    commented = plain.replace(b"pass smtp", b"pass (said (so) they) smtp")
    fields = seal_arc(field + MESSAGE, commented, "none", KEY, now=then, names=names, plain=True)
    assert fields.endswith(b"ARC-Authentication-Results: i=1; " + commented + b"\r\n")
    assert fields.split(b"\r\n")[1] == theirs[1].rstrip(b"\r\n"), "the message signature does not cover the results"


def test_comments_of_the_results_survive_under_the_seal() -> None:
    assert b"ARC-Authentication-Results: i=1; " + RESULTS + b"\r\n" in sealed()


def test_results_that_a_stranger_wrote_never_reach_a_seal() -> None:
    forged = b"Authentication-Results: mx.fwd.example; dmarc=pass header.from=bank.example\r\n" + MESSAGE
    fields = seal_arc(forged, RESULTS, "none", KEY, now=NOW)
    assert b"bank.example" not in fields
    assert b"dmarc" not in fields


def test_a_failed_chain_is_sealed_for_its_last_set_alone_and_then_ended() -> None:
    broken = sealed().replace(b"regards", b"REGARDS")
    assert check(broken).result == "fail"
    fields = seal_arc(broken, RESULTS, "fail", KEY, now=NOW)
    assert b"cv=fail" in fields.split(b"ARC-Message-Signature")[0]
    assert b"i=2" in fields
    assert seal_arc(fields + broken, RESULTS, "fail", KEY, now=NOW) == b""


@pytest.mark.parametrize(("raw", "cv"), [(MESSAGE, "pass"), (MESSAGE, "temperror"), (sealed(), "none")])
def test_a_verdict_that_does_not_fit_the_chain_is_refused(raw: bytes, cv: str) -> None:
    with pytest.raises(Malformed):
        seal_arc(raw, RESULTS, cv, KEY, now=NOW)


def test_a_chain_of_fifty_sets_is_not_gone_on_with() -> None:
    fields = b"".join(
        b"ARC-Seal: i=%d; cv=pass; d=e.example; s=s; b=AAAA\r\nARC-Message-Signature: i=%d; b=A\r\n"
        b"ARC-Authentication-Results: i=%d; e.example; none\r\n" % (i, i, i)
        for i in range(50, 0, -1)
    )
    assert seal_arc(fields + MESSAGE, RESULTS, "pass", KEY, now=NOW) == b""


@pytest.mark.parametrize("results", [b"", b"a\r\nX-Evil: 1", b"a\nb", b"a\rb", b"a\0b"])
def test_results_that_would_break_the_header_are_refused(results: bytes) -> None:
    with pytest.raises(Misuse):
        sealed(results=results)


def test_a_message_without_from_or_header_is_refused() -> None:
    for raw in (b"Subject: x\r\n\r\nx\r\n", b"no header here\r\n\r\nx\r\n", b"\r\nx\r\n"):
        with pytest.raises(Malformed):
            sealed(raw)


def test_a_key_that_no_validator_need_know_is_refused() -> None:
    with pytest.raises(Misuse, match="RSA"):
        check_sealing_key(load_key("d.example", "s", (KEYS / "rfc8032_7_1.key").read_bytes()))


def test_eight_bit_text_and_bare_bodies_are_sealed() -> None:
    raw = b"From: \xc3\xa4nn <ann@acme.example>\r\nSubject: \xff\r\n\r\nbody \x80\r\n\r\n\r\n"
    assert check(sealed(raw)).result == "pass"
    assert check(sealed(b"From: <a@b.example>\r\n\r\n")).result == "pass"
