"""DMARC: discovery by tree walk and by public suffix list, alignment, effective policy, and every odd From."""

import re
from pathlib import Path
from typing import Any

import pytest

from mail.address import parse_domain
from mail.errors import Malformed
from mail.headers import parse_header
from mail.verdict import AuthResult
from verdicts.alignment import registrable_domain
from verdicts.check_dmarc import DmarcVerdict, author_domains, check_dmarc
from verdicts.dmarc_record import parse_record
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Inquiry
from verdicts.policy import Policy

PSL = Path(__file__).parent.parent / "vectors" / "psl" / "test_psl.txt"
TREE_WALK, SUFFIX_LIST = Policy(), Policy(dmarc="rfc7489")


def records(**texts: str) -> dict[str, Any]:
    """`a__b=...` is the record at _dmarc.a.b."""
    return {f"_dmarc.{name.replace('__', '.')}": {"TXT": [text]} for name, text in texts.items()}


def spf(domain: str, result: str = "pass") -> AuthResult:
    return AuthResult(method="spf", result=result, properties={"smtp.mailfrom": f"x@{domain}"})


def dkim(domain: str, result: str = "pass") -> AuthResult:
    return AuthResult(method="dkim", result=result, properties={"header.d": domain})


NO_SPF = AuthResult(method="spf", result="none")


def evaluate(
    zone: dict[str, Any],
    *signatures: AuthResult,
    from_: str = "From: <a@acme.example>",
    spf: AuthResult = NO_SPF,
    policy: Policy = TREE_WALK,
) -> DmarcVerdict:
    header = parse_header(from_.encode() + b"\r\n\r\n")
    ask = Inquiry(ZoneResolver(zone)).begin("dmarc")
    return check_dmarc(ask, header, spf=spf, dkim=signatures, policy=policy)


def summary(verdict: DmarcVerdict) -> tuple[str, str | None]:
    return verdict.result.result, verdict.policy


REJECT = records(acme__example="v=DMARC1; p=reject")


# --- results ---


@pytest.mark.parametrize("policy", [TREE_WALK, SUFFIX_LIST])
def test_aligned_dkim_or_spf_passes_and_neither_fails(policy: Policy) -> None:
    assert summary(evaluate(REJECT, dkim("acme.example"), policy=policy)) == ("pass", "reject")
    assert summary(evaluate(REJECT, spf=spf("acme.example"), policy=policy)) == ("pass", "reject")
    assert summary(evaluate(REJECT, dkim("other.example"), spf=spf("evil.example"), policy=policy)) == (
        "fail",
        "reject",
    )
    assert summary(evaluate(REJECT, dkim("acme.example", "fail"), policy=policy)) == ("fail", "reject")


def test_no_record_is_none() -> None:
    verdict = evaluate({}, dkim("acme.example"))
    assert (summary(verdict), verdict.from_domain) == (("none", None), "acme.example")


def test_second_record_means_no_policy() -> None:
    """RFC 7489 §6.6.3, RFC 9989 §4.10."""
    zone = {"_dmarc.acme.example": {"TXT": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}}
    assert summary(evaluate(zone)) == ("none", None)
    zone = {"_dmarc.acme.example": {"TXT": ["v=spf1 -all", "v=DMARC1; p=reject", "v=DMARC2; p=none"]}}
    assert summary(evaluate(zone)) == ("fail", "reject")


@pytest.mark.parametrize("failure", ["SERVFAIL", "TIMEOUT"])
@pytest.mark.parametrize("policy", [TREE_WALK, SUFFIX_LIST])
def test_a_record_that_cannot_be_fetched_is_temperror(failure: str, policy: Policy) -> None:
    verdict = evaluate({"_dmarc.acme.example": failure}, policy=policy)
    assert verdict.result.result == "temperror"
    assert verdict.result.reason == f"{failure} for _dmarc.acme.example"


def test_temperror_of_something_that_would_align_is_temperror() -> None:
    assert summary(evaluate(REJECT, dkim("acme.example", "temperror"))) == ("temperror", "reject")
    assert summary(evaluate(REJECT, spf=spf("acme.example", "temperror"))) == ("temperror", "reject")
    # What would not align cannot excuse a failure: a forger's own broken DNS is no way out of a reject.
    assert summary(evaluate(REJECT, dkim("evil.example", "temperror"), spf=spf("evil.example", "temperror"))) == (
        "fail",
        "reject",
    )
    assert summary(evaluate(REJECT, dkim("acme.example", "temperror"), dkim("acme.example"))) == ("pass", "reject")


