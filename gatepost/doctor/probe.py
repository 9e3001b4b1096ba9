"""Knocking at an SMTP server: its banner, and the certificate that it shows after STARTTLS. Nothing is sent but EHLO and QUIT.

*Trust.* Whoever answers may say anything: lines and their number are bounded, and the text is only ever shown escaped.
"""

import asyncio
import contextlib
import socket
import ssl
from ipaddress import ip_address
from typing import BinaryIO

from gatepost.doctor.findings import Greeting
from mail.errors import Malformed
from smtp.tls import Certificate, described

_SECONDS = 5.0
_LINE_OCTETS = 2048
_LINES = 64


async def dial(host: str, port: int) -> Greeting:
    """Raises OSError: refused, silent, or no SMTP server."""
    return await asyncio.to_thread(_dial, host, port)


def is_ours(address: str) -> bool:
    """Whether this machine has the address: what we say to it we say from it. Nothing is sent.

    That a socket can be bound to it tells nothing where `net.ipv4.ip_nonlocal_bind` is set, as it is beside keepalived.
    """
    if ip_address(address).is_loopback:
        return True
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return ip_address(probe.getsockname()[0].partition("%")[0]) == ip_address(address)
    return False


def _dial(host: str, port: int) -> Greeting:
    with socket.create_connection((host, port), timeout=_SECONDS) as connection, connection.makefile("rb") as reading:
        banner = _reply(reading)
        if banner[0][:3] != "220":
            raise OSError(f"it greets with {banner[0][:60]}")
        connection.sendall(b"EHLO doctor.invalid\r\n")
        offered = {line[4:].strip().upper() for line in _reply(reading)}
        certificate = _certificate(connection, reading) if "STARTTLS" in offered else None
        if certificate is None:
            with contextlib.suppress(OSError):
                connection.sendall(b"QUIT\r\n")
    return Greeting(banner=banner[0][4:], certificate=certificate)


def _certificate(connection: socket.socket, reading: BinaryIO) -> Certificate | None:
    connection.sendall(b"STARTTLS\r\n")
    if not _reply(reading)[0].startswith("220"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # what it shows is looked at, whoever signed it
    with context.wrap_socket(connection, server_hostname=None) as wrapped:
        der = wrapped.getpeercert(binary_form=True)
        with contextlib.suppress(OSError):
            wrapped.sendall(b"QUIT\r\n")
    try:
        return described(der) if der else None
    except Malformed as error:
        raise OSError(str(error)) from error


def _reply(reading: BinaryIO) -> list[str]:
    lines: list[str] = []
    while not lines or (lines[-1][3:4] == "-" and len(lines) < _LINES):
        line = reading.readline(_LINE_OCTETS)
        if not line:
            raise OSError("it closed the connection")
        lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
    return lines
