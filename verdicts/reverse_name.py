"""The name of a client's address, if the name leads back to the address (RFC 8601 §2.7.3: iprev; RFC 1912 §2.1).

*Trust.* Whoever owns the address writes its PTR record; only the owner of the name can confirm it. At most five names are tried.
*Failure.* None: no name, or no answer in time, is None.
"""

import ipaddress
from functools import lru_cache

from mail.address import parse_domain
from mail.client import Client
from mail.errors import Malformed
from verdicts.dns_lists import DnsList
from verdicts.inquiry import Question
from verdicts.ports import Resolver

NAMES = 5
LISTS = 30  # whose answers are evidence


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


@lru_cache(maxsize=1024)
def _asked_of(lists: tuple[DnsList, ...], ip: str, name: str | None) -> tuple[Question, ...]:
    address = ipaddress.ip_address(ip)
    listed = tuple((question, "A") for each in lists if (question := each.question(ip)) is not None)
    named = () if name is None else ((name, "A" if address.version == 4 else "AAAA"),)
    return (*listed[:LISTS], (address.reverse_pointer, "PTR"), *named)


def client_questions(lists: tuple[DnsList, ...], client: Client) -> tuple[Question, ...]:
    """What is asked of DNS about a client from connect on: the lists, then its name."""
    return () if client.ip is None else _asked_of(lists, client.ip.partition("%")[0], client.name)


def _is_same(record: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return ipaddress.ip_address(record) == address
    except ValueError:
        return False
