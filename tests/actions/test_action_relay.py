"""The relay client against a scripted SMTP server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from acting import NOW, listening

from mail.address import Mailbox, parse_mailbox
from mail.delivery import DeliveryStatus
from mail.octets import PIECE_OCTETS
from smtp.client import RelayClient, RelaySettings
from tests.elsewhere import Elsewhere

RAW = b"Subject: notice\r\n\r\n.dot\r\nend\r\n"
ALICE = parse_mailbox("alice@sender.example")


class SmtpSink:
    """Answers 250 to everything but what `replies` says; keeps commands and messages."""

    def __init__(self, replies: Mapping[str, bytes] | None = None, extensions: tuple[str, ...] = ("8BITMIME",)) -> None:
        self._replies = dict(replies or {})
        self._extensions = extensions
        self.commands: list[str] = []
        self.messages: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._replies.get("connect", b"220 relay ESMTP\r\n"))
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.commands.append(line)
            verb = line.partition(" ")[0].upper()
            if verb == "DATA" and "DATA" not in self._replies:
                writer.write(b"354 go on\r\n")
                if "middle" in self._replies:
                    await reader.readexactly(100_000)
                    writer.write(self._replies["middle"])
                    await writer.drain()
                    while await reader.read(65_536):
                        pass
                    return
                self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                if not (reply := self._replies.get("dot", b"250 2.0.0 queued\r\n")):
                    return
                writer.write(reply)
                continue
            default = b"250 Ok\r\n"
            if verb == "EHLO":
                default = "".join(f"250-{name}\r\n" for name in ("relay", *self._extensions)).encode() + b"250 HELP\r\n"
            reply = self._replies.get(verb, default)
            if not reply:
                return
            writer.write(reply)
            if verb == "QUIT":
                return


@asynccontextmanager
async def relay(sink: SmtpSink) -> AsyncIterator[RelayClient]:
    async with listening(sink) as port:
        yield client(port)


def client(port: int, *, tls: str = "opportunistic", timeout_seconds: float = 5.0) -> RelayClient:
    settings = RelaySettings(
        host="127.0.0.1", port=port, tls=tls, hostname="mx.example.com", timeout_seconds=timeout_seconds
    )
    return RelayClient(settings, clock=lambda: NOW)


async def send(
    sink: SmtpSink, to: Mailbox = ALICE, raw: bytes = RAW, mail_from: Mailbox | None = None
) -> DeliveryStatus:
    async with relay(sink) as client:
        return await client.send(mail_from, to, raw)


async def test_message_is_relayed_from_the_null_reverse_path_with_its_dots_kept() -> None:
    sink = SmtpSink()
    status = await send(sink)
    assert sink.commands == [
        "EHLO mx.example.com",
        "MAIL FROM:<>",
        "RCPT TO:<alice@sender.example>",
        "DATA",
        "QUIT",
    ]
    assert sink.messages == [b"Subject: notice\r\n\r\n..dot\r\nend\r\n.\r\n"]
    assert status == DeliveryStatus(
        recipient="alice@sender.example",
        action="relayed",
        status="2.0.0",
        diagnostic="smtp; 250 2.0.0 queued",
        attempted_at=NOW,
        remote_mta="127.0.0.1",
    )


@pytest.mark.parametrize(
    "local", ['"a b"@sender.example', '"<victim@other.example>"@sender.example', '"a\\\\" b@c"@sender.example']
)
async def test_odd_mailbox_is_never_read_as_another(local: str) -> None:
    try:
        mailbox = parse_mailbox(local)
    except Exception:
        mailbox = Mailbox(local_part='a" b@c', domain="sender.example")
    sink = SmtpSink()
    await send(sink, mailbox)
    assert f"RCPT TO:<{mailbox}>" in sink.commands
    assert str(mailbox).endswith("@sender.example")


@pytest.mark.parametrize(
    ("replies", "action", "status"),
    [
        ({"connect": b"554 5.7.1 no\r\n"}, "failed", "5.7.1"),
        ({"connect": b"421 4.3.2 later\r\n"}, "delayed", "4.3.2"),
        ({"EHLO": b"421 4.3.2 later\r\n"}, "delayed", "4.3.2"),
        ({"MAIL": b"451 4.7.1 greylisted\r\n"}, "delayed", "4.7.1"),
        ({"RCPT": b"550 5.1.1 no such user\r\n"}, "failed", "5.1.1"),
        ({"RCPT": b"550 no such user\r\n"}, "failed", "5.0.0"),
        ({"RCPT": b"550 4.1.1 confused\r\n"}, "failed", "5.0.0"),
        ({"DATA": b"452 4.3.1 full\r\n"}, "delayed", "4.3.1"),
        ({"dot": b"554 5.6.0 spam\r\n"}, "failed", "5.6.0"),
        ({"dot": b"451 4.3.0 later\r\n"}, "delayed", "4.3.0"),
        ({"QUIT": b""}, "relayed", "2.0.0"),
        ({"MAIL": b""}, "delayed", "4.0.0"),
        ({"dot": b""}, "delayed", "4.0.0"),
        ({"MAIL": b"garbage\r\n"}, "delayed", "4.0.0"),
    ],
)
async def test_every_answer_is_a_status(replies: dict[str, bytes], action: str, status: str) -> None:
    found = await send(SmtpSink(replies))
    assert (found.action, found.status) == (action, status)
    assert found.diagnostic


async def test_relay_that_is_not_there_is_a_delay() -> None:
    async with listening(SmtpSink()) as port:
        pass
    assert (await client(port).send(None, ALICE, RAW)).action == "delayed"


async def test_a_password_that_the_relay_repeats_is_not_kept() -> None:
    forms = "hunter2secret AGdhdGUAaHVudGVyMnNlY3JldA== aHVudGVyMnNlY3JldA=="
    sink = SmtpSink({"AUTH": f"535 5.7.8 no such user gate: {forms}\r\n".encode()}, extensions=("AUTH PLAIN",))
    async with listening(sink) as port:
        settings = RelaySettings(host="127.0.0.1", port=port, tls="none", username="gate", password="hunter2secret")
        status = await RelayClient(settings, clock=lambda: NOW).send(None, ALICE, RAW)
    assert status.action == "delayed"
    assert status.diagnostic == "the relay refused our credentials: 535 5.7.8 no such user gate: *** *** ***"


async def test_relay_that_says_nothing_is_a_delay() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(silent) as port:
        status = await client(port, timeout_seconds=0.1).send(None, ALICE, RAW)
    assert (status.action, status.status) == ("delayed", "4.0.0")


async def test_required_tls_that_the_relay_lacks_is_a_delay_and_nothing_is_sent() -> None:
    sink = SmtpSink()
    async with listening(sink) as port:
        status = await client(port, tls="starttls").send(None, ALICE, RAW)
    assert status.action == "delayed"
    assert not any(command.startswith("MAIL") for command in sink.commands)


async def test_eight_bit_and_internationalised_mail_say_so() -> None:
    sink = SmtpSink(extensions=("8BITMIME", "SMTPUTF8"))
    await send(sink, parse_mailbox("jörg@sender.example"), RAW + "Grüße\r\n".encode())
    assert "MAIL FROM:<> BODY=8BITMIME SMTPUTF8" in sink.commands
    refused = await send(SmtpSink(), parse_mailbox("jörg@sender.example"))
    assert (refused.action, refused.status) == ("failed", "5.6.7")


LARGE = b"Subject: notice\r\n\r\n" + b".dot\r\nend \xe9\r\n" * 300_000


async def test_a_large_message_is_sent_a_piece_at_a_time_as_any_other() -> None:
    raw, sink = Elsewhere(LARGE), SmtpSink()
    async with listening(sink, limit=2 * len(LARGE)) as port:
        status = await client(port).send(ALICE, ALICE, raw)
    assert (status.action, status.diagnostic) == ("relayed", "smtp; 250 2.0.0 queued")
    assert sink.messages == [LARGE.replace(b"\r\n.", b"\r\n..") + b".\r\n"]
    assert "BODY=8BITMIME" in sink.commands[1]
    assert sink.commands[-1] == "QUIT"
    assert raw.most <= PIECE_OCTETS


@pytest.mark.parametrize(
    ("reply", "action", "said"),
    [(b"552 5.3.4 too big\r\n", "failed", "smtp; 552 5.3.4 too big"), (b"", "delayed", "no answer")],
)
async def test_a_relay_that_has_had_enough_of_a_large_message_is_heard(reply: bytes, action: str, said: str) -> None:
    sink = SmtpSink({"middle": reply} if reply else {"dot": b""})
    async with listening(sink, limit=2 * len(LARGE)) as port:
        status = await client(port).send(ALICE, ALICE, Elsewhere(LARGE))
    assert status.action == action
    assert said in status.diagnostic or "SMTPServerDisconnected" in status.diagnostic


@pytest.mark.parametrize(("reply", "action"), [("DATA", "failed"), ("dot", "failed")])
async def test_a_relay_refuses_a_large_message_as_any_other(reply: str, action: str) -> None:
    sink = SmtpSink({reply: b"554 5.7.1 no\r\n"})
    async with listening(sink, limit=2 * len(LARGE)) as port:
        status = await client(port).send(ALICE, ALICE, Elsewhere(LARGE))
    assert (status.action, status.diagnostic) == (action, "smtp; 554 5.7.1 no")
