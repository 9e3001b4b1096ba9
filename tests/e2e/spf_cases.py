"""SPF by the text of RFC 7208, beside the public suites: macros, limits, addresses, and what DNS may answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from replay_suite import Case

RAW = b"From: ann@acme.example\r\nSubject: x\r\n\r\nhi\r\n"
HERE: dict[str, Any] = {"A": ["127.0.0.2"]}


def made(
    name: str,
    because: str,
    expect: str,
    record: str | list[Any],
    zone: dict[str, Any] | None = None,
    *,
    mail_from: str | None = "ann@acme.example",
    ip: str | None = "192.0.2.1",
    helo: str | None = "mx.acme.example",
    at: str = "acme.example",
) -> Case:
    names = {at: {"TXT": record if isinstance(record, list) else [record]}, **(zone or {})}
    if at in (zone or {}):
        names[at] = {**names[at], "TXT": record if isinstance(record, list) else [record]}
    return Case(
        name=name,
        because=because,
        raw=RAW,
        zone=names,
        mail_from=mail_from,
        client_ip=ip,
        helo=helo,
        expect={"spf": expect},
    )


def cases() -> Iterator[Case]:
    yield from _macros()
    yield from _broken_macros()
    yield from _mechanisms()
    yield from _limits()
    yield from _dns()
    yield from _identities()


def _macros() -> Iterator[Case]:
    section = "RFC 7208 §7"

    def expands(macro: str, to: str, **how: Any) -> Case:
        what = f"{macro} of {' '.join(map(str, how.values())) or 'the usual'}"
        record = f"v=spf1 exists:{macro}.x.example -all"
        return made(what, section, "pass", record, {f"{to}.x.example": HERE}, **how)

    yield expands("%{s}", "ann@acme.example")
    yield expands("%{l}", "ann")
    yield expands("%{o}", "acme.example")
    yield expands("%{d}", "acme.example")
    yield expands("%{i}", "192.0.2.1")
    yield expands("%{v}", "in-addr")
    yield expands("%{h}", "mx.acme.example")
    yield expands("%{ir}", "1.2.0.192")
    yield expands("%{i2}", "2.1")
    yield expands("%{i2r}", "0.192")
    yield expands("%{d1}", "example")
    yield expands("%{d9}", "acme.example")
    yield expands("%{d99999999999}", "acme.example")
    yield expands("%{dr}", "example.acme")
    yield expands("%{d1r}", "acme")
    yield expands("%{dR}", "example.acme")
    yield expands("%{D01R}", "acme")
    yield expands("%{l-}", "a.b", mail_from="a-b@acme.example")
    yield expands("%{lr-}", "c.b.a", mail_from="a-b-c@acme.example")
    yield expands("%{l1r-}", "a", mail_from="a-b-c@acme.example")
    yield expands("%{l-+}", "a.b.c", mail_from="a-b+c@acme.example")
    yield expands("%{l+-=_/,.}", "a.b.c", mail_from="a=b/c@acme.example")
    yield expands("%{l}", "postmaster", mail_from=None, at="mx.acme.example")
    yield expands("%{s}", "postmaster@mx.acme.example", mail_from=None, at="mx.acme.example")
    yield expands("%{L}", "a_b", mail_from="a_b@acme.example")
    yield expands("%%-%_-%-", "%- -%20")
    yield expands("%{S}", "a%2Bb%40acme.example", mail_from="a+b@acme.example")
    yield expands("%{ir}.%{v}._spf", "1.2.0.192.in-addr._spf")
    six = "2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1"
    yield expands("%{i}", six, ip="2001:db8::1")
    yield expands("%{v}", "ip6", ip="2001:db8::1")
    yield expands("%{i}", "192.0.2.1", ip="::ffff:192.0.2.1")
    yield expands("%{h}", "helo", helo="helo")
    names = {"1.2.0.192.in-addr.arpa": {"PTR": ["mx.acme.example"]}, "mx.acme.example": {"A": ["192.0.2.1"]}}
    yield made(
        "%{p}, confirmed",
        section,
        "pass",
        "v=spf1 exists:%{p}.x.example -all",
        {**names, "mx.acme.example.x.example": HERE},
    )
    yield made("%{p}, unknown", section, "pass", "v=spf1 exists:%{p}.x.example -all", {"unknown.x.example": HERE})
    long = ".".join(["b" * 50] * 4)
    yield made(
        "an expansion of more than 253 octets loses labels on the left",
        "RFC 7208 §7.3",
        "pass",
        f"v=spf1 exists:%{{l}}.{long}.x.example -all",
        {f"{long}.x.example": HERE},
        mail_from="a" * 60 + "@acme.example",
    )
    yield made(
        "redirect= with a macro",
        "RFC 7208 §6.1",
        "pass",
        "v=spf1 redirect=_spf.%{d}",
        {"_spf.acme.example": {"TXT": ["v=spf1 +all"]}},
    )
    yield made(
        "include: with a macro",
        "RFC 7208 §5.2",
        "pass",
        "v=spf1 include:%{d2}._spf.example -all",
        {"acme.example._spf.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]}},
    )
    yield made(
        "%{d} below an include is its domain",
        "RFC 7208 §7.2",
        "pass",
        "v=spf1 include:i.example -all",
        {"i.example": {"TXT": ["v=spf1 exists:%{d}.x.example -all"]}, "i.example.x.example": HERE},
    )
    yield made(
        "%{o} below an include is the sender's",
        "RFC 7208 §7.2",
        "pass",
        "v=spf1 include:i.example -all",
        {"i.example": {"TXT": ["v=spf1 exists:%{o}.x.example -all"]}, "acme.example.x.example": HERE},
    )


def _broken_macros() -> Iterator[Case]:
    for macro in (
        "%{z}",
        "%{}",
        "%{d",
        "%d",
        "%",
        "%{d0}",
        "%{d-r}",
        "%{dd}",
        "%{d1.5}",
        "%{d,x}",
        "%(d)",
        "%{ d}",
        "%{d1r2}",
    ):
        yield made(f"exists:{macro}", "RFC 7208 §7.1", "permerror", f"v=spf1 exists:{macro}.x.example -all")
    for macro in ("%{c}", "%{r}", "%{t}"):
        yield made(
            f"exists:{macro} outside of exp=", "RFC 7208 §7.2", "permerror", f"v=spf1 exists:{macro}.x.example -all"
        )
    yield made("a macro in an unknown modifier", "RFC 7208 §6", "pass", "v=spf1 foo=%{d}bar +all")
    yield made("a broken macro in an unknown modifier", "RFC 7208 §6, §7.1", "permerror", "v=spf1 foo=%{z} +all")
    yield made("a domain without a dot behind a macro", "RFC 7208 §7.1", "permerror", "v=spf1 exists:%{d}x/24 -all")


def _mechanisms() -> Iterator[Case]:
    good = {
        "v=spf1 ip4:192.0.2.0/24 -all": "pass",
        "v=spf1 ip4:192.0.2.1/32 -all": "pass",
        "v=spf1 ip4:0.0.0.0/0 -all": "pass",
        "v=spf1 ip4:192.0.2.2 -all": "fail",
        "V=SPF1 IP4:192.0.2.1 -ALL": "pass",
        "v=spf1  ip4:192.0.2.1   -all ": "pass",
        "v=spf1 ~all": "softfail",
        "v=spf1 ?all": "neutral",
        "v=spf1 -all ip4:192.0.2.1": "fail",
        "v=spf1": "neutral",
        "v=spf1 ": "neutral",
        "v=spf1 ip6:2001:db8::/32": "neutral",
        "v=spf1 -ip4:192.0.2.1 +all": "fail",
        "v=spf1 ?ip4:192.0.2.1 -all": "neutral",
        "v=spf1 x=y unknown.modifier=1 -all": "fail",
        "v=spf1 -all redirect=other.example": "fail",
        "v=spf1 moo=%{d}%{s}%{i} +all": "pass",
    }
    for record, result in good.items():
        yield made(record, "RFC 7208 §4.6, §5", result, record)
    for record in (
        "v=spf1 ip4:192.0.2.1/33 -all",
        "v=spf1 ip4:192.0.2 -all",
        "v=spf1 ip4:192.0.2.01/24/24 -all",
        "v=spf1 ip4: -all",
        "v=spf1 ip4 -all",
        "v=spf1 ip4:::1 -all",
        "v=spf1 ip6:192.0.2.1 -all",
        "v=spf1 ip6:2001:db8::1/129 -all",
        "v=spf1 ip6:::g -all",
        "v=spf1 a:/24 -all",
        "v=spf1 a/ -all",
        "v=spf1 a/33 -all",
        "v=spf1 a//129 -all",
        "v=spf1 a/24/24 -all",
        "v=spf1 include -all",
        "v=spf1 include: -all",
        "v=spf1 exists -all",
        "v=spf1 all/8",
        "v=spf1 all:acme.example",
        "v=spf1 -all -foo",
        "v=spf1 foo:bar -all",
        "v=spf1 redirect=",
        "v=spf1 redirect=a.example redirect=b.example",
        "v=spf1 exp=a.example exp=b.example -all",
        "v=spf1 =x -all",
        "v=spf1 1x=y -all",
        "v=spf1 --all",
        "v=spf1 ip4:192.0.2.1, -all",
        "v=spf1 mx:-all",
        "v=spf1 ip4:192.0.2.9\tip4:192.0.2.1 -all",
        "v=spf1 \u00fc -all",
    ):
        yield made(record, "RFC 7208 §4.6, §12", "permerror", record)
    for record in (
        "v=spf10 +all",
        "v=spf1+all",
        "v=spf2.0/pra +all",
        " v=spf1 +all",
        "spf1 +all",
        '"v=spf1 +all"',
        "v=spf1\t+all",
    ):
        yield made(record, "RFC 7208 §4.5", "none", record)
    yield made("two records", "RFC 7208 §4.5", "permerror", ["v=spf1 +all", "v=spf1 -all"])
    yield made("a record beside others", "RFC 7208 §4.5", "pass", ["v=spf2.0/pra -all", "x", "v=spf1 +all", "v=spf10"])
    yield made("a record of several strings", "RFC 7208 §3.3", "pass", [["v=spf1 ip4:192.0", ".2.1 -all"]])
    hosts = {
        "acme.example": {"A": ["192.0.2.99"], "MX": [[10, "m.example"]]},
        "m.example": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]},
    }
    yield made("a", "RFC 7208 §5.3", "fail", "v=spf1 a -all", hosts)
    yield made("a/24", "RFC 7208 §5.3", "pass", "v=spf1 a/24 -all", hosts)
    yield made("a//64 of an IPv4 client", "RFC 7208 §5.3", "fail", "v=spf1 a//64 -all", hosts)
    yield made("mx", "RFC 7208 §5.4", "pass", "v=spf1 mx -all", hosts)
    yield made("mx of an IPv6 client", "RFC 7208 §5.4", "pass", "v=spf1 mx -all", hosts, ip="2001:db8::1")
    yield made("mx//64", "RFC 7208 §5.4", "pass", "v=spf1 mx//64 -all", hosts, ip="2001:db8::9")
    yield made("mx/32//128", "RFC 7208 §5.4", "fail", "v=spf1 mx/32//128 -all", hosts, ip="2001:db8::9")
    yield made("mx does not fall back to A", "RFC 7208 §5.4", "fail", "v=spf1 mx:m.example -all", hosts)
    yield made(
        "exists of an IPv6 client asks for A",
        "RFC 7208 §5.7",
        "pass",
        "v=spf1 exists:m.example -all",
        hosts,
        ip="2001:db8::5",
    )
    yield made("a mapped IPv4 address", "RFC 7208 §5", "pass", "v=spf1 ip4:192.0.2.1 -all", ip="::ffff:192.0.2.1")
    yield made("an address in capitals", "RFC 7208 §5.6", "pass", "v=spf1 ip6:2001:DB8::A -all", ip="2001:db8::a")


def _limits() -> Iterator[Case]:
    def includes(count: int) -> dict[str, Any]:
        return {f"i{number}.example": {"TXT": ["v=spf1 ip4:198.51.100.1"]} for number in range(count)}

    for count, result in ((10, "fail"), (11, "permerror")):
        terms = " ".join(f"include:i{number}.example" for number in range(count))
        yield made(f"{count} includes", "RFC 7208 §4.6.4", result, f"v=spf1 {terms} -all", includes(count))
        terms = " ".join(f"exists:e{number}.example" for number in range(count))
        zone = {f"e{number}.example": {"TXT": ["x"], "A": []} for number in range(count)}
        zone |= {f"e{number}.example": HERE for number in range(1)}
        yield made(f"{count} terms behind a match", "RFC 7208 §4.6.4", "pass", f"v=spf1 {terms} -all", zone)
    chained = {f"i{number}.example": {"TXT": [f"v=spf1 include:i{number + 1}.example -all"]} for number in range(12)}
    yield made("includes in includes", "RFC 7208 §4.6.4", "permerror", "v=spf1 include:i0.example -all", chained)
    yield made(
        "ip4, ip6 and all cost nothing",
        "RFC 7208 §4.6.4",
        "pass",
        "v=spf1 " + "ip4:198.51.100.1 ip6:2001:db8::1 " * 40 + "+all",
    )
    redirects = {f"r{number}.example": {"TXT": [f"v=spf1 redirect=r{number + 1}.example"]} for number in range(10)}
    yield made("eleven redirects", "RFC 7208 §4.6.4", "permerror", "v=spf1 redirect=r0.example", redirects)
    for count, result in ((2, "fail"), (3, "permerror")):
        terms = " ".join(f"a:v{number}.example" for number in range(count))
        yield made(f"{count} void lookups", "RFC 7208 §4.6.4", result, f"v=spf1 {terms} -all")
        empty = {f"v{number}.example": {"TXT": ["x"]} for number in range(count)}
        yield made(
            f"{count} void lookups, names that are there", "RFC 7208 §4.6.4", result, f"v=spf1 {terms} -all", empty
        )
    for count, result in ((10, "fail"), (11, "permerror")):
        hosts = {f"m{number}.example": {"A": ["198.51.100.9"]} for number in range(count)}
        hosts["acme.example"] = {"MX": [[10, f"m{number}.example"] for number in range(count)]}
        yield made(f"mx of {count} hosts", "RFC 7208 §4.6.4", result, "v=spf1 mx -all", hosts)
    many = {
        f"m{number}.example": {"MX": [[1, f"h{number}-{host}.example"] for host in range(10)]} for number in range(10)
    }
    many |= {f"h{number}-{host}.example": {"A": ["198.51.100.1"]} for number in range(10) for host in range(10)}
    record = "v=spf1 " + " ".join(f"mx:m{number}.example" for number in range(10)) + " -all"
    why = "docs/known-issues.md: an opinion, thirty questions for SPF"
    yield made("ten mx of ten hosts", why, "permerror", record, many)
    yield made("include of itself", "RFC 7208 §5.2, §4.6.4", "permerror", "v=spf1 include:acme.example -all")
    yield made("redirect to itself", "RFC 7208 §6.1, §4.6.4", "permerror", "v=spf1 redirect=acme.example")


def _dns() -> Iterator[Case]:
    for word in ("SERVFAIL", "TIMEOUT"):
        zone = {"acme.example": word}
        yield Case(name=f"record: {word}", because="RFC 7208 §4.4", raw=RAW, zone=zone, expect={"spf": "temperror"})
        for term in ("a:t.example", "mx:t.example", "include:t.example", "exists:t.example"):
            yield made(f"{term}: {word}", "RFC 7208 §5", "temperror", f"v=spf1 {term} -all", {"t.example": word})
        yield made(f"redirect: {word}", "RFC 7208 §6.1", "temperror", "v=spf1 redirect=t.example", {"t.example": word})
        yield made(f"{word} behind a match", "RFC 7208 §4.6.2", "pass", "v=spf1 +all a:t.example", {"t.example": word})
        yield made(
            f"a host of mx: {word}",
            "RFC 7208 §5",
            "temperror",
            "v=spf1 mx -all",
            {"acme.example": {"MX": [[1, "t.example"]]}, "t.example": word},
        )
        yield made(f"ptr: {word}", "RFC 7208 §5.5", "fail", "v=spf1 ptr -all", {"1.2.0.192.in-addr.arpa": word})
    for term, result in (
        ("include:n.example", "permerror"),
        ("a:n.example", "fail"),
        ("mx:n.example", "fail"),
        ("exists:n.example", "fail"),
    ):
        yield made(f"{term}: NXDOMAIN", "RFC 7208 §5", result, f"v=spf1 {term} -all")
    yield made("redirect: NXDOMAIN", "RFC 7208 §6.1", "permerror", "v=spf1 redirect=n.example")
    yield made(
        "redirect without record",
        "RFC 7208 §6.1",
        "permerror",
        "v=spf1 redirect=n.example",
        {"n.example": {"TXT": ["x"]}},
    )
    for inner, result in (("+all", "pass"), ("-all", "fail"), ("~all", "fail"), ("?all", "fail"), ("", "fail")):
        yield made(
            f"include of {inner or 'nothing'}",
            "RFC 7208 §5.2",
            result,
            "v=spf1 include:i.example -all",
            {"i.example": {"TXT": [f"v=spf1 {inner}"]}},
        )
        other = {"+all": "pass", "-all": "fail", "~all": "softfail", "?all": "neutral", "": "neutral"}[inner]
        yield made(
            f"redirect to {inner or 'nothing'}",
            "RFC 7208 §6.1",
            other,
            "v=spf1 redirect=i.example",
            {"i.example": {"TXT": [f"v=spf1 {inner}"]}},
        )
    yield made("a name with an empty label matches nothing", "RFC 7208 §4.8", "fail", "v=spf1 a:acme..example -all")
    yield made("no record", "RFC 7208 §4.5", "none", ["x"])
    yield made("no such domain", "RFC 7208 §4.3", "none", "v=spf1 +all", at="b.example")
    yield made(
        "a record by CNAME",
        "RFC 7208 §4.4",
        "pass",
        ["x"],
        {"acme.example": {"CNAME": ["c.example"]}, "c.example": {"TXT": ["v=spf1 +all"]}},
        at="u.example",
    )
    ptr = {
        "1.2.0.192.in-addr.arpa": {"PTR": ["mx.acme.example", "x.other.example"]},
        "mx.acme.example": {"A": ["192.0.2.1"]},
    }
    yield made("ptr", "RFC 7208 §5.5", "pass", "v=spf1 ptr -all", ptr)
    yield made("ptr of another domain", "RFC 7208 §5.5", "fail", "v=spf1 ptr:other.example -all", ptr)
    yield made("ptr: a name that ends alike", "RFC 7208 §5.5", "fail", "v=spf1 ptr:cme.example -all", ptr)


def _identities() -> Iterator[Case]:
    yield made("null sender: HELO", "RFC 7208 §2.4", "pass", "v=spf1 +all", mail_from=None, at="mx.acme.example")
    yield made(
        "null sender, HELO a literal", "RFC 7208 §2.3", "none", "v=spf1 +all", mail_from=None, helo="[192.0.2.1]"
    )
    yield made(
        "null sender, HELO of one label",
        "RFC 7208 §4.3",
        "none",
        "v=spf1 +all",
        mail_from=None,
        helo="localhost",
        at="localhost",
    )
    yield made("sender of one label", "RFC 7208 §4.3", "none", "v=spf1 +all", mail_from="a@localhost", at="localhost")
    yield made("sender at a literal", "RFC 7208 §4.3", "none", "v=spf1 +all", mail_from="a@[192.0.2.1]")
    yield made("no client address", "RFC 7208 §4.1", "none", "v=spf1 +all", ip=None)
    yield made("a quoted local-part with @", "RFC 5321 §4.1.2", "fail", "v=spf1 -all", mail_from='"a@b"@acme.example')
    yield made("a domain in capitals", "RFC 7208 §4.3", "pass", "v=spf1 +all", mail_from="a@ACME.Example")
    yield made(
        "an underscore in the domain",
        "RFC 7208 §4.3",
        "pass",
        "v=spf1 +all",
        mail_from="a@_x.acme.example",
        at="_x.acme.example",
    )
    yield made(
        "a U-label", "RFC 8616 §4", "pass", "v=spf1 +all", mail_from="a@bücher.example", at="xn--bcher-kva.example"
    )
