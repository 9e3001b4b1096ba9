"""Who is on the other end of the connection."""

import ipaddress
from functools import lru_cache

from mail.values import Value


class Tls(Value, frozen=True, kw_only=True):
    """The parameters of an established TLS session, in OpenSSL's words (`TLSv1.3`, `TLS_AES_256_GCM_SHA384`)."""

    version: str
    cipher: str
    sni: str | None = None


class Client(Value, frozen=True, kw_only=True):
    """The SMTP client as we know it (RFC 5321 §4.4).

    `ip` is canonical text without zone, IPv4-mapped IPv6 folded to IPv4; None in a replay that names no client.
    `helo` is the EHLO/HELO argument, printable ASCII or UTF-8, None before it was sent.
    `name` is the forward-confirmed reverse name, None where there is none or it was not looked up.
    `protocol` is RFC 3848's word: SMTP, ESMTP, ESMTPS, ESMTPSA, UTF8SMTP, ...
    """

    ip: str | None
    port: int | None = None
    helo: str | None = None
    name: str | None = None
    tls: Tls | None = None
    authenticated_as: str | None = None
    protocol: str = "SMTP"

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        return None if self.ip is None else _address(self.ip)


@lru_cache(maxsize=1024)
def _address(ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(ip)


@lru_cache(maxsize=1024)
def canonical_ip(text: str) -> str:
    """An IP address as we store it: zone stripped, IPv4-mapped folded. Raises ValueError for anything else."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
