"""How often is too often: messages and connections by address, sender domain and recipient, counted across workers.

*Standards.* RFC 5321 §4.2.2 (421, 450), RFC 3463 §3.8 (x.7.x, policy).
*Trust.* What is counted is a stranger's word except for the address; a count never grows the memory (`inbound.rate_table`).
"""

import re
from dataclasses import dataclass
from typing import Protocol

from mail.address import Mailbox
from mail.errors import Malformed
from mail.reply import Reply
from smtp.door import Denial, network_of

_RATE = re.compile(r"([1-9][0-9]{0,8}) ?/ ?([1-9][0-9]{0,3})?([smhd])\Z")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in each `seconds`, in windows that begin at multiples of them."""

    count: int
    seconds: int


def parse_rate(text: str) -> Rate | None:
    """`600/1h`, `600/h`, `5/10s`; None for "none". Raises `Malformed`."""
    if text == "none":
        return None
    match = _RATE.match(text)
    if not match:
        raise Malformed("expected a count and a time, as in 600/1h, or none")
    return Rate(int(match[1]), int(match[2] or 1) * _UNITS[match[3]])


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """None: no limit."""

    connections_per_ip: Rate | None = None
    messages_per_ip: Rate | None = None
    messages_per_sender_domain: Rate | None = None
    messages_per_recipient: Rate | None = None
    unknown_recipients_per_ip: Rate | None = None


class RateCounts(Protocol):
    """`inbound.rate_table.RateColumn`."""

    def add(self, key: str, now: float, window_seconds: int) -> int: ...

    def count(self, key: str, now: float, window_seconds: int) -> int: ...


class Throttle:
    """Each question counts what it asks about. `now` is in seconds since 1970. A client without address is not counted."""

    def __init__(self, counts: RateCounts, limits: RateLimits) -> None:
        self._counts = counts
        self._limits = limits

    def connection(self, ip: str | None, now: float) -> Denial | None:
        """One more connection. Who has asked for too many unknown recipients finds the door shut."""
        if ip is None:
            return None
        unknown = self._limits.unknown_recipients_per_ip
        if unknown is not None and self._counts.count(_unknown(ip), now, unknown.seconds) > unknown.count:
            return HARVEST
        return self._over(self._limits.connections_per_ip, f"connection {_source(ip)}", now, CONNECTIONS)

    def message(self, ip: str | None, reverse_path: Mailbox | None, now: float) -> Denial | None:
        """One more MAIL."""
        limits = self._limits
        if ip is not None and limits.messages_per_ip is not None:
            denial = self._over(limits.messages_per_ip, f"message {_source(ip)}", now, MESSAGES)
            if denial is not None:
                return denial
        if reverse_path is not None and limits.messages_per_sender_domain is not None:
            return self._over(limits.messages_per_sender_domain, f"sender {reverse_path.domain}", now, SENDER)
        return None

    def recipient(self, mailbox: Mailbox, now: float) -> Denial | None:
        """One more RCPT that would be accepted."""
        limit = self._limits.messages_per_recipient
        if limit is None:
            return None
        return self._over(limit, f"recipient {mailbox.base.lower()}@{mailbox.domain}", now, RECIPIENT)

    def unknown_recipient(self, ip: str | None, now: float) -> Denial | None:
        """One more RCPT for nobody."""
        if ip is None:
            return None
        return self._over(self._limits.unknown_recipients_per_ip, _unknown(ip), now, HARVEST)

    def _over(self, limit: Rate | None, key: str, now: float, denial: Denial) -> Denial | None:
        if limit is None or self._counts.add(key, now, limit.seconds) <= limit.count:
            return None
        return denial


def _source(ip: str) -> str:
    # Whoever has one address of IPv6 has 2^64 of them.
    return network_of(ip) if ":" in ip else ip


def _unknown(ip: str) -> str:
    return f"unknown {_source(ip)}"


CONNECTIONS = Denial(
    Reply(code=421, detail="7.0", text="Too many connections from your address, try again later", close=True),
    "rates.connections_per_ip",
)
MESSAGES = Denial(
    Reply(code=450, detail="7.1", text="Too many messages from your address, try again later"),
    "rates.messages_per_ip",
)
SENDER = Denial(
    Reply(code=450, detail="7.1", text="Too many messages from this sender's domain, try again later"),
    "rates.messages_per_sender_domain",
)
RECIPIENT = Denial(
    Reply(code=450, detail="7.1", text="Too many messages for this recipient, try again later"),
    "rates.messages_per_recipient",
)
HARVEST = Denial(
    Reply(code=421, detail="7.1", text="Too many unknown recipients from your address, try again later", close=True),
    "rates.unknown_recipients_per_ip",
)
