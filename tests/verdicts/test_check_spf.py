"""SPF: the RFC 7208 suite, and each known trap of pyspf as a case."""

import asyncio

import pytest
import spf
from loopback_dns import Server
from spf_suite import OPINIONS, RECEIVED_AT, SUITE_4408, SUITE_BLITIRI, Case, cases, sender

from mail.address import Mailbox, parse_mailbox
from mail.client import Client
from mail.envelope import Envelope
from mail.message import Message
from mail.verdict import AuthResult
from verdicts.check_spf import check_spf
from verdicts.dns_resolver import LiveResolver
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Inquiry, OverBudget
from verdicts.judge import judge

SUITE = list(cases())


def evaluate(zone, mail_from: Mailbox | None, *, ip="192.0.2.1", helo="mx.example.org") -> AuthResult:
    ask = Inquiry(ZoneResolver(zone)).begin("spf")
    return check_spf(ask, ip=ip, helo=helo, reverse_path=mail_from, received_at=RECEIVED_AT)


def txt(*records: str):
    return {"TXT": list(records)}


@pytest.mark.parametrize("case", SUITE, ids=lambda case: case.name)
def test_rfc7208_suite(case: Case) -> None:
    result, _ = case.run()
    assert result.result in case.expected, result.reason


def test_suite_is_complete_and_has_no_exceptions() -> None:
    assert len(SUITE) == 203


def test_other_public_suites_agree_but_for_the_listed_opinions() -> None:
    suite = [*cases(SUITE_4408), *cases(SUITE_BLITIRI)]
    different = {case.name for case in suite if case.run()[0].result not in case.expected}
    print(f"SPF: RFC 4408's suite and blitiri's: {len(suite) - len(different)}/{len(suite)}; opinions: {OPINIONS}")
    assert different == set(OPINIONS)
    assert len(suite) == 191 + 21


async def test_rfc7208_suite_over_a_real_dns_server() -> None:
    """The whole way: aiodns (dnspython for odd names), UDP and TCP, through `judge`. Exceptions: none."""
    message = Message.of(b"Subject: x\r\n\r\n")
    wrong, ran = [], 0
    by_zone: dict[int, list[Case]] = {}
    for case in SUITE:
        by_zone.setdefault(id(case.zone), []).append(case)
    for group in by_zone.values():
        async with Server(group[0].zone) as server:
            resolver = LiveResolver([server.address], query_seconds=0.6)

            async def run(case: Case, resolver: LiveResolver = resolver) -> None:
                envelope = Envelope(reverse_path=sender(case.mail_from), recipients=())
                client = Client(ip=case.ip, helo=case.helo)
                judgement = await judge(message, envelope, client, received_at=RECEIVED_AT, resolver=resolver)
                if judgement.verdicts.spf.result not in case.expected:
                    wrong.append((case.name, judgement.verdicts.spf))

            await asyncio.gather(*map(run, group))
            ran += len(group)
            await resolver.close()
    print(f"SPF over loopback DNS: {ran - len(wrong)}/{ran}")
    assert (wrong, ran) == ([], 203)


@pytest.mark.parametrize(
    "domain",
    [
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "a..b",
        "back\\slash.example",
        "localhost",
        "[192.0.2.1]",
        "",
        "-x.example",
        "ex ample.com",
    ],
)
def test_what_is_no_domain_name_is_none_and_asks_nothing(domain: str) -> None:
    zone = {domain: txt("v=spf1 -all")} if domain else {}
    ask = Inquiry(ZoneResolver(zone)).begin("spf")
    mailbox = Mailbox(local_part="a", domain=domain)
    result = check_spf(ask, ip="192.0.2.1", helo=None, reverse_path=mailbox, received_at=RECEIVED_AT)
    assert (result.result, ask.used) == ("none", {})


def test_address_is_split_at_its_last_at() -> None:
    """pyspf alone evaluates the domain `b"@example.com`, which is none: a bypass."""
    zone = {"example.com": txt("v=spf1 -all")}
    quoted = parse_mailbox('"a@b"@example.com')
    assert spf.query("192.0.2.1", str(quoted), "h").o == 'b"@example.com'
    assert evaluate(zone, quoted).result == "fail"


def test_null_sender_is_judged_by_helo() -> None:
    result = evaluate({"mx.example.org": txt("v=spf1 ip4:192.0.2.1 -all")}, None)
    assert (result.result, dict(result.properties)) == ("pass", {"smtp.helo": "mx.example.org"})


@pytest.mark.parametrize("helo", [None, "", "[192.0.2.1]", "localhost", "x y", "é"])
def test_null_sender_with_a_helo_that_is_no_domain_is_none(helo: str | None) -> None:
    assert evaluate({}, None, helo=helo).result == "none"


def test_no_client_address_is_none() -> None:
    result = evaluate({"a.example": txt("v=spf1 -all")}, parse_mailbox("x@a.example"), ip=None)
    assert (result.result, result.reason) == ("none", "no client address")


