"""The name of a client's address, if the name leads back to the address (RFC 8601 §2.7.3: iprev; RFC 1912 §2.1).

*Trust.* Whoever owns the address writes its PTR record; only the owner of the name can confirm it. At most five names are tried.
*Failure.* None: no name, or no answer in time, is None.
"""

import ipaddress

from mail.address import parse_domain
from mail.errors import Malformed
from verdicts.ports import Resolver

NAMES = 5


async def confirmed_name(resolver: Resolver, ip: str) -> str | None:
    """The first PTR name of `ip` whose A or AAAA records hold it, as a lower-case A-label."""
    address = ipaddress.ip_address(ip)
    kind = "A" if address.version == 4 else "AAAA"
    pointers = await resolver.lookup(address.reverse_pointer, "PTR")
    for pointer in pointers.records[:NAMES]:
        try:
            name = parse_domain(pointer.removesuffix("."))
        except Malformed:
            continue
        answer = await resolver.lookup(name, kind)
        if any(_is_same(record, address) for record in answer.records):
            return name
    return None


def _is_same(record: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return ipaddress.ip_address(record) == address
    except ValueError:
        return False
