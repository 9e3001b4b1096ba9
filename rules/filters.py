"""IP filters as a tree of prefixes: 100,000 ranges, one answer in constant time (SES: IP address filters, semantics.md §1).

A prefix tree laid flat: one dict for each prefix length that occurs, from the network's leading bits to the filters that hold it.
A lookup is at most 33 probes for IPv4 and 129 for IPv6, and an entry costs a dict slot and an integer, not a node.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from mail.address import Mailbox
from rules.model import Filter
from rules.recipients import mailbox_keys, pattern_key

Address = IPv4Address | IPv6Address


class PrefixTree:
    """Which of several sets of CIDRs hold an address. A set is named by its position; host bits in a CIDR are ignored."""

    def __init__(self, sets: Iterable[Iterable[str]]) -> None:
        self._lengths: dict[int, dict[int, dict[int, tuple[int, ...]]]] = {4: {}, 6: {}}
        shared: dict[tuple[int, ...], tuple[int, ...]] = {}
        for position, cidrs in enumerate(sets):
            for cidr in cidrs:
                text, slash, length_text = cidr.partition("/")
                network = ip_address(text)
                length = int(length_text) if slash else network.max_prefixlen
                prefixes = self._lengths[network.version].setdefault(length, {})
                bits = int(network) >> (network.max_prefixlen - length)
                holders = prefixes.get(bits, ())
                if not holders or holders[-1] != position:
                    holders = (*holders, position)
                    prefixes[bits] = shared.setdefault(holders, holders)

    def holders(self, address: Address) -> Iterator[int]:
        """The sets that hold this address, widest prefix first; a set may come twice. IPv4-mapped IPv6 counts as IPv4."""
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        number, width = int(address), address.max_prefixlen
        for length, prefixes in self._lengths[address.version].items():
            yield from prefixes.get(number >> (width - length), ())


class FilterTree:
    """The filters of a book, asked once for each RCPT."""

    def __init__(self, filters: Iterable[Filter]) -> None:
        self._filters = tuple(filters)
        self._tree = PrefixTree(held.cidrs for held in self._filters)
        self._only_for = tuple(frozenset(pattern_key(pattern) for pattern in held.recipients) for held in self._filters)

    def decide(self, address: Address | None, mailbox: Mailbox) -> Filter | None:
        """The Block filter that refuses this recipient to this client, the first in the file; None where it may pass.

        Any Allow wins over every Block, whatever their prefix lengths. Without an address (a replay) nothing is refused.
        """
        applying = self._applying(address, mailbox)
        if any(held.policy == "Allow" for held in applying):
            return None
        return applying[0] if applying else None

    def allows(self, address: Address | None, mailbox: Mailbox) -> bool:
        """Whether an Allow filter vouches for the client; it wins over block lists of others too (SES: order of checks)."""
        return any(held.policy == "Allow" for held in self._applying(address, mailbox))

    def _applying(self, address: Address | None, mailbox: Mailbox) -> list[Filter]:
        if address is None or not self._filters:
            return []
        holding = sorted(set(self._tree.holders(address)))
        if not holding:
            return []
        keys = mailbox_keys(mailbox)
        return [
            self._filters[position]
            for position in holding
            if not self._only_for[position] or not self._only_for[position].isdisjoint(keys)
        ]
