"""DNS lists: which names are asked, and which answers count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.errors import Malformed
from verdicts.dns_lists import DnsList, parse_dns_list, parse_dns_lists
from verdicts.dns_zone import ZoneResolver
from verdicts.ports import Answer, Lookup

LIST = DnsList(zone="zen.dnsbl.example")


def answer(*records: str) -> Answer:
    return Answer(outcome=Lookup.RECORDS, records=records)


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        ("192.0.2.99", "99.2.0.192.zen.dnsbl.example"),
        ("203.0.113.1", "1.113.0.203.zen.dnsbl.example"),
        # RFC 5782 §2.4's own address
        (
            "2001:db8:1:2:3:4:567:89ab",
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.zen.dnsbl.example",
        ),
        ("::ffff:192.0.2.99", "99.2.0.192.zen.dnsbl.example"),
    ],
)
def test_an_address_is_asked_about_in_reverse(ip: str, name: str) -> None:
    assert LIST.question(ip) == name


@pytest.mark.parametrize(
    "ip",
    [
        *("127.0.0.1", "127.0.0.2", "::1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1"),
        *("100.64.0.1", "0.0.0.0", "::", "fe80::1", "fd00::1", "::ffff:10.0.0.1"),
    ],
)
async def test_an_address_inside_a_network_is_never_asked_about(ip: str) -> None:
    class Forbidden:
        async def lookup(self, name: str, type: str) -> Answer:  # noqa: A002
            raise AssertionError(name)

        def cached(self, name: str, type: str) -> None:  # noqa: A002
            raise AssertionError(name)

    assert LIST.question(ip) is None
    assert not await LIST.lists_address(Forbidden(), ip)


@pytest.mark.parametrize(
    ("setting", "records", "listed"),
    [
        ("l.example", ("127.0.0.2",), True),
        ("l.example", ("127.9.9.9",), True),
        ("l.example", (), False),
        # A parked domain answers every name with its web server, and that lists nobody.
        ("l.example", ("198.51.100.7",), False),
        ("l.example", ("127.255.255.254",), False),
        ("l.example", ("127.255.255.252", "127.0.0.4"), True),
        ("l.example", ("no address", "::1"), False),
        ("l.example=127.0.0.2,127.0.0.4", ("127.0.0.4",), True),
        ("l.example=127.0.0.2,127.0.0.4", ("127.0.0.3",), False),
        ("l.example=127.0.0.2;127.0.0.4", ("127.0.0.4", "127.0.0.10"), True),
        ("l.example=127.0.0.2-127.0.0.9", ("127.0.0.9",), True),
        ("l.example=127.0.0.2-127.0.0.9", ("127.0.0.10",), False),
        ("l.example=127.255.255.254", ("127.255.255.254",), False),
    ],
)
def test_only_the_answers_that_count_list(setting: str, records: tuple[str, ...], listed: bool) -> None:
    assert parse_dns_list(setting).lists(answer(*records)) is listed


@pytest.mark.parametrize("detail", ["SERVFAIL", "TIMEOUT"])
def test_a_list_that_fails_lists_nothing(detail: str) -> None:
    assert not LIST.lists(Answer(outcome=Lookup.TEMPORARY, detail=detail))


async def test_a_client_is_listed_by_the_zone_that_names_it() -> None:
    resolver = ZoneResolver({"1.2.0.192.zen.dnsbl.example": {"A": ["127.0.0.2"]}})
    assert await LIST.lists_address(resolver, "192.0.2.1")
    assert not await LIST.lists_address(resolver, "192.0.2.2")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=127.0.0.2",
        "two words",
        "l.example=",
        "l.example=8.8.8.8",
        "l.example=127.0.0.9-127.0.0.2",
        "l.example=127.0.0",
    ],
)
def test_what_is_no_list_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(Malformed, match="expected"):
        parse_dns_list(text)


def test_a_list_named_twice_is_asked_once() -> None:
    assert [each.zone for each in parse_dns_lists(["b.example", "A.example.", "b.example=127.0.0.2"])] == [
        "b.example",
        "a.example",
    ]


@given(st.ip_addresses())
def test_any_address_has_a_name_that_dns_can_carry_or_none(address: object) -> None:
    question = LIST.question(str(address))
    assert question is None or (len(question) <= 253 and question.endswith(".zen.dnsbl.example"))
    if question is not None:
        labels = question.removesuffix(".zen.dnsbl.example").split(".")
        assert len(labels) in (4, 32)


@given(st.text(max_size=60))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    try:
        parsed = parse_dns_list(text)
    except Malformed:
        return
    assert parsed.zone
    assert parsed.zone == parsed.zone.lower()


@given(st.lists(st.text(max_size=20), max_size=5))
def test_no_answer_raises(records: list[str]) -> None:
    assert LIST.lists(answer(*records)) in (True, False)
