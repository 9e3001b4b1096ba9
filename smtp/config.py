"""What an operator may choose about the SMTP edge, with the defaults of a public MX."""

import ipaddress
import ssl
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

MIB = 2**20
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class BareNewline(StrEnum):
    """What becomes of a CR or LF that stands alone in a command or in DATA."""

    REJECT = "reject"  # 554 5.5.2 and the connection ends (semantics.md §7)
    NORMALISE = "normalise"  # read as CRLF; the end of DATA is strict all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds until 421 (RFC 5321 §4.5.3.2). There is none while the backend is awaited: a slow scan is not the client's fault.

    `content` is between two pieces of DATA. `content_total` and `slowest_octets_per_second` bound a message that trickles.
    """

    command: float = 300
    content: float = 180
    content_total: float = 600
    slowest_octets_per_second: float = 4096
    proxy: float = 10
    tls: float = 30
    linger: float = 2  # how long a client that is hung up on may go on sending, so that it can read why


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds per connection, and for the listener as a whole. Sizes are octets on the wire."""

    message_octets: int = 40 * MIB  # SES: quotas, incoming message size
    grace_octets: int = 16 * MIB  # read beyond a message that is too big, so that its sender hears 552
    line_octets: int = 2048  # RFC 5321 §4.5.3.1.4 asks for 512 and more for extensions
    garbage_octets: int = 64 * 1024  # without any line end
    backlog_octets: int = 64 * 1024  # pipelined input that waits for the backend
    recipients: int = 1000  # RFC 5321 §4.5.3.1.8 asks for 100
    recipients_per_connection: int = 20_000
    refused_recipients: int = 200
    errors: int = 20
    idle_commands: int = 100  # commands that bring no mail nearer, since the last message
    commands: int = 200_000  # of any kind, since the last message
    transactions: int = 10_000
    connections: int = 5000
    connections_per_ip: int = 500
    connections_per_network: int = 2000  # a /24 of IPv4, a /64 of IPv6
    connections_waiting: int = 200  # for room to read a message; with more, new ones are sent away
    in_flight_octets: int = 64 * MIB  # semantics.md §6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SmtpConfig:
    """`proxy_from` networks must send a PROXY header, `xclient_from` networks may use XCLIENT.

    Two are equal if they are the same one: what is prebuilt from one is looked up for every connection.
    """

    hostname: str = "localhost"
    software: str = "Gatepost"
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    bare_newline: BareNewline = BareNewline.REJECT
    tls: ssl.SSLContext | None = None
    offers_starttls: bool = True  # if there is a context
    implicit_tls: bool = False
    proxy_from: tuple[Network, ...] = ()
    xclient_from: tuple[Network, ...] = LOOPBACK
    refuse_early_talkers: bool = False


def can_start_tls(config: SmtpConfig) -> bool:
    return config.tls is not None and config.offers_starttls


@lru_cache(maxsize=1024)
def trusts(config: SmtpConfig, ip: str | None) -> bool:
    """Whether the peer at this address may use XCLIENT."""
    return is_within(ip, config.xclient_from)


@lru_cache(maxsize=1024)
def must_say_proxy(config: SmtpConfig, ip: str | None) -> bool:
    """Whether the peer at this address must send a PROXY header."""
    return is_within(ip, config.proxy_from)


def is_within(ip: str | None, networks: tuple[Network, ...]) -> bool:
    if ip is None or not networks:
        return False
    address = ipaddress.ip_address(ip)
    return any(address in network for network in networks)
