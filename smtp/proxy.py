"""The PROXY header, versions 1 and 2: who the client behind a load balancer is.

*Standards.* HAProxy's proxy-protocol.txt, §2.1 and §2.2. TLVs are skipped.
*Trust.* Read only on connections from networks that the operator named, and required there.
*Failure.* `Malformed`: the connection is closed without a word, as the protocol asks.
"""

import ipaddress
import re
from dataclasses import dataclass

from mail.client import canonical_ip
from mail.errors import Malformed

_V1_OCTETS = 107
_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = 16
_V2_MOST = _V2_FIXED + 4096
_V1 = re.compile(
    rb"PROXY TCP(?:4 ([0-9.]+) [0-9.]+|6 ([0-9A-Fa-f]*:[0-9A-Fa-f.:]+) [0-9A-Fa-f.:]+) ([0-9]{1,5}) [0-9]{1,5}\Z"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxied:
    """`ip` is None where the proxy speaks for itself (LOCAL, UNKNOWN: a health check). `octets` is the header's length."""

    ip: str | None
    port: int | None
    octets: int


def parse_proxy(data: bytes) -> Proxied | None:
    """The header at the start of these octets; None if it is not complete yet."""
    if data.startswith(_V2_SIGNATURE[: len(data)]):
        return _version_2(data)
    if data.startswith(b"PROXY "[: len(data)]):
        return _version_1(data)
    raise Malformed("no PROXY header")


def _version_1(data: bytes) -> Proxied | None:
    end = data.find(b"\r\n", 0, _V1_OCTETS)
    if end < 0:
        if len(data) >= _V1_OCTETS:
            raise Malformed("PROXY header too long")
        return None
    line = data[:end]
    if line.split(b" ")[1] == b"UNKNOWN":
        return Proxied(ip=None, port=None, octets=end + 2)
    match = _V1.match(line)
    if not match or int(match.group(3)) > 65535:
        raise Malformed("not a PROXY header")
    try:
        ip = canonical_ip((match.group(1) or match.group(2)).decode("ascii"))
    except ValueError:
        raise Malformed("not an address in the PROXY header") from None
    return Proxied(ip=ip, port=int(match.group(3)), octets=end + 2)


def _version_2(data: bytes) -> Proxied | None:
    if len(data) < _V2_FIXED:
        return None
    command, family = data[12], data[13]
    octets = _V2_FIXED + int.from_bytes(data[14:16], "big")
    if command not in (0x20, 0x21) or octets > _V2_MOST:
        raise Malformed("not a PROXY version 2 header")
    if len(data) < octets:
        return None
    if command == 0x20 or family == 0x00:
        return Proxied(ip=None, port=None, octets=octets)
    width = {0x11: 4, 0x21: 16}.get(family)
    if width is None or octets < _V2_FIXED + 2 * width + 4:
        raise Malformed("PROXY header for another protocol")
    source = ipaddress.ip_address(data[_V2_FIXED : _V2_FIXED + width])
    ports = _V2_FIXED + 2 * width
    return Proxied(ip=canonical_ip(str(source)), port=int.from_bytes(data[ports : ports + 2], "big"), octets=octets)
