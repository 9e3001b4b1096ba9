"""DKIM: chasquid's and dkimpy's own messages, key records tag by tag, and each known trap of dkimpy as a case."""

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dkim
import pytest
from signing import KEYS, MESSAGE, PRIVATE_1024, PUBLIC, RECORD, check, key_zone, resigned, sign

from mail.crlf import wire_bytes
from mail.message import Message
from mail.verdict import AuthResult, dkim_status
from verdicts.check_dmarc import check_dmarc
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Inquiry
from verdicts.policy import Policy

CHASQUID = Path(__file__).parent.parent / "vectors" / "dkim-chasquid"
STATES = {"SUCCESS": ("pass",), "PERMFAIL": ("fail", "permerror", "policy"), "TEMPFAIL": ("temperror",)}


def only(results: tuple[AuthResult, ...]) -> tuple[str, str]:
    (result,) = results
    return result.result, result.reason


def chasquid_zone(path: Path) -> dict[str, Any]:
    zone: dict[str, Any] = {}
    if not path.exists():
        return zone
    for line in path.read_text().replace("\\\n", "").splitlines():
        name, colon, value = line.partition(":")
        value = value.strip()
        if value == "TEMPERROR":
            zone[name] = "SERVFAIL"
        elif colon and value not in ("PERMERROR", "NOTFOUND"):
            zone.setdefault(name, {"TXT": []})["TXT"].append(value)
    return zone


@pytest.mark.parametrize("path", sorted(CHASQUID.glob("*.msg")), ids=lambda path: path.stem)
def test_chasquid_messages(path: Path) -> None:
    """Exceptions: none. 02 has seven signatures, of which chasquid judges five and we all."""
    raw, _ = wire_bytes(path.read_bytes())
    results = check(raw, chasquid_zone(path.with_suffix(".dns")), received_at=datetime(2026, 1, 1, tzinfo=UTC))
    expected = path.with_suffix(".result")
    if not expected.exists():  # a message that is to be refused, not to crash
        assert results == ()
        return
    states = [entry["State"] for entry in json.loads(expected.read_text())["Results"] or []]
    assert len(results) >= len(states)
    for result, state in zip(results, states, strict=False):
        assert result.result in STATES[state], result


