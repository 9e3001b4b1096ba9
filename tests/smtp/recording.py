"""A session that records what it is told and answers what the test says."""

import asyncio
from collections.abc import Iterable

from mail.address import Mailbox
from mail.client import Client
from mail.envelope import Envelope
from mail.reply import NO_SUCH_MAILBOX, OK, RECIPIENT_OK, SENDER_OK, Reply
from smtp.config import SmtpConfig
from smtp.events import Arrived, Breathe, Close, Data, Event, Greet, Hello, Mail, Rcpt, Refused, Reset, StartTls, Verb
from smtp.machine import Machine

CLIENT = Client(ip="192.0.2.1", port=4711)
CONFIG = SmtpConfig(hostname="mx.test")


class Recording:
    """Takes every recipient but `nobody@`; `gate`, if set, holds `data` until the test lets it go."""

    def __init__(self) -> None:
        self.log: list[tuple] = []
        self.messages: list[tuple[Envelope, bytes]] = []
        self.clients: list[Client] = []
        self.gate: asyncio.Event | None = None
        self.arrived_octets = b""
        self.data_reply: Reply = OK
        self.fail_in = ""

    def sessions(self) -> "Recording":
        return self

    async def greet(self, client: Client) -> Reply | None:
        self.clients.append(client)
        return None

    async def hello(self, client: Client) -> Reply | None:
        self.clients.append(client)
        return None

    async def mail(self, reverse_path: Mailbox | None, declared_size: int | None, *, smtputf8: bool) -> Reply:
        self._maybe_fail("mail")
        self.log.append(("mail", None if reverse_path is None else str(reverse_path), declared_size, smtputf8))
        return SENDER_OK

    async def rcpt(self, mailbox: Mailbox) -> Reply:
        self._maybe_fail("rcpt")
        self.log.append(("rcpt", str(mailbox)))
        return NO_SUCH_MAILBOX if mailbox.local_part == "nobody" else RECIPIENT_OK

    async def arrived(self, octets: bytes) -> None:
        self.arrived_octets += octets

    async def data(self, envelope: Envelope, rest: bytes) -> Reply:
        self._maybe_fail("data")
        if self.gate is not None:
            await self.gate.wait()
        raw, self.arrived_octets = self.arrived_octets + rest, b""
        self.messages.append((envelope, raw))
        self.log.append(("data", raw))
        return self.data_reply

    async def reset(self) -> None:
        self.arrived_octets = b""
        self.log.append(("reset",))

    async def refused(self, command: str, reply: Reply, limit: str, sender: Mailbox | None = None) -> None:
        self.log.append(("refused", command, str(reply)))

    async def denied(self, client: Client, reply: Reply, limit: str) -> None:
        self.log.append(("denied", client.ip, str(reply), limit))

    async def close(self) -> None:
        self.log.append(("close",))

    def _maybe_fail(self, where: str) -> None:
        if self.fail_in == where:
            raise RuntimeError("db password=secret")


class Talk:
    """A machine driven by hand, without any input or output."""

    def __init__(self, config: SmtpConfig = CONFIG, client: Client = CLIENT) -> None:
        self.machine = Machine(config, client)
        self.events: list[Event] = []
        self.messages: list[tuple[Envelope, bytes]] = []  # whole ones
        self.arriving = b""
        self.answers: dict[type, Reply | None] = {}
        self.replies = b""
        self.turn()

    def turn(self) -> None:
        while (event := self.machine.next_event()) is not None:
            self.events.append(event)
            if type(event) is StartTls:
                break
            self.machine.answer(self._answer(event))
        self.replies += self.machine.outgoing()

    def _answer(self, event: Event) -> Reply | None:
        match event:
            case Arrived(octets):
                self.arriving += octets
                return None
            case Data(envelope, rest, octets):
                assert octets == len(self.arriving) + len(rest)
                self.messages.append((envelope, self.arriving + rest))
                self.arriving = b""
                return self.answers.get(Data, OK)
            case Mail():
                return self.answers.get(Mail, SENDER_OK)
            case Rcpt(mailbox):
                return NO_SUCH_MAILBOX if mailbox.local_part == "nobody" else RECIPIENT_OK
            case Greet() | Hello():
                return self.answers.get(type(event))
            case Verb():
                return OK
            case Reset():
                self.arriving = b""
                return None
            case Refused() | Close() | StartTls() | Breathe():
                return None

    def say(self, *lines: bytes | str) -> list[str]:
        """Send lines, each with CRLF; the replies to them, a multi-line one as several."""
        return self.send(b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in lines))

    def send(self, octets: bytes) -> list[str]:
        before = len(self.replies)
        self.machine.receive(octets)
        self.turn()
        return self.replies[before:].decode().splitlines()

    def send_in(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.machine.receive(piece)
            self.turn()

    def open(self, *recipients: str) -> "Talk":
        """EHLO, MAIL and RCPT."""
        self.say("EHLO client.test", "MAIL FROM:<a@b.test>", *(f"RCPT TO:<{to}>" for to in recipients or ("x@y.test",)))
        return self

    @property
    def is_closed(self) -> bool:
        return any(type(event) is Close for event in self.events)

    def told(self, kind: type) -> list[Event]:
        return [event for event in self.events if type(event) is kind]
