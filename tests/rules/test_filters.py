import ipaddress
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rule_examples import allow, block, mailbox

from rules.filters import FilterTree, PrefixTree

ANNA = mailbox("anna@example.com")


def decided(tree: FilterTree, ip: str, address: str = "anna@example.com") -> str | None:
    found = tree.decide(ipaddress.ip_address(ip), mailbox(address))
    return None if found is None else found.name


@pytest.mark.parametrize(
    ("cidr", "ip", "blocked"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1/32", "192.0.2.2", False),
        ("192.0.2.77/24", "192.0.2.200", True),  # host bits may be set (SES: IP address filters)
        ("192.0.2.0/24", "192.0.3.0", False),
        ("0.0.0.0/0", "203.0.113.9", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::/0", "203.0.113.9", False),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::1", "2001:db8::1", True),
        ("192.0.2.0/24", "::ffff:192.0.2.5", True),
    ],
)
def test_block_holds_its_network(cidr: str, ip: str, blocked: bool) -> None:
    assert (decided(FilterTree([block("b", cidr)]), ip) == "b") is blocked


def test_any_allow_wins_whatever_its_width_or_place() -> None:
    tree = FilterTree([allow("wide", "192.0.0.0/8"), block("narrow", "192.0.2.1/32"), block("all", "0.0.0.0/0")])
    assert decided(tree, "192.0.2.1") is None
    assert tree.allows(ipaddress.ip_address("192.0.2.1"), ANNA)
    assert decided(tree, "198.51.100.1") == "all"
    assert not tree.allows(ipaddress.ip_address("198.51.100.1"), ANNA)


def test_the_first_filter_in_the_file_is_named() -> None:
    assert decided(FilterTree([block("first", "0.0.0.0/0"), block("second", "192.0.2.1/32")]), "192.0.2.1") == "first"


def test_filter_with_recipients_speaks_for_them_only() -> None:
    tree = FilterTree(
        [
            block("all", "192.0.2.0/24"),
            allow("abuse", "0.0.0.0/0", recipients=("abuse@example.com", ".lab.example.com")),
        ]
    )
    assert decided(tree, "192.0.2.1") == "all"
    assert decided(tree, "192.0.2.1", "abuse+x@example.com") is None
    assert decided(tree, "192.0.2.1", "any@a.lab.example.com") is None


def test_without_client_address_nothing_is_refused() -> None:
    tree = FilterTree([block("all", "0.0.0.0/0", "::/0")])
    assert tree.decide(None, ANNA) is None
    assert not tree.allows(None, ANNA)


V4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
NETWORKS = st.one_of(
    st.builds(lambda address, length: f"{address}/{length}", V4, st.integers(0, 32)),
    st.builds(lambda address, length: f"{address}/{length}", V6, st.integers(0, 128)),
)


@given(st.lists(st.lists(NETWORKS, max_size=4), max_size=6), st.one_of(V4, V6), st.data())
def test_tree_holds_what_the_networks_hold(
    sets: list[list[str]], address: ipaddress.IPv4Address | ipaddress.IPv6Address, data: st.DataObject
) -> None:
    drawn = [cidr for cidrs in sets for cidr in cidrs]
    if drawn and data.draw(st.booleans()):
        network = ipaddress.ip_network(data.draw(st.sampled_from(drawn)), strict=False)
        address = network[data.draw(st.integers(0, network.num_addresses - 1))]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    expected = {
        number
        for number, cidrs in enumerate(sets)
        if any(address in ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)
    }
    assert set(PrefixTree(sets).holders(address)) == expected


def test_a_hundred_thousand_ranges_stay_under_thirty_megabytes() -> None:
    numbers = random.Random(1)
    cidrs = [f"{ipaddress.IPv4Address(numbers.getrandbits(32))}/{numbers.randint(8, 32)}" for _ in range(50_000)]
    cidrs += [f"{ipaddress.IPv6Address(numbers.getrandbits(128))}/{numbers.randint(16, 128)}" for _ in range(50_000)]
    tree = FilterTree([block("listed", *cidrs)])
    tables = [prefixes for lengths in tree._tree._lengths.values() for prefixes in lengths.values()]
    held = sum(
        sys.getsizeof(table) + sum(map(sys.getsizeof, table)) for table in tables
    )  # the values are one shared tuple
    assert len({id(holders) for table in tables for holders in table.values()}) == 1
    assert held < 30_000_000
    assert decided(tree, cidrs[-1].partition("/")[0]) == "listed"
    assert [len(lengths) for lengths in tree._tree._lengths.values()] == [25, 113]  # the probes of one lookup
