"""A DNS server on loopback that serves zone data over UDP and TCP, for tests of the real resolver."""

import asyncio
import struct
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

ATTEMPTS = 20


class Server(asyncio.DatagramProtocol):
    """Answers from `zone` (as ZoneResolver's); a silent one never answers.

    `asked` are the questions it saw, `ports` where those over UDP came from.
    """

    def __init__(self, zone: dict[str, Any], port: int = 0) -> None:
        self.zone = {name.lower(): entry for name, entry in zone.items()}
        self.asked: list[tuple[str, str]] = []
        self.ports: set[int] = set()
        self.silent = False
        self._wanted = port

    async def __aenter__(self) -> "Server":
        # The system chooses a port for TCP, whose clients take many; UDP's is then nearly always free.
        for attempt in range(ATTEMPTS):
            self.tcp = await asyncio.start_server(self._serve_tcp, "127.0.0.1", self._wanted)
            self.port = self.tcp.sockets[0].getsockname()[1]
            where = ("127.0.0.1", self.port)
            try:
                self.transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: self, local_addr=where
                )
            except OSError:
                self.tcp.close()
                await self.tcp.wait_closed()
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                break
        return self

    async def __aexit__(self, *_: object) -> None:
        self.transport.close()
        self.tcp.close()
        await self.tcp.wait_closed()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.ports.add(addr[1])
        reply = self._reply(data)
        if reply is None:
            return
        wire = reply.to_wire(max_size=65535)
        if len(wire) > 1200:
            short = dns.message.make_response(dns.message.from_wire(data))
            short.flags |= dns.flags.TC
            wire = short.to_wire()
        self.transport.sendto(wire, addr)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                reply = self._reply(await reader.readexactly(length))
                if reply is not None:
                    wire = reply.to_wire(max_size=65535)
                    writer.write(struct.pack("!H", len(wire)) + wire)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _reply(self, data: bytes) -> dns.message.Message | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        if name != ".":
            self.asked.append((name, kind))
        if self.silent:
            return None
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        owner = question.name
        for _ in range(8):
            entry = self.zone.get(_plain(owner))
            if isinstance(entry, str):
                if entry == "TIMEOUT":
                    return None
                reply.set_rcode(dns.rcode.SERVFAIL)
                return reply
            if entry is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
                return reply
            values = entry.get(kind, [])
            if isinstance(values, str):
                if values == "TIMEOUT":
                    return None
                reply.set_rcode(dns.rcode.SERVFAIL)
                return reply
            if values or "CNAME" not in entry:
                if values:
                    reply.answer.append(
                        dns.rrset.from_text_list(owner, 300, "IN", kind, [_wire(kind, v) for v in values])
                    )
                return reply
            target = dns.name.from_text(entry["CNAME"][0])
            reply.answer.append(dns.rrset.from_text(owner, 300, "IN", "CNAME", target.to_text()))
            owner = target
        reply.answer.clear()
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply


def _plain(name: dns.name.Name) -> str:
    return b".".join(label for label in name.labels if label).decode().lower()


def _wire(kind: str, value: Any) -> str:
    if kind == "TXT":
        octets = ("".join(value) if isinstance(value, list) else str(value)).encode()
        chunks = [octets[start : start + 255] for start in range(0, len(octets), 255)] or [b""]
        return " ".join('"' + "".join(f"\\{octet:03}" for octet in chunk) + '"' for chunk in chunks)
    if kind == "MX":
        preference, host = value
        return f"{preference} {_absolute(str(host))}"
    return _absolute(value) if kind in ("PTR", "CNAME") else str(value)


def _absolute(host: str) -> str:
    return host.removesuffix(".") + "."
