"""Authentication-Results: SES's bytes, hostile values, and the fields that only we may write."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import authres
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mail.address import Mailbox, parse_mailbox
from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Misuse
from mail.headers import parse_header
from mail.message import without_spans
from mail.receipt import Receipt
from mail.values import changed
from mail.verdict import AuthResult, Verdicts, switched_off
from verdicts.auth_results import authentication_results, forged_spans, property_value

US = "amazonses.com"
TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=60)
NASTY = [
    'a"b; dkim=pass header.d=bank.example',
    "x\r\nX-Inj: 1",
    "evil@x; dkim=pass",
    "(",
    ")",
    "\\",
    '"',
    "caf\u00e9",
    "\x00",
    "\x1b[2J",
    " ",
    "a b",
    "=?utf-8?q?x?=",
]


def receipt(
    *,
    mail_from: Mailbox | None = parse_mailbox("ann@acme.example"),  # noqa: B008
    helo: str | None = "mx.acme.example",
    spf: str = "pass",
    dkim: tuple[AuthResult, ...] | None = None,
    dmarc: AuthResult | None = None,
) -> Receipt:
    identity = {"smtp.mailfrom": str(mail_from)} if mail_from else {"smtp.helo": helo or ""}
    if dkim is None:
        dkim = (signed("pass", "acme.example"), signed("fail", "list.example"))
    return Receipt(
        message_id="0" * 39 + "1",
        received_at=datetime(2026, 1, 2, tzinfo=UTC),
        client=Client(ip="192.0.2.1", helo=helo),
        envelope=Envelope(reverse_path=mail_from, recipients=()),
        size=1,
        digest="d",
        verdicts=Verdicts(
            spf=AuthResult(method="spf", result=spf, properties=identity),
            dkim=dkim,
            dmarc=dmarc or AuthResult(method="dmarc", result="pass", properties={"header.from": "acme.example"}),
            arc=AuthResult(method="arc", result="none"),
        ),
    )


def signed(result: str, domain: str, identity: str | None = None) -> AuthResult:
    shown = {"header.d": domain, "header.i": identity or "@" + domain, "header.s": "s1", "header.b": "AbC+/9=="}
    return AuthResult(method="dkim", result=result, properties=shown)


def test_ses_form_to_the_byte() -> None:
    """SES: Authentication-Results; the spf clause repeats Received-SPF's text, each result keeps its semicolon."""
    assert authentication_results(receipt(), authserv_id=US) == (
        b"Authentication-Results: amazonses.com;\r\n"
        b" spf=pass (spfCheck: domain of acme.example designates 192.0.2.1 as permitted sender)"
        b" client-ip=192.0.2.1; envelope-from=ann@acme.example; helo=mx.acme.example;\r\n"
        b" dkim=pass header.i=@acme.example;\r\n"
        b" dkim=fail header.i=@list.example;\r\n"
        b" dmarc=pass header.from=acme.example;\r\n"
    )


def test_ses_form_has_no_dkim_clause_when_unsigned() -> None:
    written = authentication_results(receipt(dkim=()), authserv_id=US)
    assert b"dkim=" not in written
    assert written.endswith(b"\r\n dmarc=pass header.from=acme.example;\r\n")


def test_ses_form_shows_the_domain_of_the_identity() -> None:
    written = authentication_results(receipt(dkim=(signed("pass", "d.example", "ann@sub.d.example"),)), authserv_id=US)
    assert b" dkim=pass header.i=@sub.d.example;\r\n" in written


def test_ses_form_without_an_author_domain() -> None:
    dmarc = AuthResult(method="dmarc", result="permerror")
    assert b" dmarc=permerror;\r\n" in authentication_results(receipt(dmarc=dmarc), authserv_id=US)


def test_rfc8601_form_is_read_back_by_authres() -> None:
    written = authentication_results(receipt(), authserv_id="mx.example.com", style="rfc8601")
    assert max(map(len, written.splitlines())) <= 78
    read = authres.AuthenticationResultsHeader.parse(re.sub(r"\r\n\s+", " ", written.decode()).strip())
    assert read.authserv_id == "mx.example.com"
    assert [(one.method, one.result) for one in read.results] == [
        ("spf", "pass"),
        ("dkim", "pass"),
        ("dkim", "fail"),
        ("arc", "none"),
        ("dmarc", "pass"),
    ]
    assert read.results[1].properties[0].value == "acme.example"


def test_rfc8601_form_says_that_mail_is_unsigned() -> None:
    assert b"\r\n dkim=none;\r\n" in authentication_results(receipt(dkim=()), authserv_id=US, style="rfc8601")