@pytest.mark.parametrize("ip", ["fe80::1%eth0", "2001:db8::1"])
def test_scoped_and_plain_ipv6_clients_are_judged(ip: str) -> None:
    zone = {"a.example": txt("v=spf1 ip6:fe80::/10 ip6:2001:db8::/32 -all")}
    assert evaluate(zone, parse_mailbox("x@a.example"), ip=ip).result == "pass"


def test_servfail_is_temperror_with_its_reason() -> None:
    result = evaluate({"a.example": "SERVFAIL"}, parse_mailbox("x@a.example"))
    assert (result.result, result.reason) == ("temperror", "SERVFAIL for TXT a.example")


@pytest.mark.parametrize("failure", ["SERVFAIL", "TIMEOUT"])
def test_ptr_errors_are_skipped(failure: str) -> None:
    """RFC 7208 §5.5."""
    zone = {"a.example": txt("v=spf1 ptr -all"), "1.2.0.192.in-addr.arpa": failure}
    assert evaluate(zone, parse_mailbox("x@a.example")).result == "fail"
    zone = {
        "a.example": txt("v=spf1 ptr -all"),
        "1.2.0.192.in-addr.arpa": {"PTR": ["bad.a.example", "good.a.example"]},
        "bad.a.example": failure,
        "good.a.example": {"A": ["192.0.2.1"]},
    }
    assert evaluate(zone, parse_mailbox("x@a.example")).result == "pass"


def test_void_lookups_are_limited_and_named() -> None:
    record = "v=spf1 a:n1.example a:n2.example a:n3.example -all"
    result = evaluate({"a.example": txt(record)}, parse_mailbox("x@a.example"))
    assert (result.result, result.reason) == ("permerror", "Void lookup limit of 2 exceeded")


def test_more_queries_than_the_budget_are_permerror() -> None:
    zone = {"a.example": {**txt("v=spf1 " + " ".join(f"mx:m{i}.example" for i in range(10)) + " -all")}}
    for i in range(10):
        zone[f"m{i}.example"] = {"MX": [[1, f"h{i}-{j}.example"] for j in range(10)]}
        for j in range(10):
            zone[f"h{i}-{j}.example"] = {"A": ["198.51.100.1"]}
    inquiry = Inquiry(ZoneResolver(zone))
    with pytest.raises(OverBudget, match="more than 30 DNS queries"):
        check_spf(
            inquiry.begin("spf"),
            ip="192.0.2.1",
            helo="h",
            reverse_path=parse_mailbox("x@a.example"),
            received_at=RECEIVED_AT,
        )


def test_explanations_are_never_fetched() -> None:
    zone = {
        "a.example": txt("v=spf1 -all exp=why.a.example"),
        "why.a.example": txt("no\r\nX-Inject: 1"),
    }
    ask = Inquiry(ZoneResolver(zone)).begin("spf")
    result = check_spf(
        ask, ip="192.0.2.1", helo="h", reverse_path=parse_mailbox("x@a.example"), received_at=RECEIVED_AT
    )
    assert result.result == "fail"
    assert "Inject" not in repr(result)
    assert list(ask.used) == [("a.example", "TXT")]


def test_macros_take_local_part_and_domain_as_split_at_the_last_at() -> None:
    seen = []

    class Spy(ZoneResolver):
        def cached(self, name: str, type: str):  # noqa: A002
            seen.append(name)
            return super().cached(name, type)

    ask = Inquiry(Spy({"a.example": txt("v=spf1 exists:%{l}.%{o}.%{h}.x.example -all")})).begin("spf")
    check_spf(
        ask, ip="192.0.2.1", helo="h.example", reverse_path=parse_mailbox('"a@b"@a.example'), received_at=RECEIVED_AT
    )
    assert seen == ["a.example", '"a@b".a.example.h.example.x.example']


def test_reasons_are_one_printable_line() -> None:
    result = evaluate({"a.example": txt("v=spf1 b\x00d\x1b[2J:\tx -all")}, parse_mailbox("x@a.example"))
    assert result.result == "permerror"
    assert result.reason.isprintable()
    assert result.reason.isascii()


@pytest.mark.parametrize(
    "record", ["v=spf1 include:a.example -all", "v=spf1 redirect=a.example", "v=spf1 " + "%{d}" * 900]
)
def test_loops_and_giants_end_in_permerror(record: str) -> None:
    assert evaluate({"a.example": txt(record)}, parse_mailbox("x@a.example")).result == "permerror"


def test_several_records_are_permerror() -> None:
    zone = {"a.example": txt("v=spf1 +all", "v=spf1 -all")}
    assert evaluate(zone, parse_mailbox("x@a.example")).result == "permerror"


def test_matched_mechanism_is_the_reason() -> None:
    result = evaluate({"a.example": txt("v=spf1 ip4:192.0.2.0/24 -all")}, parse_mailbox("x@a.example"))
    assert (result.result, result.reason) == ("pass", "matched ip4:192.0.2.0/24")
    assert dict(result.properties) == {"smtp.mailfrom": "x@a.example"}
