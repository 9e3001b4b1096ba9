"""The addresses of the settings, and the wall clock: what the parent needs of the composition without what the workers need."""

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime

from gatepost.settings import Settings
from gatepost.settings_values import parse_address


def now() -> datetime:
    """The wall clock, read here and handed down."""
    return datetime.now(UTC)


def addresses_of(settings: Settings) -> list[tuple[str, int]]:
    """Where mail is taken: the addresses of `listen`, then those of `tls.listen`."""
    return [address for address in map(parse_address, (*settings.listen, *settings.tls_listen)) if address is not None]


def is_loopback(addresses: Iterable[tuple[str, int]]) -> bool:
    """Whether every listener can be reached from this machine only; a name counts by what it is, not by what it resolves to."""
    return all(host == "localhost" or _is_loopback_ip(host) for host, _ in addresses)


def _is_loopback_ip(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