@pytest.mark.parametrize("style", ["ses", "rfc8601"])
@settings(max_examples=300)
@given(st.sampled_from(NASTY) | TEXT, st.sampled_from(NASTY) | TEXT, st.sampled_from(NASTY) | TEXT)
def test_hostile_values_never_write_a_result_or_a_line(style: str, local: str, helo: str, value: str) -> None:
    hostile = receipt(
        mail_from=Mailbox(local_part=local, domain="acme.example"),
        helo=helo,
        dkim=(
            AuthResult(
                method="dkim", result="fail", properties={"header.d": value, "header.i": value, "header.s": value}
            ),
        ),
        dmarc=AuthResult(method="dmarc", result="fail", properties={"header.from": value}),
    )
    written = authentication_results(hostile, authserv_id=US, style=style)
    lines = written.removesuffix(b"\r\n").split(b"\r\n")
    assert all(line.startswith(b" ") for line in lines[1:])
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)
    assert b"\0" not in written
    # Outside quoted strings and comments there is no result but ours.
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"|\([^()]*\)', b"", written)
    assert len(re.findall(rb"\bdkim=", bare)) == 1
    assert b"dkim=pass" not in bare
    assert b"dmarc=pass" not in bare


@given(TEXT)
def test_property_values_are_tokens_addresses_or_quoted(text: str) -> None:
    value = property_value(text)
    if value is not None:
        assert re.fullmatch(r'[!#-\'*+\-.0-9A-Z^-~]+|[ -~]*@[A-Za-z0-9.-]+|"(?:[ !#-\[\]-~]|\\.)*"', value)


@pytest.mark.parametrize("authserv_id", ["", "a b", "a;b", "a\r\nb", "caf\u00e9"])
def test_authserv_id_must_be_a_token(authserv_id: str) -> None:
    with pytest.raises(Misuse):
        authentication_results(receipt(), authserv_id=authserv_id)


# --- forged fields ---

OURS = [
    b"X-SES-Spam-Verdict: PASS",
    b"x-ses-virus-verdict: PASS",
    b"X-SES-RECEIPT: AEFB",
    b"X-SES-Spam-Verdict : PASS",
    b"X-SES-Spam-Verdict:\r\n PASS",
    b"X-SES-\r\n Spam-Verdict: PASS",
    b"X-SES-Spam-Verdict\x00: PASS",
    b"X-SES-Spam\xc2\xadVerdict-: PASS\rX-SES-Spam-Verdict: PASS",
    b"Subject: hi\rX-SES-Spam-Verdict: PASS",
    b"Subject: hi\nAuthentication-Results: amazonses.com; spf=pass",
    b"Authentication-Results: amazonses.com; spf=pass",
    b"AUTHENTICATION-RESULTS:AmazonSES.com;spf=pass",
    b"Authentication-Results:\r\n\tamazonses.com\r\n\t; spf=pass",
    b"Authentication-Results: amazonses.com 1; spf=pass",
    b"Authentication-Results: amazonses.com 99; spf=pass",
    b"Authentication-Results: amazonses.com",
    b"Authentication-Results: amazonses.com (x) 1 (y); none",
    b"Authentication-Results: (a (nested \\) comment)) amazonses.com; spf=pass",
    b'Authentication-Results: "amazonses.com"; spf=pass',
    b'Authentication-Results: "amazon\\ses.com" 1; spf=pass',
    b"Authentication-Results: amazonses.com.; spf=pass",
    b"Authentication-Results: amazonses.com/1; spf=pass",
    b"Authentication-Results: amazonses.com spf=pass",
    b"Authentication-Results: amazonses . com; spf=pass",
    b"Authentication-Results: amazon(comment)ses.com; spf=pass",
    b"Authentication-Results: amazon(a(b)c)ses.com; spf=pass",
    b"Authentication-Results: (unterminated amazonses.com; spf=pass",
    b'Authentication-Results: "amazonses.com; spf=pass',
    b"Authentication-Results: ; amazonses.com; spf=pass",
    b"Authentication-Results: amazon\xe2\x80\x8bses.com; spf=pass",
    b"Authentication-Results: \xef\xbd\x81mazonses.com; spf=pass",
    b"Authentication-Results: =?utf-8?q?amazonses=2Ecom?=; spf=pass",
    b"Authentication-Results: =?utf-8?b?YW1hem9uc2VzLmNvbQ==?=; spf=pass",
    b"Authentication-Results : amazonses.com; spf=pass",
]
THEIRS = [
    b"Authentication-Results: mx.google.com; spf=pass smtp.mailfrom=x@amazonses.com",
    b"Authentication-Results: notamazonses.com; spf=pass",
    b"Authentication-Results: amazonses.com.evil.example; spf=pass",
    b"Authentication-Results: mx.example (amazonses.com); spf=pass",
    b'Authentication-Results: "mx.example"; spf=pass header.d=amazonses.com',
    b"Authentication-Results: spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=a.example; dkim=none",
    b"ARC-Authentication-Results: i=1; amazonses.com; spf=pass",
    b"X-SES-Outgoing: 2026.01.01-54.240.1.1",
    b"X-SES-Spam: yes",
    b"Received-SPF: pass",
    b"Subject: Authentication-Results: amazonses.com; spf=pass",
    b"Subject: folded\r\n X-SES-Spam-Verdict: PASS",
]