def test_chasquid_has_eleven_messages() -> None:
    assert len(list(CHASQUID.glob("*.msg"))) == 11


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Its rsa signature has a 1024-bit key; both verify (RFC 8463 appendix A).
        ("rfc6376.signed.msg", ["pass", "pass"]),
        ("rfc6376.signed.rsa.msg", ["pass"]),
        # The stock package says False for this one too.
        ("rfc6376.signed.no_t.msg", ["fail"]),
        ("test.message.baddomain", ["permerror"]),
    ],
)
def test_dkimpy_messages(name: str, expected: list[str]) -> None:
    raw, _ = wire_bytes((KEYS / name).read_bytes())
    zone = {
        "brisbane._domainkey.football.example.com": {
            "TXT": ["v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
        },
        "test._domainkey.football.example.com": {
            "TXT": [(KEYS / "eximtest.dns").read_text(), (KEYS / "test.txt").read_text()]
        },
    }
    assert [result.result for result in check(raw, zone)] == expected


@pytest.mark.parametrize("header", [b"relaxed", b"simple"])
@pytest.mark.parametrize("body", [b"relaxed", b"simple"])
def test_what_stock_signs_we_verify(header: bytes, body: bytes) -> None:
    assert only(check(sign(canonicalize=(header, body)))) == ("pass", "signature verified")


DATA_KEYS = {
    "1024_testkey.key": (b"rsa-sha256", "1024_testkey_wo_markers.pub.txt"),
    "2048_testkey.key": (b"rsa-sha256", "2048_testkey_wo_markers.pub.txt"),
    "2048_testkey_PKCS8.key": (b"rsa-sha256", "2048_testkey_PKCS8.key.pub.txt"),
    "rfc8032_7_1.key": (b"ed25519-sha256", None),
}


@pytest.mark.parametrize("name", ["rfc6376.msg", "rfc6376.w1258.msg", "test.message", "ed25519test.msg"])
@pytest.mark.parametrize("key", DATA_KEYS)
def test_dkimpys_messages_and_keys_go_round(name: str, key: str) -> None:
    """Signed by stock with each of its test keys, in each pair of canonical forms; one flipped octet fails."""
    raw, _ = wire_bytes((KEYS / name).read_bytes())
    algorithm, public = DATA_KEYS[key]
    record = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    if public is not None:
        lines = (KEYS / public).read_text().strip().splitlines()
        text = "".join(line for line in lines if not line.startswith("-----"))
        record = text if "p=" in text else f"v=DKIM1; k=rsa; p={text}"
    for canonicalize in itertools.product([b"relaxed", b"simple"], repeat=2):
        signed = sign(raw, key=(KEYS / key).read_bytes(), canonicalize=canonicalize, signature_algorithm=algorithm)
        assert check(signed, key_zone(record))[0].result == "pass", canonicalize
        assert check(signed[:-3] + b"#\r\n", key_zone(record))[0].result == "fail", canonicalize


def test_properties_name_the_signature() -> None:
    (result,) = check(sign())
    assert list(result.properties) == ["header.d", "header.i", "header.s", "header.b", "header.a"]
    assert result.properties["header.d"] == "acme.example"
    assert result.properties["header.i"] == "@acme.example"
    assert len(result.properties["header.b"]) == 8


def test_unsigned_mail_has_no_result() -> None:
    assert check(MESSAGE) == ()
    assert dkim_status(()) == "GRAY"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (b"Hello  Bob", b"Hello Rob", ("fail", "body hash did not verify")),
        (b"Subject: hello", b"Subject: jello", ("fail", "signature did not verify")),
        (b"\r\n\r\nHello", b"\r\nFrom: <eve@evil.example>\r\n\r\nHello", ("fail", "more From fields than signed")),
        (b"From: Ann", b"From: <eve@evil.example>\r\nFrom: Ann", ("fail", "more From fields than signed")),
        (b"v=1;", b"v=2;", ("permerror", "v= is not 1")),
        (b"a=rsa-sha256", b"a=rsa-sha1", ("policy", "rsa-sha1 is not acceptable (RFC 8301 §3.1)")),
        (b"a=rsa-sha256", b"a=rsa-md5", ("permerror", "unknown algorithm")),
        (b"d=acme.example", b"d=a..b", ("permerror", "d= is not a domain")),
        (b"d=acme.example", b"d=" + b"a" * 64 + b".example", ("permerror", "d= is not a domain")),
        (b"d=acme.example", b"d=" + b"a." * 130 + b"example", ("permerror", "d= is not a domain")),
        (b"s=s;", b"s=..;", ("permerror", "s= is not a selector")),
        (b"i=@acme.example", b"i=", ("permerror", "i= is not in d=")),
        (b"i=@acme.example", b"i=@evilacme.example", ("permerror", "i= is not in d=")),
        (b"c=relaxed/relaxed", b"c=nowsp", ("permerror", "unknown canonicalization")),
        (b"q=dns/txt", b"q=http", ("permerror", "q= does not offer dns/txt")),
        (b"q=dns/txt", b"l=", ("permerror", "l= is not a number")),
        (b"q=dns/txt", b"x=1", ("permerror", "x= is before t=")),
        (b"q=dns/txt", b"d=other.example", ("permerror", "tag d= given twice")),
        (b"q=dns/txt", b"nonsense", ("permerror", "not a tag=value list")),
        (b"h=from", b"h=fromm", ("permerror", "From is not signed")),
        (b"bh=", b"bh=!", ("permerror", "bh= is not base64")),
    ],
)
def test_altered_mail_has_its_result_and_reason(before: bytes, after: bytes, expected: tuple[str, str]) -> None:
    raw = sign()
    assert before in raw
    assert only(check(raw.replace(before, after, 1))) == expected


@pytest.mark.parametrize(
    "line", [b" folded first line\r\n", b"no colon here\r\n", b"N\xf6: x\r\n", b": empty name\r\n"]
)
def test_malformed_header_sections_are_permerror_and_do_not_crash(line: bytes) -> None:
    """Stock dkimpy raises IndexError or MessageFormatError out of `verify`."""
    raw = line + sign()
    assert only(check(raw)) == ("permerror", "malformed header section")
    with pytest.raises((IndexError, dkim.MessageFormatError)):
        dkim.DKIM(raw)


@pytest.mark.parametrize(
    "text", [b"x\n", b"x\r", b"x\n\r\n y", b"x\n\nhello, I am the body", b"x\nFrom: <ceo@acme.example>"]
)
def test_a_bare_line_end_in_the_header_section_is_permerror(text: bytes) -> None:
    """A reader that takes it for a line end sees other fields, or another body, than were signed."""
    raw = sign()
    hidden = raw.replace(b"Message-ID: ", b"X-Unsigned: " + text + b"\r\nMessage-ID: ")
    assert hidden != raw
    assert only(check(hidden)) == ("permerror", "malformed header section")


