"""What is evaluated without pyspf is what pyspf finds, by the same answers; all that is not plain is left to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from spf_suite import RECEIVED_AT, cases, sender

from mail.address import Mailbox
from mail.verdict import AuthResult
from verdicts import check_spf as module
from verdicts.check_spf import check_spf
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Ask, Inquiry
from verdicts.spf_memory import SpfMemory
from verdicts.spf_plain import plain_result

NAMES = ["a.example", "b.example", "c.example", "none.example", "A.example", "d.123", "e_x.example.", "x"]
NETWORKS = [
    "192.0.2.1",
    "192.0.2.0/24",
    "0.0.0.0/0",
    "192.0.2.1/33",
    "192.0.2.01",
    "192.0.2",
    "192.0.2.1/032",
    "1.2.3.4//5",
]
NETWORKS_6 = [
    "2001:db8::/32",
    "2001:db8::1",
    "::/0",
    "::1:2:3:4:5:6:7",
    "2001:db8::/129",
    "::ffff:192.0.2.1",
    "2001:db8::%1",
    ":::",
]
TERMS = st.one_of(
    st.builds("{}ip4:{}".format, st.sampled_from(["", "-", "~", "?", "+"]), st.sampled_from(NETWORKS)),
    st.builds("{}ip6:{}".format, st.sampled_from(["", "-"]), st.sampled_from(NETWORKS_6)),
    st.builds("{}include:{}".format, st.sampled_from(["", "", "-", "?"]), st.sampled_from(NAMES)),
    st.builds("{}all".format, st.sampled_from(["", "-", "~", "?", "=", "--"])),
    st.builds("redirect={}".format, st.sampled_from(NAMES)),
    st.sampled_from(
        ["", "a", "mx", "exists:%{i}.a.example", "exp=a.example", "ip4", "all:x", "moo", "x=y", "ALL", "\t", "-all,"]
    ),
)
RECORDS = st.builds(
    "{}{}".format,
    st.sampled_from(["v=spf1", "v=spf1", "v=spf1", "V=SPF1", "v=spf10", "v=spf2"]),
    st.lists(TERMS, max_size=5).map(lambda terms: "".join(f" {term}" for term in terms)),
)
ENTRIES = st.one_of(st.just("SERVFAIL"), st.lists(RECORDS, min_size=1, max_size=1), st.lists(RECORDS, max_size=2)).map(
    lambda texts: texts if texts == "SERVFAIL" else {"TXT": ["unrelated", *texts]}
)
ZONES = st.fixed_dictionaries(dict.fromkeys(NAMES[:3], ENTRIES))
IPS = st.sampled_from(["192.0.2.1", "192.0.2.77", "198.51.100.1", "2001:db8::1", "::1"])


def found(zone: dict[str, Any], ip: str, mailbox: Mailbox | None, *, plain: bool) -> tuple[AuthResult, Ask]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_memory", SpfMemory())
        if not plain:
            patch.setattr(module, "plain_result", lambda *_: None)
        ask = Inquiry(ZoneResolver(zone)).begin("spf")
        return check_spf(ask, ip=ip, helo="mx.a.example", reverse_path=mailbox, received_at=RECEIVED_AT), ask


def same(zone: dict[str, Any], ip: str, mailbox: Mailbox | None) -> None:
    result, ask = found(zone, ip, mailbox, plain=True)
    expected, expected_ask = found(zone, ip, mailbox, plain=False)
    assert result == expected
    assert list(ask.used.items()) == list(expected_ask.used.items())


@example({"a.example": {"TXT": ["v=spf1 all include:a.example"]}}, "192.0.2.1", "a.example")
@given(ZONES, IPS, st.sampled_from(["a.example", "a.123", "x"]))
def test_any_record_is_judged_as_pyspf_judges_it(zone: dict[str, Any], ip: str, domain: str) -> None:
    same(zone, ip, Mailbox(local_part="user", domain=domain))


def test_the_suites_are_judged_as_pyspf_judges_them() -> None:
    plain = 0
    for case in cases():
        mailbox = sender(case.mail_from)
        same(case.zone, case.ip, mailbox)
        domain = mailbox.domain if mailbox else case.helo
        plain += plain_result(Inquiry(ZoneResolver(case.zone)).begin("spf"), case.ip, domain) is not None
    print(f"{plain} of the suites' cases are plain")
    assert plain > 10


def test_records_of_networks_and_includes_need_no_pyspf() -> None:
    zone = {
        "a.example": {"TXT": ["v=spf1 ip4:198.51.100.0/24 include:b.example -all"]},
        "b.example": {"TXT": ["v=spf1 redirect=c.example"]},
        "c.example": {"TXT": ["v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all"]},
    }

    def result(ip: str) -> tuple[str, str] | None:
        return plain_result(Inquiry(ZoneResolver(zone)).begin("spf"), ip, "a.example")

    assert result("192.0.2.1") == ("pass", "include:b.example")
    assert result("2001:db8::1") == ("pass", "include:b.example")
    assert result("198.51.100.9") == ("pass", "ip4:198.51.100.0/24")
    assert result("203.0.113.1") == ("fail", "-all")


def test_ten_lookups_are_plain_and_eleven_are_pyspfs_to_refuse() -> None:
    def chain(length: int) -> dict[str, Any]:
        links = {f"n{n}.example": {"TXT": [f"v=spf1 include:n{n + 1}.example -all"]} for n in range(length)}
        return links | {f"n{length}.example": {"TXT": ["v=spf1 ?all"]}}

    assert plain_result(Inquiry(ZoneResolver(chain(10))).begin("spf"), "192.0.2.1", "n0.example") == ("fail", "-all")
    assert plain_result(Inquiry(ZoneResolver(chain(11))).begin("spf"), "192.0.2.1", "n0.example") is None
    assert (
        found(chain(11), "192.0.2.1", Mailbox(local_part="a", domain="n0.example"), plain=True)[0].result == "permerror"
    )