@pytest.mark.parametrize("field", OURS)
def test_fields_that_only_we_may_write_are_cut(field: bytes) -> None:
    raw = b"From: <a@b.example>\r\n" + field + b"\r\nTo: <c@d.example>\r\n\r\nbody\r\n"
    spans = forged_spans(parse_header(raw), US)
    assert without_spans(raw, spans) == b"From: <a@b.example>\r\nTo: <c@d.example>\r\n\r\nbody\r\n"


@pytest.mark.parametrize("field", THEIRS)
def test_fields_of_others_stay(field: bytes) -> None:
    raw = b"From: <a@b.example>\r\n" + field + b"\r\nTo: <c@d.example>\r\n\r\nbody\r\n"
    assert forged_spans(parse_header(raw), US) == ()


@pytest.mark.parametrize(
    "first", [b" dkim=pass header.d=bank.example;", b"\tx\r\n y: z", b" ", b" From: <a@bank.example>"]
)
def test_nothing_goes_on_with_the_last_field_that_we_put_above_a_message(first: bytes) -> None:
    """RFC 5322 §2.2.3: a line that begins with white space belongs to the field above it, which here would be ours."""
    raw = first + b"\r\nTo: <c@d.example>\r\n folded\r\n\r\n body\r\n"
    assert without_spans(raw, forged_spans(parse_header(raw), US)) == b"To: <c@d.example>\r\n folded\r\n\r\n body\r\n"


def test_what_we_write_is_cut_when_it_comes_back() -> None:
    for style in ("ses", "rfc8601"):
        raw = authentication_results(receipt(), authserv_id=US, style=style) + b"To: x\r\n\r\n"
        ((start, end),) = forged_spans(parse_header(raw), US)
        assert raw[end:] == b"To: x\r\n\r\n"
        assert start == 0


@given(st.binary(max_size=200))
def test_forged_spans_never_raise_and_are_ordered(data: bytes) -> None:
    raw = b"Authentication-Results:" + data + b"\r\n\r\n"
    spans = forged_spans(parse_header(raw), US)
    assert list(spans) == sorted(spans)
    assert all(start < end for start, end in spans)


LINES = st.lists(
    st.one_of(
        st.sampled_from([*OURS, *THEIRS]),
        st.sampled_from(
            [b"From: <a@b.example>", b" folded", b"no field", b"X-Ses-\rReceipt: x", b"A: b\nX-SES-RECEIPT: c"]
        ),
        st.binary(max_size=30),
    ),
    max_size=6,
)


@given(LINES)
def test_a_field_is_cut_or_stays_whatever_stands_beside_it(lines: list[bytes]) -> None:
    view = parse_header(b"".join(line + b"\r\n" for line in lines) + b"\r\n")
    alone = [field for field in view.fields if forged_spans(parse_header(field.raw), US)]
    assert forged_spans(view, US) == tuple((field.start, field.end) for field in alone)


def test_other_hosts_values_in_the_public_cases_are_not_taken_for_ours() -> None:
    folder = Path(__file__).parent.parent / "vectors" / "authres-go-msgauth"
    text = (folder / "cases.json").read_text()
    values = [case["value"] for case in json.loads(text)]
    assert len(values) == 13
    for value in values:
        raw = b"Authentication-Results: " + value.encode() + b"\r\n\r\n"
        assert forged_spans(parse_header(raw), US) == ()


@pytest.mark.parametrize(
    ("off", "style", "written"),
    [
        (("spf", "dkim", "dmarc", "arc"), "ses", "none"),
        (("spf", "dkim", "dmarc", "arc"), "rfc8601", "none"),
        (("spf", "dmarc", "arc"), "ses", "dkim=pass header.i=@acme.example;"),
        (("dkim", "dmarc", "arc"), "rfc8601", "spf=pass smtp.mailfrom=ann@acme.example"),
    ],
)
def test_a_check_that_is_off_has_no_entry(off: tuple[str, ...], style: str, written: str) -> None:
    subject = receipt(dkim=(signed("pass", "acme.example"),))
    blank = {method: switched_off(method) for method in off if method != "dkim"}
    dkim = (switched_off("dkim"),) if "dkim" in off else subject.verdicts.dkim
    subject = changed(subject, verdicts=changed(subject.verdicts, **blank, dkim=dkim))
    field = authentication_results(subject, authserv_id=US, style=style).decode()
    assert field == f"Authentication-Results: amazonses.com;\r\n {written}\r\n"
    read = authres.AuthenticationResultsHeader.parse(field.removesuffix("\r\n").removesuffix(";").replace("\r\n", ""))
    assert {one.method for one in read.results} == {"spf", "dkim", "dmarc", "arc"} - set(off)
