"""DNS lists: of addresses, asked about the client, and of domains, asked about the links of a message.

*Standards.* RFC 5782 §2.1 (IPv4), §2.4 (IPv6 nibbles), §3 (domains).
*Trust.* A list's operator may answer anything. Only 127.0.0.0/8 is an answer; 127.255.255.0/24 is how lists say that they refuse
the asker (too many questions, an open resolver), and never that something is listed. Where codes are named, only they count.
*Failure.* None: a list that does not answer lists nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from mail.address import parse_domain
from mail.errors import Malformed
from verdicts.ports import Answer, Resolver

_ANSWERS = IPv4Network("127.0.0.0/8")
_ERRORS = IPv4Network("127.255.255.0/24")
# Addresses that only mean something inside a network: a list cannot know them, and asking would tell it of ours.
# Documentation networks are not among them, so that examples behave as real addresses do.
_PRIVATE: tuple[IPv4Network | IPv6Network, ...] = (
    *map(IPv4Network, ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16")),
    *map(IPv4Network, ("172.16.0.0/12", "192.168.0.0/16")),
    *map(IPv6Network, ("::/128", "::1/128", "fc00::/7", "fe80::/10")),
)
_CODES = re.compile(r"([0-9.]+)(?:-([0-9.]+))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsList:
    """A list by its zone. `codes` are the answers that count, as ranges of numbers; empty: all of 127.0.0.0/8."""

    zone: str
    codes: tuple[tuple[int, int], ...] = ()

    def question(self, ip: str) -> str | None:
        """The name to ask (type A) about this address; None for one that no list can know."""
        address = ip_address(ip)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in _PRIVATE if network.version == address.version):
            return None
        reversed_labels = address.reverse_pointer.rsplit(".", 2)[0]  # without in-addr.arpa or ip6.arpa
        return f"{reversed_labels}.{self.zone}"

    def question_of_domain(self, domain: str) -> str:
        return f"{domain}.{self.zone}"

    def lists(self, answer: Answer) -> bool:
        return any(self._counts(record) for record in answer.records)

    def _counts(self, record: str) -> bool:
        try:
            code = IPv4Address(record)
        except AddressValueError:
            return False
        if code not in _ANSWERS or code in _ERRORS:
            return False
        return not self.codes or any(first <= int(code) <= last for first, last in self.codes)

    async def lists_address(self, resolver: Resolver, ip: str) -> bool:
        """Whether this list lists the address now; no answer is no."""
        question = self.question(ip)
        return question is not None and self.lists(await resolver.lookup(question, "A"))


def parse_dns_list(text: str) -> DnsList:
    """`zen.dnsbl.example`, or with the codes that count: `zen.dnsbl.example=127.0.0.2,127.0.0.4-127.0.0.7`; `;` may stand
    for the comma. Raises `Malformed` with what is wrong."""
    zone, equals, codes = text.strip().partition("=")
    try:
        name = parse_domain(zone.strip().removesuffix("."))
    except Malformed:
        raise Malformed("expected a list's domain, as in zen.dnsbl.example or zen.dnsbl.example=127.0.0.2") from None
    if not equals:
        return DnsList(zone=name)
    ranges = tuple(_range(code.strip()) for code in codes.replace(";", ",").split(","))
    return DnsList(zone=name, codes=ranges)


def parse_dns_lists(texts: Iterable[str]) -> tuple[DnsList, ...]:
    """Each list once, in order. Raises `Malformed`."""
    return tuple({dns_list.zone: dns_list for dns_list in map(parse_dns_list, texts)}.values())


def _range(text: str) -> tuple[int, int]:
    match = _CODES.match(text)
    try:
        first = IPv4Address(match.group(1)) if match else None
        last = IPv4Address(match.group(2) or match.group(1)) if match else None
    except AddressValueError:
        first = last = None
    if first is None or last is None or first not in _ANSWERS or last not in _ANSWERS or last < first:
        raise Malformed(
            f'"{text}" is no answer of a list; expected one in 127.0.0.0/8, or a range as in 127.0.0.2-127.0.0.9'
        )
    return int(first), int(last)