def test_properties_explain_the_verdict() -> None:
    verdict = evaluate(records(example="v=DMARC1; p=reject; sp=quarantine; psd=n"))
    assert dict(verdict.result.properties) == {
        "header.from": "acme.example",
        "policy.dmarc": "quarantine",
        "policy.p": "reject",
        "policy.sp": "quarantine",
        "policy.domain": "example",
        "policy.record": "v=DMARC1; p=reject; sp=quarantine; psd=n",
    }


# --- alignment ---


@pytest.mark.parametrize(
    ("record", "identifier", "result"),
    [
        ("v=DMARC1; p=reject", "mail.acme.example", "pass"),
        ("v=DMARC1; p=reject; adkim=s", "mail.acme.example", "fail"),
        ("v=DMARC1; p=reject; adkim=s", "acme.example", "pass"),
        ("v=DMARC1; p=reject", "evilacme.example", "fail"),
        ("v=DMARC1; p=reject", "example", "fail"),
    ],
)
@pytest.mark.parametrize("policy", [TREE_WALK, SUFFIX_LIST])
def test_dkim_alignment(record: str, identifier: str, result: str, policy: Policy) -> None:
    assert evaluate(records(acme__example=record), dkim(identifier), policy=policy).result.result == result


def test_spf_alignment_is_its_own_mode() -> None:
    zone = records(acme__example="v=DMARC1; p=reject; aspf=s")
    assert evaluate(zone, spf=spf("mail.acme.example")).result.result == "fail"
    assert evaluate(zone, dkim("mail.acme.example")).result.result == "pass"


def test_a_subdomain_that_is_an_organization_of_its_own_is_not_aligned() -> None:
    """RFC 9989 §4.10.2: psd=n at the signer's name cuts it off."""
    zone = records(acme__example="v=DMARC1; p=reject", tenant__acme__example="v=DMARC1; p=none; psd=n")
    assert evaluate(zone, dkim("tenant.acme.example")).result.result == "fail"


def test_names_under_a_public_suffix_are_not_aligned_with_each_other() -> None:
    zone = records(gov__example="v=DMARC1; p=reject; psd=y")
    verdict = evaluate(zone, dkim("b.gov.example"), from_="From: <x@a.gov.example>")
    assert summary(verdict) == ("fail", "reject")
    assert verdict.result.properties["policy.domain"] == "gov.example"
    assert evaluate(zone, dkim("m.a.gov.example"), from_="From: <x@a.gov.example>").result.result == "pass"


def test_unrelated_signers_cost_no_queries() -> None:
    ask = Inquiry(ZoneResolver(REJECT)).begin("dmarc")
    header = parse_header(b"From: <a@acme.example>\r\n\r\n")
    check_dmarc(ask, header, spf=NO_SPF, dkim=(dkim("evil.test"),), policy=TREE_WALK)
    assert list(ask.used) == [("_dmarc.acme.example", "TXT")]


# --- discovery ---


def test_tree_walk_asks_at_most_eight_names() -> None:
    """RFC 9989 §4.10: of a deep name, itself and then its ancestors from seven labels down."""
    ask = Inquiry(ZoneResolver(records(example="v=DMARC1; p=none; sp=reject"))).begin("dmarc")
    header = parse_header(b"From: <x@a.b.c.d.e.f.g.h.i.j.mail.example>\r\n\r\n")
    verdict = check_dmarc(ask, header, spf=NO_SPF, dkim=(), policy=TREE_WALK)
    assert verdict.policy == "reject"
    assert [name for name, _ in ask.used] == [
        "_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example",
        "_dmarc.f.g.h.i.j.mail.example",
        "_dmarc.g.h.i.j.mail.example",
        "_dmarc.h.i.j.mail.example",
        "_dmarc.i.j.mail.example",
        "_dmarc.j.mail.example",
        "_dmarc.mail.example",
        "_dmarc.example",
    ]


