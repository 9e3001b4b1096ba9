"""A session machine that is watched: whatever is done to it, in whatever order, what it asks must make sense."""

import re
from collections.abc import Callable
from dataclasses import replace

from mail.client import Client, Tls
from mail.reply import NO_SUCH_MAILBOX, OK, TRY_AGAIN, Reply
from smtp.config import Limits, SmtpConfig
from smtp.events import Arrived, Close, Data, Event, Greet, Hello, Mail, Rcpt, Reset, StartTls, Verb
from smtp.machine import Machine
from tests.smtp.recording import CLIENT, CONFIG

TIGHT = Limits(
    message_octets=300,
    grace_octets=100,
    line_octets=120,
    garbage_octets=250,
    recipients=3,
    recipients_per_connection=20,
    refused_recipients=4,
    errors=8,
    idle_commands=30,
    transactions=12,
)
ENCRYPTED = Tls(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384")
ANSWERED = (Greet, Hello, Mail, Rcpt, Data, Verb)
_REPLIES = re.compile(rb"(?:[2-5]\d\d[ -][ -~]*\r\n)*\Z")


class Watched:
    """One connection, its driver's part played by whoever calls; every method ends with the checks."""

    def __init__(self, config: SmtpConfig, client: Client = CLIENT) -> None:
        self.machine = Machine(config, client)
        self.config = config
        self.owed: Event | None = None
        self.seen: list[type] = []
        self.arrived = b""
        self.is_open = self.is_closed = self.said_hello = False
        self.taken = 0
        self.turn()

    # --- what a driver does

    def receive(self, octets: bytes) -> None:
        if len(octets) > self.config.limits.backlog_octets:
            return
        self.machine.receive(octets)
        self.turn()

    def answer(self, reply: Reply | None) -> None:
        """To what is owed, if it is: any reply, as sessions may give."""
        event, self.owed = self.owed, None
        if event is None:
            return
        positive = reply is not None and reply.is_positive
        if type(event) is Mail and positive:
            self.is_open, self.taken = True, 0
        if type(event) is Rcpt and positive:
            self.taken += 1
        if type(event) is Hello:
            self.said_hello = self.said_hello or reply is None
        if type(event) is Data:
            self.is_open = False
        self.machine.answer(None if type(event) is StartTls else reply)
        if type(event) is StartTls and not self.is_closed:
            self.machine.secured(ENCRYPTED)
            self.said_hello = False
        self.turn()

    def half_close(self) -> None:
        self.machine.end_of_input()
        self.turn()

    def lose(self) -> None:
        self.machine.lost()
        self.turn()

    def shut(self, reply: Reply) -> None:
        """As a driver does: only where nothing is owed."""
        if self.owed is None:
            self.machine.shut(reply)
            self.turn()

    def turn(self) -> None:
        while self.owed is None and (event := self.machine.next_event()) is not None:
            self.seen.append(type(event))
            self._check(event)
            if isinstance(event, (*ANSWERED, StartTls)):
                self.owed = event
            else:
                self.machine.answer(None)
        outgoing = self.machine.outgoing()
        assert _REPLIES.match(outgoing), outgoing
        assert self.machine.held <= self.config.limits.message_octets + 3
        assert self.machine.phase in ("proxy", "command", "content")
        if self.machine.is_over and self.owed is None:
            assert self.is_closed

    # --- what must hold

    def _check(self, event: Event) -> None:
        assert not self.is_closed, "nothing follows Close"
        match event:
            case Hello():
                assert not self.is_open
            case Mail():
                assert self.said_hello
                assert not self.is_open
            case Rcpt():
                assert self.is_open
            case Arrived(octets):
                self.arrived += octets
            case Data(envelope, rest, octets):
                raw, self.arrived = self.arrived + rest, b""
                assert octets == len(raw)
                assert self.is_open
                assert 1 <= len(envelope.recipients) <= min(self.taken, self.config.limits.recipients)
                assert raw == b"" or raw.endswith(b"\r\n")
                assert not re.search(rb"\r(?!\n)|(?<!\r)\n", raw)
                assert len(raw) <= self.config.limits.message_octets + 2
            case Reset():
                assert self.is_open
                self.arrived = b""
                self.is_open = False
            case StartTls():
                assert not self.is_open
            case Close():
                assert not self.is_open
                self.is_closed = True


def configs() -> list[tuple[SmtpConfig, Client]]:
    """As a public MX, behind a proxy, with implicit TLS, beside a trusted front end, lenient about newlines."""
    from ipaddress import ip_network  # noqa: PLC0415 - for two of them

    from smtp.config import BareNewline  # noqa: PLC0415 - for one of them

    mx = replace(CONFIG, limits=TIGHT, tls=object())
    ours = (ip_network("192.0.2.0/24"),)
    return [
        (mx, CLIENT),
        (replace(mx, proxy_from=ours), CLIENT),
        (replace(mx, implicit_tls=True), CLIENT),
        (replace(mx, xclient_from=ours, refuse_early_talkers=True), CLIENT),
        (replace(mx, bare_newline=BareNewline.NORMALISE, tls=None), CLIENT),
    ]


GIVEN: tuple[Reply | None, ...] = (None, OK, NO_SUCH_MAILBOX, TRY_AGAIN, TRY_AGAIN.closing())
LINES = (
    b"EHLO c.test\r\n",
    b"HELO c.test\r\n",
    b"MAIL FROM:<a@b.test>\r\n",
    b"MAIL FROM:<> SIZE=100 BODY=8BITMIME\r\n",
    b"MAIL FROM:<a@b.test> SIZE=9999\r\n",
    b"MAIL FROM:<a@b.test> AUTH=<>\r\n",
    b"RCPT TO:<x@y.test>\r\n",
    b"RCPT TO:<z@y.test>\r\n",
    b"RCPT TO:<Postmaster>\r\n",
    b"RCPT TO:<broken\r\n",
    b"DATA\r\n",
    b"Subject: x\r\n\r\ntext\r\n",
    b"..\r\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"\n.\r\n",
    b"\r.\r",
    b"BDAT 6\r\nabcd\r\n",
    b"BDAT 6 LAST\r\nabcd\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 400 LAST\r\n",
    b"BDAT 99999999999999999999\r\n",
    b"BDAT x\r\n",
    b"y" * 200,
    b"STARTTLS\r\n",
    b"STARTTLS\r\nEHLO injected\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"HELP\r\n",
    b"VRFY x\r\n",
    b"AUTH PLAIN\r\n",
    b"XCLIENT ADDR=198.51.100.9 HELO=z.test\r\n",
    b"XCLIENT ADDR=x\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 1 25\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x07\xc0\0\2\1\0\1\0\x19",
    b"GET / HTTP/1.1\r\n",
    b"\r\n",
    b"\0\xff\r\n",
    b"QUIT\r\n",
)


def steps() -> list[Callable[[Watched], None]]:
    """Everything that can happen, as a number each: for a fuzzer."""
    sent: list[Callable[[Watched], None]] = [lambda watched, line=line: watched.receive(line) for line in LINES]  # type: ignore[misc]
    given: list[Callable[[Watched], None]] = [lambda watched, reply=reply: watched.answer(reply) for reply in GIVEN]  # type: ignore[misc]
    return [*sent, *given, Watched.half_close, Watched.lose, lambda watched: watched.shut(TRY_AGAIN.closing())]
