"""ARC: ValiMail's validation suite with LF and CRLF files, and hostile chains."""

import time

import pytest
from arc_suite import RECEIVED_AT, Case, cases

from mail.message import Message
from verdicts.canonical import BodyHashes
from verdicts.check_arc import check_arc
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Inquiry, OverBudget
from verdicts.policy import Policy

SUITE = list(cases())
CHAIN = next(case for case in SUITE if case.name == "cv_pass_i2_1")


def check(raw: bytes, zone=CHAIN.zone):
    message = Message.of(raw)
    ask = Inquiry(ZoneResolver(zone)).begin("arc")
    return check_arc(ask, message, BodyHashes(raw, message.header.body_start), received_at=RECEIVED_AT, policy=Policy())


def chain_bytes() -> bytes:
    return CHAIN.message.encode().replace(b"\n", b"\r\n")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("case", SUITE, ids=lambda case: case.name)
def test_validation_suite(case: Case, newline: bytes) -> None:
    """Exceptions: none."""
    assert case.run(newline).result == case.expected


def test_validation_suite_is_complete() -> None:
    print(f"ARC validation: {len(SUITE)}/171 with LF, {len(SUITE)}/171 with CRLF, exceptions: none")
    assert len(SUITE) == 171


def test_a_chain_names_its_sealers() -> None:
    result = check(chain_bytes())
    assert result.result == "pass"
    assert dict(result.properties) == {"header.d": "example.org", "arc.chain": "example.org:example.org"}


def test_mail_without_arc_is_none() -> None:
    assert check(b"From: <a@b.example>\r\n\r\nx\r\n").result == "none"


@pytest.mark.parametrize("failure", ["SERVFAIL", "TIMEOUT"])
def test_a_key_that_cannot_be_fetched_is_temperror(failure: str) -> None:
    assert check(chain_bytes(), dict.fromkeys(CHAIN.zone, failure)).result == "temperror"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"i=2", b"i=99999999999999999999"),
        (b"i=2", b"i=0"),
        (b"i=2", b"i="),
        (b"i=2", b"i=\xb2"),
        (b"ARC-Seal:", b"ARC-Seal: junk\r\nARC-Seal:"),
        (b"cv=pass", b"cv=maybe"),
        (b"d=example.org", b"d=a..b"),
        (b"bh=", b"bh=%"),
    ],
)
def test_hostile_chains_fail_and_do_not_crash(before: bytes, after: bytes) -> None:
    assert check(chain_bytes().replace(before, after)).result == "fail"


@pytest.mark.parametrize("line", [b" folded\r\n", b"no colon\r\n"])
def test_malformed_header_sections_are_permerror(line: bytes) -> None:
    assert check(line + chain_bytes()).result == "permerror"


def test_a_giant_chain_is_refused_before_it_is_hashed() -> None:
    sets = b"".join(
        b"ARC-Seal: i=%d; a=rsa-sha256; cv=pass; d=e.example; s=s; b=AAAA\r\n"
        b"ARC-Message-Signature: i=%d; a=rsa-sha256; d=e.example; s=s; h=from; bh=AAAA; b=AAAA\r\n"
        b"ARC-Authentication-Results: i=%d; e.example; none %s\r\n" % (i, i, i, b"x" * 20_000)
        for i in range(50, 0, -1)
    )
    started = time.process_time()
    result = check(sets + b"From: <a@b.example>\r\n\r\nx\r\n")
    assert (result.result, result.reason) == ("permerror", "ARC fields too large")
    assert time.process_time() - started < 1


def test_keys_of_too_many_sealers_are_over_budget() -> None:
    sets = b"".join(
        b"ARC-Seal: i=%d; a=rsa-sha256; cv=pass; d=e%d.example; s=s; b=AAAA\r\n"
        b"ARC-Message-Signature: i=%d; a=rsa-sha256; d=e.example; s=s; h=from; bh=AAAA; b=AAAA\r\n"
        b"ARC-Authentication-Results: i=%d; e.example; none\r\n" % (i, i, i, i)
        for i in range(50, 0, -1)
    )
    with pytest.raises(OverBudget):
        check(sets + b"From: <a@b.example>\r\n\r\nx\r\n")