def test_own_record_is_used_before_the_organizations() -> None:
    zone = records(acme__example="v=DMARC1; p=reject", m__acme__example="v=DMARC1; p=none")
    assert summary(evaluate(zone, from_="From: <a@m.acme.example>")) == ("fail", "none")
    assert summary(evaluate(zone, from_="From: <a@m.acme.example>", policy=SUFFIX_LIST)) == ("fail", "none")


def test_organizational_record_is_the_one_with_the_fewest_labels() -> None:
    zone = records(acme__example="v=DMARC1; p=reject", m__acme__example="v=DMARC1; p=none")
    assert summary(evaluate(zone, from_="From: <a@x.m.acme.example>")) == ("fail", "reject")


@pytest.mark.parametrize("policy", [TREE_WALK, SUFFIX_LIST])
def test_subdomain_policy(policy: Policy) -> None:
    zone = records(acme__example="v=DMARC1; p=none; sp=quarantine")
    assert summary(evaluate(zone, from_="From: <a@m.acme.example>", policy=policy)) == ("fail", "quarantine")
    assert summary(evaluate(zone, policy=policy)) == ("fail", "none")


def test_policy_for_names_that_do_not_exist() -> None:
    """RFC 9989 §4.7 (np=): NXDOMAIN, not merely a name without addresses."""
    zone = records(acme__example="v=DMARC1; p=none; sp=quarantine; np=reject")
    assert summary(evaluate(zone, from_="From: <a@nope.acme.example>")) == ("fail", "reject")
    zone["there.acme.example"] = {"TXT": ["x"]}
    assert summary(evaluate(zone, from_="From: <a@there.acme.example>")) == ("fail", "quarantine")
    zone["broken.acme.example"] = "SERVFAIL"
    assert evaluate(zone, from_="From: <a@broken.acme.example>").result.result == "temperror"


def test_testing_mode_lowers_the_policy_by_one() -> None:
    for asked, effective in (("reject", "quarantine"), ("quarantine", "none"), ("none", "none")):
        verdict = evaluate(records(acme__example=f"v=DMARC1; p={asked}; t=y"))
        assert summary(verdict) == ("fail", effective)
    assert summary(evaluate(records(acme__example="v=DMARC1; p=reject; t=y"), policy=SUFFIX_LIST)) == ("fail", "reject")


def test_percentage_is_of_rfc_7489_only() -> None:
    zone = records(acme__example="v=DMARC1; p=reject; pct=0")
    assert summary(evaluate(zone, policy=SUFFIX_LIST)) == ("fail", "quarantine")
    assert summary(evaluate(zone)) == ("fail", "reject")


# --- records ---


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("v=DMARC1; p=reject", "reject"),
        ("v=DMARC1;p=reject;", "reject"),
        (" v = DMARC1 ; p = Reject", "reject"),
        ("v=DMARC1; p=reject; p=none", "reject"),
        ("v=DMARC1; ;; =; junk; p=quarantine", "quarantine"),
        ("v=DMARC1; p=bogus", None),
        ("v=DMARC1; p=bogus; rua=mailto:a@b.example", "none"),
        ("v=DMARC1; p=reject; sp=bogus; rua=https://x, mailto:a@b.example!10m", "none"),
        ("v=DMARC1; p=reject; np=bogus", None),
        ("v=DMARC1; rua=nonsense", None),
        ("v=DMARC1", None),
    ],
)
def test_records(text: str, policy: str | None) -> None:
    assert parse_record(text).policy == policy


@pytest.mark.parametrize("text", ["v=DMARC1x; p=reject", "v=dmarc1; p=reject", "p=reject; v=DMARC1", "v=DMARC12", ""])
def test_what_is_no_dmarc_record_is_ignored(text: str) -> None:
    assert summary(evaluate(records(acme__example=text))) == ("none", None)


# --- From ---


