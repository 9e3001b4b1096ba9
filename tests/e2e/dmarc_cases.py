"""DMARC by the text of RFC 9989 and of RFC 7489: the same forged and honest mail under many records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dkim_cases import NAMES, RECORD, TAGS
from plain_signer import sealed
from replay_suite import Case

RUA = "rua=mailto:d@acme.example"


def made(
    name: str,
    because: str,
    expect: str,
    policy: str | None = None,
    *,
    zone: Mapping[str, Any],
    header: bytes = b"From: Ann <ann@acme.example>",
    spf_of: str | None = "other.example",
    signer: str | None = None,
    spf: str = "pass",
) -> Case:
    """A message whose MAIL FROM is at `spf_of` and passes there, signed by `signer`."""
    raw = header + b"\r\nTo: bob@example.com\r\nSubject: x\r\nDate: Fri, 02 Jan 2026 03:04:05 +0000\r\n\r\nhi\r\n"
    names = dict(zone)
    if signer is not None:
        tags = TAGS.replace(b"acme.example", signer.encode())
        raw = sealed(b"DKIM-Signature: " + tags + b"\r\n" + raw, field=b"DKIM-Signature", names=NAMES)
        names[f"s._domainkey.{signer}"] = {"TXT": [RECORD]}
    if spf_of is not None:
        record = {"pass": {"TXT": ["v=spf1 +all"]}, "fail": {"TXT": ["v=spf1 -all"]}, "temperror": "SERVFAIL"}[spf]
        names.setdefault(spf_of, record)
    return Case(
        name=name,
        because=because,
        raw=raw,
        zone=names,
        mail_from=f"ann@{spf_of}" if spf_of else None,
        helo="mx.nowhere.example" if spf_of else "mx.acme.example",
        expect={"dmarc": expect, "dmarc_policy": policy},
    )


def at(**records: str | list[str]) -> dict[str, Any]:
    """A zone: `acme_example="..."` is the record of acme.example; __ stands for a hyphen."""
    return {
        "_dmarc." + name.replace("__", "-").replace("_", "."): {"TXT": text if isinstance(text, list) else [text]}
        for name, text in records.items()
    }


REJECT = at(acme_example="v=DMARC1; p=reject")


def cases_of_both() -> Iterator[Case]:
    """What RFC 7489 and RFC 9989 agree about."""
    yield from _alignment()
    yield from _records()
    yield from _authors()
    yield from _failures()


def _alignment() -> Iterator[Case]:
    strict = at(acme_example="v=DMARC1; p=reject; aspf=s; adkim=s")
    both = "RFC 7489 §3.1, RFC 9989 §4.4"
    yield made("nothing aligned", both, "fail", "reject", zone=REJECT)
    yield made("SPF aligned", both, "pass", "reject", zone=REJECT, spf_of="acme.example")
    yield made("SPF aligned, relaxed", both, "pass", "reject", zone=REJECT, spf_of="bounce.acme.example")
    yield made("SPF aligned, relaxed, strict asked", both, "fail", "reject", zone=strict, spf_of="b.acme.example")
    yield made("SPF aligned, strict", both, "pass", "reject", zone=strict, spf_of="acme.example")
    yield made("SPF aligned but failing", both, "fail", "reject", zone=REJECT, spf_of="acme.example", spf="fail")
    yield made("DKIM aligned", both, "pass", "reject", zone=REJECT, signer="acme.example")
    yield made("DKIM aligned, relaxed", both, "pass", "reject", zone=REJECT, signer="mail.acme.example")
    yield made("DKIM aligned, relaxed, strict asked", both, "fail", "reject", zone=strict, signer="m.acme.example")
    yield made("DKIM aligned, strict", both, "pass", "reject", zone=strict, signer="acme.example")
    yield made("DKIM of a stranger", both, "fail", "reject", zone=REJECT, signer="other.example")
    yield made("a name that ends alike", both, "fail", "reject", zone=REJECT, signer="evilacme.example")
    yield made("a public suffix in common", both, "fail", "reject", zone=REJECT, signer="other2.example")
    below = b"From: Ann <ann@news.acme.example>"
    yield made("From below, signer above", both, "pass", "reject", zone=REJECT, header=below, signer="acme.example")
    yield made("From below, signer beside", both, "pass", "reject", zone=REJECT, header=below, signer="m.acme.example")
    yield made("From below, strict asked", both, "fail", "reject", zone=strict, header=below, signer="acme.example")
    yield made("no policy at all", both, "none", zone={})
    yield made("no policy, all aligned", both, "none", zone={}, spf_of="acme.example")
    sub = at(acme_example="v=DMARC1; p=none; sp=reject")
    yield made(
        "sp=",
        "RFC 7489 §6.3 sp:",
        "fail",
        "reject",
        zone={**sub, "news.acme.example": {"A": ["192.0.2.9"]}},
        header=below,
    )
    yield made("sp= is not for the domain itself", "RFC 7489 §6.3 sp:", "fail", "none", zone=sub)
    own = {**at(acme_example="v=DMARC1; p=reject", news_acme_example="v=DMARC1; p=quarantine; sp=none")}
    yield made(
        "a subdomain's own record", "RFC 7489 §6.6.3, RFC 9989 §4.10.1", "fail", "quarantine", zone=own, header=below
    )


def _records() -> Iterator[Case]:
    syntax = "RFC 7489 §6.3, §6.4; RFC 9989 §4.7, §4.8"
    good = {
        "plain": ("v=DMARC1; p=quarantine", "quarantine"),
        "no spaces": ("v=DMARC1;p=quarantine", "quarantine"),
        "many spaces": ("v = DMARC1 ; p =\tquarantine ;  ", "quarantine"),
        "a final semicolon": ("v=DMARC1; p=reject;", "reject"),
        "value in capitals": ("v=DMARC1; p=REJECT", "reject"),
        "tag in capitals": ("v=DMARC1; P=reject", "reject"),
        "unknown tags": ("v=DMARC1; foo=bar; p=reject; baz=1;", "reject"),
        "p= is not second": (f"v=DMARC1; {RUA}; p=reject", "reject"),
        "bad adkim=": ("v=DMARC1; p=reject; adkim=x", "reject"),
        "bad fo=": ("v=DMARC1; p=reject; fo=9", "reject"),
        "bad ri=": ("v=DMARC1; p=reject; ri=soon", "reject"),
        "bad rf=": ("v=DMARC1; p=reject; rf=iodef", "reject"),
        "bad pct=": ("v=DMARC1; p=reject; pct=many", "reject"),
        "pct= beyond 100": ("v=DMARC1; p=reject; pct=500", "reject"),
        "pct= negative": ("v=DMARC1; p=reject; pct=-1", "reject"),
        "bad rua=": ("v=DMARC1; p=reject; rua=nothing", "reject"),
        "a piece without =": ("v=DMARC1; p=reject; junk", "reject"),
        "an empty piece": ("v=DMARC1;; p=reject", "reject"),
        "bad p= with rua=": (f"v=DMARC1; p=bob; {RUA}", "none"),
        "no p= with rua=": (f"v=DMARC1; {RUA}", "none"),
        "bad sp= with rua=": (f"v=DMARC1; p=reject; sp=bob; {RUA}", "none"),
        "bad p= with rua= of another scheme": ("v=DMARC1; p=bob; rua=https://acme.example/dmarc", "none"),
        "bad p= with several rua=": ("v=DMARC1; p=bob; rua=junk,mailto:x@acme.example!10m", "none"),
    }
    for what, (text, policy) in good.items():
        yield made(f"record: {what}", syntax, "fail", policy, zone=at(acme_example=text))
    bad = {
        "p= first": "p=reject; v=DMARC1",
        "v=dmarc1": "v=dmarc1; p=reject",
        "V=DMARC1 of version 2": "v=DMARC2; p=reject",
        "v=DMARC1 with more": "v=DMARC10; p=reject",
        "no v=": "p=reject",
        "comma instead of semicolon": "v=DMARC1, p=reject",
        "v=DMARC1 p=reject": "v=DMARC1 p=reject",
        "bad p= without rua=": "v=DMARC1; p=bob",
        "no p= without rua=": "v=DMARC1; adkim=s",
        "bad p= with a bad rua=": "v=DMARC1; p=bob; rua=nothing",
        "v= alone": "v=DMARC1",
        "empty": "",
        "prose": "we have no DMARC",
        "quoted": '"v=DMARC1; p=reject"',
    }
    for what, text in bad.items():
        yield made(f"record: {what}", syntax, "none", zone=at(acme_example=text))
    several = "RFC 7489 §6.6.3, RFC 9989 §4.10"
    two = at(acme_example=["v=DMARC1; p=reject", "v=DMARC1; p=none"])
    yield made("two records", several, "none", zone=two)
    yield made("the same record twice", several, "none", zone=at(acme_example=["v=DMARC1; p=reject"] * 2))
    beside = at(acme_example=["v=spf1 -all", "v=DMARC1; p=reject", "p=none", "v=DMARC2; p=none"])
    yield made("other text beside a record", several, "fail", "reject", zone=beside)
    split = {"_dmarc.acme.example": {"TXT": [["v=DMARC1; p=rej", "ect; sp=none"]]}}
    yield made("a record of several strings", "RFC 7489 §6.1, RFC 9989 §4.6", "fail", "reject", zone=split)
    alias = {"_dmarc.acme.example": {"CNAME": ["_dmarc.hoster.example"]}, **at(hoster_example="v=DMARC1; p=reject")}
    yield made("a record by CNAME", "RFC 9989 §4.6", "fail", "reject", zone=alias)


def _authors() -> Iterator[Case]:
    at_author = "RFC 7489 §6.6.1, RFC 9989 §4.3"
    for what, header in (
        ("bare", b"From: ann@acme.example"),
        ("in capitals", b"FROM: ANN@ACME.EXAMPLE"),
        ("folded", b"From: Ann\r\n\t<ann@acme.example>"),
        ("comment", b"From: ann@acme.example (ann@other.example)"),
        ("comment inside", b"From: ann@(x)acme.example"),
        ("another address as its name", b'From: "boss@other.example" <ann@acme.example>'),
        ("another address as its name, unquoted", b"From: boss@other.example <ann@acme.example>"),
        ("a route", b"From: <@other.example,@b.example:ann@acme.example>"),
        ("a quoted local-part with @", b'From: "a@other.example"@acme.example'),
        ("final dot", b"From: ann@acme.example."),
        ("encoded name", b"From: =?utf-8?Q?a=40other.example?= <ann@acme.example>"),
        ("a name with a comma", b'From: "Miller, Ann" <ann@acme.example>'),
        ("a group of one", b"From: staff: ann@acme.example;"),
        ("two of one domain", b"From: ann@acme.example, bob@acme.example"),
        ("a space in the domain", b"From: <ann@acme .example>"),
        ("white space before the colon", b"From : ann@acme.example"),
    ):
        yield made(f"From: {what}", at_author, "fail", "reject", zone=REJECT, header=header, signer="other.example")
    worst = "RFC 7489 §6.6.1: each is judged, the strictest counts"
    two = b"From: eve@other.example, ann@acme.example"
    yield made("From: two domains, one fails", worst, "fail", "reject", zone=REJECT, header=two, signer="other.example")
    two = b"From: eve@other.example\r\nFrom: ann@acme.example"
    yield made("two From fields, one fails", worst, "fail", "reject", zone=REJECT, header=two, signer=None)
    two = b"From: <eve@other.example> <ann@acme.example>"
    yield made(
        "From: two in angles without a comma", worst, "fail", "reject", zone=REJECT, header=two, signer="other.example"
    )
    two = b"From: ann@acme.example@other.example"
    yield made("From: two domains in one address", worst, "fail", "reject", zone=REJECT, header=two)
    two = b"From: ann@acme.example\0@other.example"
    yield made("From: NUL behind the domain", worst, "fail", "reject", zone=REJECT, header=two)
    two = b"From: =?utf-8?B?YW5uQGFjbWUuZXhhbXBsZQ==?=, <eve@other.example>"
    yield made("From: an encoded word instead of an address", at_author, "permerror", zone=REJECT, header=two)
    two = b"From: eve@other.example <eve@other.example>, <ann@acme.example>"
    yield made("From: a second in angles", worst, "fail", "reject", zone=REJECT, header=two, signer="other.example")
    for what, header in (
        ("missing", b"X-From: ann@acme.example"),
        ("empty", b"From:"),
        ("no address", b"From: Ann"),
        ("null address", b"From: <>"),
        ("no domain", b"From: ann@"),
        ("an empty group", b"From: undisclosed:;"),
    ):
        yield made(f"From: {what}", at_author, "permerror", zone=REJECT, header=header)
    idn = {"_dmarc.xn--bcher-kva.example": {"TXT": ["v=DMARC1; p=reject"]}}
    for what, header in (
        ("U-label", "From: ann@bücher.example"),
        ("capital U-label", "From: ann@BÜCHER.example"),
        ("A-label", "From: ann@XN--bcher-kva.example"),
    ):
        yield made(f"From: {what}", "RFC 8616 §4", "fail", "reject", zone=idn, header=header.encode())
    yield made(
        "From: U-label, aligned",
        "RFC 8616 §4",
        "pass",
        "reject",
        zone=idn,
        header="From: a@bücher.example".encode(),
        signer="xn--bcher-kva.example",
    )


def _failures() -> Iterator[Case]:
    for word in ("SERVFAIL", "TIMEOUT"):
        yield made(f"record: {word}", "RFC 7489 §6.6.3, RFC 9989 §5.3", "temperror", zone={"_dmarc.acme.example": word})
    yield made(
        "the parent's record: SERVFAIL",
        "RFC 9989 §4.10",
        "temperror",
        zone={"_dmarc.acme.example": "SERVFAIL"},
        header=b"From: ann@news.acme.example",
    )
    yield made(
        "SPF aligned: temperror",
        "RFC 7489 §6.6.2",
        "temperror",
        "reject",
        zone=REJECT,
        spf_of="acme.example",
        spf="temperror",
    )
    yield made("SPF of a stranger: temperror", "RFC 7489 §6.6.2", "fail", "reject", zone=REJECT, spf="temperror")
    key = {**REJECT, "s._domainkey.acme.example": "SERVFAIL"}
    raw = made("DKIM aligned: temperror", "RFC 7489 §6.6.2", "temperror", "reject", zone=REJECT, signer="acme.example")
    yield Case(
        name=raw.name,
        because=raw.because,
        raw=raw.raw,
        zone=key,
        mail_from=raw.mail_from,
        helo=raw.helo,
        expect=raw.expect,
    )
    null = {**REJECT, "mx.acme.example": {"TXT": ["v=spf1 +all"]}}
    yield made(
        "null sender: HELO aligned", "RFC 7489 §3.1.2, RFC 9989 §4.4.2", "pass", "reject", zone=null, spf_of=None
    )


def cases_of_rfc9989() -> Iterator[Case]:
    """The tree walk, psd=, np= and t=."""
    walk, org = "RFC 9989 §4.10", "RFC 9989 §4.10.2"
    deep = b"From: ann@a.b.c.d.e.f.g.h.i.acme.example"
    yield made(
        "11 labels: the seventh is asked",
        walk,
        "fail",
        "quarantine",
        header=deep,
        zone=at(e_f_g_h_i_acme_example="v=DMARC1; p=quarantine"),
    )
    yield made(
        "11 labels: the eighth is not asked",
        walk,
        "none",
        header=deep,
        zone=at(d_e_f_g_h_i_acme_example="v=DMARC1; p=reject"),
    )
    yield made(
        "11 labels: found at the second",
        walk,
        "fail",
        "reject",
        header=deep,
        zone=at(acme_example="v=DMARC1; p=reject"),
    )
    yield made(
        "11 labels: its own record",
        walk,
        "fail",
        "reject",
        header=deep,
        zone={"_dmarc." + deep.decode().partition("@")[2]: {"TXT": ["v=DMARC1; p=reject"]}},
    )
    eight = b"From: ann@a.b.c.d.e.f.acme.example"
    yield made(
        "8 labels: the seventh is asked",
        walk,
        "fail",
        "reject",
        header=eight,
        zone=at(b_c_d_e_f_acme_example="v=DMARC1; p=reject"),
    )
    below = b"From: ann@news.shop.acme.example"
    middle = at(shop_acme_example="v=DMARC1; p=quarantine", acme_example="v=DMARC1; p=reject")
    yield made("the record of fewest labels is the organization's", org, "fail", "reject", header=below, zone=middle)
    own = at(shop_acme_example="v=DMARC1; p=quarantine; psd=n", acme_example="v=DMARC1; p=reject")
    yield made("psd=n ends the walk", org, "fail", "quarantine", header=below, zone=own)
    yield made(
        "psd=n: signer above is not aligned", org, "fail", "quarantine", header=below, zone=own, signer="acme.example"
    )
    yield made(
        "psd=n: signer beside is aligned",
        org,
        "pass",
        "quarantine",
        header=below,
        zone=own,
        signer="m.shop.acme.example",
    )
    suffix = {**at(example="v=DMARC1; p=reject; sp=quarantine; psd=y"), "acme.example": {"A": ["192.0.2.9"]}}
    yield made("a public suffix's record", "RFC 9989 §4.10.1", "fail", "quarantine", zone=suffix)
    yield made("psd=y: neighbours are not aligned", org, "fail", "quarantine", zone=suffix, signer="acme2.example")
    yield made("psd=y: the suffix itself is not aligned", org, "fail", "quarantine", zone=suffix, signer="example")
    yield made("psd=y: a subdomain is aligned", org, "pass", "quarantine", zone=suffix, signer="mail.acme.example")
    plain = {**at(example="v=DMARC1; p=reject; sp=quarantine"), "acme.example": {"A": ["192.0.2.9"]}}
    yield made("a top-level record without psd= is an organization's", org, "pass", "quarantine", zone=plain)
    both = {
        **at(acme_example="v=DMARC1; p=reject", example="v=DMARC1; p=none; psd=y"),
        "news.acme.example": {"A": ["192.0.2.9"]},
    }
    yield made("psd=y above the organization", org, "fail", "reject", zone=both, header=b"From: a@news.acme.example")
    itself = at(acme_example="v=DMARC1; p=reject; psd=y")
    yield made("psd=y at the author's domain", org, "fail", "reject", zone=itself)
    yield made(
        "psd=y at the author's domain, signed by itself", org, "pass", "reject", zone=itself, signer="acme.example"
    )
    yield made(
        "psd=y at the author's domain, signed below", org, "fail", "reject", zone=itself, signer="x.acme.example"
    )
    nonexistent = at(acme_example="v=DMARC1; p=none; sp=quarantine; np=reject")
    yield made("np= for a name that is not there", "RFC 9989 §4.7 np", "fail", "reject", zone=nonexistent, header=below)
    there = {**nonexistent, "news.shop.acme.example": {"TXT": ["x"]}}
    yield made(
        "np= is not for a name that is there", "RFC 9989 §3.2.13", "fail", "quarantine", zone=there, header=below
    )
    yield made(
        "np= without sp=",
        "RFC 9989 §4.7 np",
        "fail",
        "reject",
        header=below,
        zone=at(acme_example="v=DMARC1; p=none; np=reject"),
    )
    yield made(
        "no np=: sp= for a name that is not there",
        "RFC 9989 §4.7 sp",
        "fail",
        "quarantine",
        header=below,
        zone=at(acme_example="v=DMARC1; p=none; sp=quarantine"),
    )
    yield made(
        "bad np= without rua=", "RFC 9989 §4.7", "none", header=below, zone=at(acme_example="v=DMARC1; p=reject; np=x")
    )
    for asked, applied in (("reject", "quarantine"), ("quarantine", "none"), ("none", "none")):
        yield made(
            f"t=y, p={asked}", "RFC 9989 §4.7 t", "fail", applied, zone=at(acme_example=f"v=DMARC1; p={asked}; t=y")
        )
    yield made("t=n", "RFC 9989 §4.7 t", "fail", "reject", zone=at(acme_example="v=DMARC1; p=reject; t=n"))
    yield made("t= unknown", "RFC 9989 §4.7", "fail", "reject", zone=at(acme_example="v=DMARC1; p=reject; t=maybe"))
    yield made(
        "pct=0 means nothing",
        "RFC 9989 §4.7, appendix A.6",
        "fail",
        "reject",
        zone=at(acme_example="v=DMARC1; p=reject; pct=0"),
    )
    yield made(
        "several records on the way up",
        walk,
        "fail",
        "reject",
        header=below,
        zone=at(shop_acme_example=["v=DMARC1; p=none", "v=DMARC1; p=none"], acme_example="v=DMARC1; p=reject"),
    )
    yield made(
        "SERVFAIL on the way up",
        walk,
        "temperror",
        header=below,
        zone={**REJECT, "_dmarc.shop.acme.example": "SERVFAIL"},
    )


def cases_of_rfc7489() -> Iterator[Case]:
    """The public suffix list and pct=."""
    org = "RFC 7489 §3.2"
    below = b"From: ann@news.shop.acme.co.uk"
    zone = at(acme_co_uk="v=DMARC1; p=reject", shop_acme_co_uk="v=DMARC1; p=none", co_uk="v=DMARC1; p=none")
    yield made("the organizational domain's record, none between", org, "fail", "reject", header=below, zone=zone)
    yield made(
        "aligned by the organizational domain", org, "pass", "reject", header=below, zone=zone, signer="x.acme.co.uk"
    )
    yield made(
        "a public suffix in common is no alignment",
        org,
        "fail",
        "reject",
        header=below,
        zone=zone,
        signer="other.co.uk",
    )
    yield made("a public suffix as signer", org, "fail", "reject", header=below, zone=zone, signer="co.uk")
    suffix = b"From: ann@co.uk"
    yield made("From at a public suffix", org, "fail", "none", header=suffix, zone=zone)
    private = at(github_io="v=DMARC1; p=none", me_github_io="v=DMARC1; p=reject")
    yield made(
        "a private suffix of the list",
        org,
        "fail",
        "reject",
        header=b"From: a@x.me.github.io",
        zone=private,
        signer="you.github.io",
    )
    for percent, applied in (("0", "quarantine"), ("1", "reject"), ("100", "reject")):
        yield made(
            f"pct={percent}",
            "RFC 7489 §6.6.4",
            "fail",
            applied,
            zone=at(acme_com=f"v=DMARC1; p=reject; pct={percent}"),
            header=b"From: a@acme.com",
        )
    yield made(
        "pct=0, p=quarantine",
        "RFC 7489 §6.6.4",
        "fail",
        "none",
        zone=at(acme_com="v=DMARC1; p=quarantine; pct=0"),
        header=b"From: a@acme.com",
    )
    yield made(
        "psd=y, t=y mean nothing",
        "RFC 7489 §6.3",
        "fail",
        "reject",
        zone=at(acme_com="v=DMARC1; p=reject; psd=y; t=y"),
        header=b"From: a@acme.com",
    )