def test_obsolete_white_space_before_the_colon_verifies() -> None:
    """RFC 5322 §4.5.3, RFC 6376 §3.4.2; stock dkimpy raises MessageFormatError."""
    raw = sign().replace(b"\r\nTo:", b"\r\nTo :")
    assert only(check(raw)) == ("pass", "signature verified")


# --- time ---


def test_expiry_is_judged_at_the_time_of_receipt() -> None:
    raw = resigned(b"t=1700000000; x=1700000100; ")
    assert only(check(raw, received_at=datetime.fromtimestamp(1700000050, UTC))) == ("pass", "signature verified")
    assert only(check(raw, received_at=datetime.fromtimestamp(1700000399, UTC))) == ("pass", "signature verified")
    assert only(check(raw, received_at=datetime.fromtimestamp(1700000401, UTC))) == ("fail", "signature expired")
    assert only(check(raw, received_at=datetime.fromtimestamp(1699999600, UTC))) == ("policy", "signed in the future")


@pytest.mark.parametrize(
    "identity",
    [
        b"i=ann@acme.example; ",
        b"i=ann@sub.acme.example; ",
        b"i=a=3Bb@acme.example; ",
        b"i=@ACME.example; ",
        b"i=a=\r\n 40b@acme.example; ",
    ],
)
def test_identities_in_quoted_printable_and_subdomains_verify(identity: bytes) -> None:
    assert only(check(resigned(identity=identity)))[0] == "pass"


@pytest.mark.parametrize("more", [b"q=foo/bar:dns/txt; ", b"q= dns/txt ; ", b"z=From:x|To:y; ", b"unknown=tag; "])
def test_lists_and_unknown_tags_verify(more: bytes) -> None:
    assert only(check(resigned(more)))[0] == "pass"


def test_a_name_signed_more_often_than_present_forbids_additions() -> None:
    raw = resigned(names=b"from:from:to:subject:subject:date")
    assert only(check(raw))[0] == "pass"
    added = raw.replace(b"\r\nTo:", b"\r\nSubject: another\r\nTo:")
    assert only(check(added)) == ("fail", "signature did not verify")


# --- key records ---


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([f"p={PUBLIC}"], "pass"),
        ([f"v=DKIM1; k=rsa; h=sha256; s=email; t=s; n=note; p={PUBLIC}"], "pass"),
        ([f"v=DKIM1; h=sha1:sha256; s=other:email; p={PUBLIC}"], "pass"),
        ([f"v=DKIM1; s=*; p={PUBLIC[:80]} \t{PUBLIC[80:]}"], "pass"),
        (["v=DKIM1; p=AAAA", RECORD], "pass"),
        (["something else", RECORD], "pass"),
        ([], "permerror"),
        (["v=DKIM1; p="], "permerror"),
        (["v=DKIM1; k=rsa"], "permerror"),
        (["v=DKIM2; " + RECORD], "permerror"),
        ([f"k=rsa; v=DKIM1; p={PUBLIC}"], "permerror"),
        ([f"v=DKIM1; h=sha1; p={PUBLIC}"], "permerror"),
        ([f"v=DKIM1; s=tlsrpt; p={PUBLIC}"], "permerror"),
        ([f"v=DKIM1; k=ed25519; p={PUBLIC}"], "permerror"),
        ([f"v=DKIM1; k=dsa; p={PUBLIC}"], "permerror"),
        (["v=DKIM1; p=!!!!"], "permerror"),
        (["v=DKIM1; p=" + "A" * 20_000], "permerror"),
        (["v=DKIM1; p=AAAA; p=BBBB"], "permerror"),
        (["\x00\xff"], "permerror"),
        (["x"] * 20, "permerror"),
    ],
)
def test_key_records(records: list[str], expected: str) -> None:
    zone = key_zone(*records) if records else {}
    assert only(check(sign(), zone))[0] == expected


def test_strict_key_forbids_a_subdomain_identity() -> None:
    """RFC 6376 §3.6.1; stock dkimpy accepts it."""
    raw = sign(identity=b"ann@sub.acme.example")
    assert only(check(raw, key_zone(f"v=DKIM1; t=s; p={PUBLIC}")))[0] == "permerror"
    assert only(check(raw, key_zone(f"v=DKIM1; t=y; p={PUBLIC}")))[0] == "pass"


