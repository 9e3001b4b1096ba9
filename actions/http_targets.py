"""Which addresses a configured URL may lead to (semantics: link-local and metadata never, private ones only where named).

*Trust.* The name in the URL is the rule author's, what it resolves to is the DNS's: so the address is judged that is really
connected to, and every form that carries an IPv4 address inside IPv6 is judged by what it carries.
"""

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PRIVATE_HOSTS = ("localhost", ".internal", ".local", ".svc.cluster.local", "single-label")
"""The default of `webhook.private_hosts`; `single-label` stands for every name without a dot."""

_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def refusal(address: str, host: str, private_hosts: Iterable[str] = PRIVATE_HOSTS) -> str | None:
    """Why `address` may not be connected to for a URL that names `host`; None if it may. Raises nothing for an IP address."""
    target = carried(ipaddress.ip_address(address.partition("%")[0]))
    if target in _METADATA:
        return f"{address} is a cloud metadata address, which is always refused"
    if target.is_link_local or target.is_multicast or target.is_unspecified:
        return f"{address} is link-local, multicast or unspecified, which is always refused"
    if target.is_global or _is_literal(host) or _is_private_host(host, private_hosts):
        return None
    return (
        f"{host} leads to the private address {address}: name the address itself in the rule, "
        "or the host in webhook.private_hosts"
    )


def carried(address: Address) -> Address:
    """The IPv4 address inside a mapped, compatible, NAT64 or 6to4 IPv6 address; any other as it is."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and (address in _NAT64 or (address in _COMPATIBLE and int(address) > 0xFFFF)):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_private_host(host: str, private_hosts: Iterable[str]) -> bool:
    name = host.lower().rstrip(".")
    for entry in private_hosts:
        if entry == "single-label":
            if "." not in name:
                return True
        elif name == entry or (entry.startswith(".") and name.endswith(entry)):
            return True
    return False