@pytest.mark.parametrize(
    ("from_", "domains"),
    [
        ("From: a@acme.example", ["acme.example"]),
        ("From: =?utf-8?q?A?= <a@ACME.example>", ["acme.example"]),
        ('From: "evil@bank.example" <a@acme.example>', ["acme.example"]),
        ("From: (bank@bank.example) a@acme.example (x)", ["acme.example"]),
        ("From: a@acme.example, b@acme.example", ["acme.example"]),
        ("From: team: a@acme.example, b@b.example;", ["acme.example", "b.example"]),
        ("From: <a@acme.example.>", ["acme.example"]),
        ("From: <a@under_score.example>", ["under_score.example"]),
        ("From: <a@b\u00fccher.example>", ["xn--bcher-kva.example"]),
        ('From: "a@bank.example"@acme.example', ["acme.example"]),
        # What a reader may take for the author, though the last name is the one that the grammar finds, or would.
        ("From: <a@acme.example> <b@bank.example>", ["acme.example", "bank.example"]),
        ("From: <a@acme.example> b@bank.example", ["acme.example", "bank.example"]),
        ("From: b@bank.example@acme.example", ["bank.example", "acme.example"]),
        ("From: <b@bank.example\0@acme.example>", ["bank.example", "acme.example"]),
        ("From: <@bank.example,@c.example:a@acme.example>", ["bank.example", "c.example", "acme.example"]),
        ("From: <@b@bank.example:a@acme.example>", ["b", "bank.example", "acme.example"]),
        ('From: "x"b@bank.example@acme.example', ["bank.example", "acme.example"]),
        ("From: <b@bank.example<a@acme.example>>", ["bank.example", "acme.example"]),
        ("From: undisclosed:;", []),
        ("From: <>", [""]),
        ("From: <a@>", [""]),
        ("From: <a@b..c>", [""]),
        ("Subject: x", []),
    ],
)
def test_author_domains(from_: str, domains: list[str]) -> None:
    assert author_domains(parse_header(from_.encode() + b"\r\n\r\n")) == domains


@pytest.mark.parametrize(
    "from_", ["Subject: no from", "From: undisclosed:;", "From: nobody", "From: <a@b..c>", "From: " + "(" * 3000]
)
def test_mail_without_an_author_domain_is_permerror(from_: str) -> None:
    verdict = evaluate(REJECT, dkim("acme.example"), from_=from_)
    assert (summary(verdict), verdict.from_domain) == (("permerror", None), None)


@pytest.mark.parametrize(
    "from_",
    [
        "From: <a@evil.example>\r\nFrom: <a@acme.example>",
        "From: <a@acme.example>\r\nFrom: <a@evil.example>",
        "From: <a@evil.example>, <a@acme.example>",
        "From: <a@b..c>, <a@acme.example>",
        "From: <a@evil.example> <a@acme.example>",
        "From: <a@acme.example@evil.example>",
    ],
)
def test_a_second_author_does_not_hide_the_first(from_: str) -> None:
    """RFC 7489 §6.6.1: each is evaluated, the strictest failure counts; a pass of both is no pass."""
    zone = {**REJECT, **records(evil__example="v=DMARC1; p=none")}
    assert summary(evaluate(zone, dkim("evil.example"), from_=from_)) == ("fail", "reject")
    verdict = evaluate(zone, dkim("evil.example"), dkim("acme.example"), from_=from_)
    assert (summary(verdict), verdict.from_domain) == (("permerror", None), None)


def test_two_from_fields_of_one_domain_are_still_two() -> None:
    verdict = evaluate(REJECT, dkim("acme.example"), from_="From: <a@acme.example>\r\nFrom: <b@acme.example>")
    assert verdict.result.result == "permerror"


def test_international_from_is_its_a_label() -> None:
    zone = {"_dmarc.xn--bcher-kva.example": {"TXT": ["v=DMARC1; p=reject"]}}
    verdict = evaluate(zone, dkim("xn--bcher-kva.example"), from_="From: <a@b\u00fccher.example>")
    assert (summary(verdict), verdict.from_domain) == (("pass", "reject"), "xn--bcher-kva.example")


# --- public suffix list ---


def psl_cases() -> list[tuple[str, str | None]]:
    found = re.findall(
        r"^checkPublicSuffix\((null|'[^']*'), (null|'[^']*')\);", PSL.read_text(encoding="utf-8"), re.MULTILINE
    )
    return [(name.strip("'"), None if suffix == "null" else suffix.strip("'")) for name, suffix in found]


def test_public_suffix_vectors() -> None:
    """A name that is a public suffix itself, or no domain, has no registrable domain: it stands for itself. Exceptions: none."""
    cases = psl_cases()
    for name, expected in cases:
        try:
            domain = parse_domain(name)
        except Malformed:
            assert expected is None
            continue
        if name != "null":
            assert registrable_domain(domain) == parse_domain(expected or name), name
    print(f"public suffix vectors: {len(cases)}/78")
    assert len(cases) == 78