def test_failure_under_a_key_in_testing_mode_is_as_unsigned() -> None:
    """RFC 6376 §3.6.1."""
    raw = sign().replace(b"Hello", b"Jello")
    (result,) = check(raw, key_zone(f"v=DKIM1; t=y; p={PUBLIC}"))
    assert (result.result, result.properties["policy.testing"]) == ("none", "y")
    assert dkim_status(("none",)) == "GRAY"
    (result,) = check(sign(), key_zone(f"v=DKIM1; t=y:s; p={PUBLIC}"))
    assert (result.result, result.properties["policy.testing"]) == ("pass", "y")


def test_key_size_is_policy() -> None:
    raw = sign(key=PRIVATE_1024)
    zone = key_zone((KEYS / "1024_testkey_wo_markers.pub.txt").read_text().strip())
    assert only(check(raw, zone))[0] == "pass"
    assert only(check(raw, zone, policy=Policy(minimum_rsa_bits=2048))) == ("policy", "RSA key of 1024 bits")


def test_bare_rsa_public_keys_are_keys() -> None:
    zone = key_zone((KEYS / "2048_testkey_wo_markers.pub.rsa.txt").read_text().strip())
    assert only(check(sign(), zone))[0] == "pass"


@pytest.mark.parametrize("failure", ["SERVFAIL", "TIMEOUT"])
def test_a_key_that_cannot_be_fetched_is_temperror(failure: str) -> None:
    """Stock dkimpy reads SERVFAIL as no key, which is permanent."""
    result, reason = only(check(sign(), {"s._domainkey.acme.example": failure}))
    assert (result, reason) == ("temperror", f"key not retrievable: {failure}")


# --- l= ---


def test_partly_signed_body_passes_and_does_not_count_for_dmarc() -> None:
    raw = sign(length=True) + b"<h1>and more</h1>\r\n"
    results = check(raw)
    assert results[0].result == "pass"
    assert results[0].properties["policy.unsigned_octets"] == "23"
    spf = AuthResult(method="spf", result="none")
    zone = ZoneResolver({"_dmarc.acme.example": {"TXT": ["v=DMARC1; p=reject"]}})
    header = Message.of(raw).header
    verdict = check_dmarc(Inquiry(zone).begin("dmarc"), header, spf=spf, dkim=results, policy=Policy())
    assert (verdict.result.result, verdict.policy) == ("fail", "reject")
    trusting = Policy(trust_partial_bodies=True)
    verdict = check_dmarc(Inquiry(zone).begin("dmarc"), header, spf=spf, dkim=results, policy=trusting)
    assert verdict.result.result == "pass"


def test_length_that_covers_the_body_counts() -> None:
    (result,) = check(sign(length=True))
    assert (result.result, "policy.unsigned_octets" in result.properties) == ("pass", False)
    assert result.properties["policy.l_tag"].isdigit()


def test_length_beyond_the_body_fails() -> None:
    raw = sign(length=True)
    short = raw.partition(b"\r\n\r\n")
    # The digits are signed, so a longer l= needs the body that goes with it.
    assert only(check(short[0] + b"\r\n\r\n" + b"Hello Bob,\r\n"))[0] == "fail"


# --- many signatures ---


def test_ten_signatures_are_judged_and_the_rest_is_named() -> None:
    raw = sign()
    field = raw[: len(raw) - len(MESSAGE)]
    results = check(field * 100 + MESSAGE)
    assert [result.result for result in results] == ["pass"] * 10 + ["neutral"] * 50
    assert results[10].reason == "not judged: more than 10 signatures"
    assert results[10].properties["header.d"] == "acme.example"


def test_every_signature_has_its_own_result() -> None:
    raw = sign(sign(), selector="t").replace(b"s=t;", b"s=missing;", 1)
    assert [result.result for result in check(raw)] == ["permerror", "pass"]


def test_header_lists_of_any_length_cost_little() -> None:
    """A scan of all fields for each name of h= would be 10^10 steps."""
    names = b":".join(b"x%d" % number for number in range(50_000))
    fields = b"".join(b"Y%d: z\r\n" % number for number in range(20_000))
    raw = sign().replace(b"h=from", b"h=" + names + b":from", 1)
    assert only(check(fields + raw))[0] == "fail"
