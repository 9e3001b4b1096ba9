"""Which addresses a webhook may reach."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.http_targets import PRIVATE_HOSTS, refusal

ALWAYS_REFUSED = [
    "169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "192.0.0.192",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::a9fe:a9fe",
    "0.0.0.0",  # connects to this very host
    "::",
    "224.0.0.1",
    "ff02::1",
]


@pytest.mark.parametrize("address", ALWAYS_REFUSED)
def test_metadata_and_link_local_addresses_are_refused_however_they_are_written(address: str) -> None:
    for host in (address, "localhost", "metadata.internal", "hooks.example"):
        assert refusal(address, host) is not None


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.7", "192.168.1.1", "172.16.0.1", "::1", "fd00::7", "100.64.0.1"]
)
def test_private_address_needs_to_be_named(address: str) -> None:
    assert "webhook.private_hosts" in (refusal(address, "rebinding.attacker.example") or "")
    assert refusal(address, address) is None
    for host in ("localhost", "n8n", "hooks.internal", "printer.local", "app.prod.svc.cluster.local", "LOCALHOST."):
        assert refusal(address, host) is None


def test_setting_replaces_the_names_and_not_the_ban() -> None:
    assert refusal("10.0.0.7", "n8n", (".corp.example",)) is not None
    assert refusal("10.0.0.7", "hooks.corp.example", (".corp.example",)) is None
    assert refusal("10.0.0.7", "evilcorp.example", (".corp.example",)) is not None
    assert refusal("169.254.169.254", "hooks.corp.example", (".corp.example",)) is not None


@pytest.mark.parametrize("address", ["192.88.99.1", "8.8.8.8", "2606:4700::1111"])
def test_public_address_is_reached_under_any_name(address: str) -> None:
    assert refusal(address, "hooks.example") is None


@given(st.ip_addresses(v=4))
def test_address_inside_ipv6_is_judged_as_the_address_it_carries(address: ipaddress.IPv4Address) -> None:
    plain = refusal(str(address), "hooks.example", PRIVATE_HOSTS) is None
    for prefix in (0xFFFF << 32, 0x64FF9B << 96):
        wrapped = ipaddress.IPv6Address(prefix | int(address))
        assert (refusal(str(wrapped), "hooks.example", PRIVATE_HOSTS) is None) is plain
