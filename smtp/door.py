"""How many connections are there at once: in all, from one address, and from one network, a /24 or a /64.

A census counts by key; where workers share one (semantics.md §6), the limits hold over all of them together.
"""

import ipaddress
from dataclasses import dataclass
from typing import Protocol

from mail.client import Client
from mail.reply import TOO_BUSY, Reply
from smtp.config import Limits

_ALL = "connections"
_IPV6_NETWORK_BITS = 64


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal, and the setting that it is due to."""

    reply: Reply
    limit: str


class Census(Protocol):
    """Who is there now, by key."""

    def enter(self, key: str) -> int:
        """One more; how many there are, this one included."""

    def leave(self, key: str) -> None: ...


class OwnCensus:
    """The census of a process that shares with no other."""

    def __init__(self) -> None:
        self._there: dict[str, int] = {}

    def enter(self, key: str) -> int:
        count = self._there[key] = self._there.get(key, 0) + 1
        return count

    def leave(self, key: str) -> None:
        count = self._there.get(key, 0) - 1
        if count > 0:
            self._there[key] = count
        else:
            self._there.pop(key, None)


def network_of(ip: str) -> str:
    """What addresses are counted together by: the first three numbers of IPv4, the first 64 bits of IPv6."""
    if ":" not in ip:
        return ip.rpartition(".")[0]
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(ip)) >> _IPV6_NETWORK_BITS << _IPV6_NETWORK_BITS))


class Door:
    """Counts who comes and goes. `counted` of a connection are the keys that it is counted under."""

    def __init__(self, census: Census) -> None:
        self._census = census

    def came(self, limits: Limits) -> tuple[tuple[str, ...], bool]:
        """A connection of which nothing is known yet: its keys, and whether it is one too many."""
        return (_ALL,), self._census.enter(_ALL) > limits.connections

    def known(self, client: Client, limits: Limits) -> tuple[tuple[str, ...], Denial | None]:
        """Its address is known: the keys that this adds, and whether it is one too many."""
        if client.ip is None:
            return (), None
        ip, network = f"ip {client.ip}", f"net {network_of(client.ip)}"
        from_ip, from_network = self._census.enter(ip), self._census.enter(network)
        if from_ip > limits.connections_per_ip:
            return (ip, network), Denial(FROM_ADDRESS, "smtp.connections_per_ip")
        if from_network > limits.connections_per_network:
            return (ip, network), Denial(FROM_NETWORK, "smtp.connections_per_network")
        return (ip, network), None

    def left(self, counted: tuple[str, ...]) -> None:
        for key in counted:
            self._census.leave(key)


TOO_MANY = Denial(TOO_BUSY, "smtp.connections")
OVERLOADED = Denial(TOO_BUSY, "smtp.connections_waiting")
FROM_ADDRESS = Reply(code=421, detail="7.0", text="Too many connections from your address", close=True)
FROM_NETWORK = Reply(code=421, detail="7.0", text="Too many connections from your network", close=True)
