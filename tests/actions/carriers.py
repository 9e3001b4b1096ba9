"""Hosts that take mail, for the tests of forward and deliver: told answers, and a scripted LMTP server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from acting import NOW

from actions.onward import Carrier, Onward, Seal
from actions.srs import SenderRewriting
from mail.address import Mailbox
from mail.delivery import DeliveryStatus
from smtp.lmtp_client import LmtpClient, LmtpSettings


@dataclass
class Sent:
    mail_from: Mailbox | None
    recipients: tuple[str, ...]
    raw: bytes


@dataclass
class Told:
    """Answers each address what it is told, `relayed` otherwise; several answers are given one after the other."""

    answers: dict[str, list[str]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)

    async def send_all(
        self, mail_from: Mailbox | None, recipients: Sequence[Mailbox], raw: bytes
    ) -> tuple[DeliveryStatus, ...]:
        self.sent.append(Sent(mail_from, tuple(map(str, recipients)), raw))
        return tuple(self._status(str(each)) for each in recipients)

    def _status(self, address: str) -> DeliveryStatus:
        told = self.answers.get(address, ["relayed"])
        action = told.pop(0) if len(told) > 1 else told[0]
        status = {"failed": "5.1.1", "delayed": "4.2.2"}.get(action, "2.0.0")
        return DeliveryStatus(
            recipient=address, action=action, status=status, diagnostic=f"smtp; {status} told", attempted_at=NOW
        )


def onward(
    carrier: Carrier | None,
    *,
    places: list[object] | None = None,
    rewriting: SenderRewriting | None = None,
    seal: Seal | None = None,
) -> Onward:
    """Every way leads to this carrier; `places` notes what was asked for."""

    def smtp(host: str, port: int) -> Carrier:
        if places is not None:
            places.append((host, port))
        assert carrier is not None
        return carrier

    def lmtp(place: str | tuple[str, int]) -> Carrier:
        if places is not None:
            places.append(place)
        assert carrier is not None
        return carrier

    return Onward(relay=carrier, smtp=smtp, lmtp=lmtp, hostname="mx.example.com", rewriting=rewriting, seal=seal)


class LmtpSink:
    """Answers 250 to everything but what `replies` says by verb or address; the address answers after the dot under `dot ADDRESS`.

    An empty reply closes the connection.
    """

    def __init__(self, replies: Mapping[str, bytes] | None = None, extensions: tuple[str, ...] = ("8BITMIME",)) -> None:
        self._replies = dict(replies or {})
        self._extensions = extensions
        self.commands: list[str] = []
        self.messages: list[tuple[tuple[str, ...], bytes]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._replies.get("connect", b"220 mail LMTP\r\n"))
        accepted: list[str] = []
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.commands.append(line)
            verb, _, rest = line.partition(" ")
            address = rest.partition("<")[2].partition(">")[0]
            if verb == "DATA" and "DATA" not in self._replies:
                writer.write(b"354 go on\r\n")
                self.messages.append((tuple(accepted), await reader.readuntil(b"\r\n.\r\n")))
                for each in accepted:
                    if not (reply := self._replies.get(f"dot {each}", b"250 2.1.5 delivered\r\n")):
                        return
                    writer.write(reply)
                continue
            default = b"250 Ok\r\n"
            if verb == "LHLO":
                default = "".join(f"250-{name}\r\n" for name in ("mail", *self._extensions)).encode() + b"250 HELP\r\n"
            reply = self._replies.get(address if verb == "RCPT" else verb, self._replies.get(verb, default))
            if not reply:
                return
            if verb == "RCPT" and reply.startswith(b"2"):
                accepted.append(address)
            writer.write(reply)
            if verb == "QUIT":
                return


def lmtp_client(place: str | tuple[str, int], timeout_seconds: float = 5.0) -> LmtpClient:
    settings = LmtpSettings(place=place, hostname="mx.example.com", timeout_seconds=timeout_seconds)
    return LmtpClient(settings, clock=lambda: NOW)
