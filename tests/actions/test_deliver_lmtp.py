"""The LMTP client against a scripted server on loopback: every recipient has an answer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from acting import listening
from carriers import LmtpSink, lmtp_client

from mail.address import Mailbox, parse_mailbox
from mail.delivery import DeliveryStatus

RAW = b"Subject: hello\r\n\r\n.dot\r\nend\r\n"
ANN, BOB, CAROL = (parse_mailbox(f"{name}@example.com") for name in ("ann", "bob", "carol"))
ALL = (ANN, BOB, CAROL)
SENDER = parse_mailbox("alice@sender.example")


async def send(
    sink: LmtpSink, recipients: Sequence[Mailbox] = ALL, raw: bytes = RAW, sender: Mailbox | None = SENDER
) -> tuple[DeliveryStatus, ...]:
    async with listening(sink) as port:
        return await lmtp_client(("127.0.0.1", port)).send_all(sender, recipients, raw)


def actions(statuses: Sequence[DeliveryStatus]) -> list[tuple[str, str]]:
    return [(each.action, each.status) for each in statuses]


async def test_one_transaction_delivers_to_all_with_the_dots_kept() -> None:
    sink = LmtpSink()
    statuses = await send(sink)
    assert sink.commands == [
        "LHLO mx.example.com",
        "MAIL FROM:<alice@sender.example>",
        *(f"RCPT TO:<{each}>" for each in ALL),
        "DATA",
        "QUIT",
    ]
    assert sink.messages[0][1] == b"Subject: hello\r\n\r\n..dot\r\nend\r\n.\r\n"
    assert actions(statuses) == [("delivered", "2.1.5")] * 3
    assert statuses[0].diagnostic == "smtp; 250 2.1.5 delivered"


async def test_each_recipient_keeps_its_own_answer() -> None:
    replies = {"ann@example.com": b"550 5.1.1 no such user\r\n", "dot bob@example.com": b"452 4.2.2 full\r\n"}
    sink = LmtpSink(replies)
    assert actions(await send(sink)) == [("failed", "5.1.1"), ("delayed", "4.2.2"), ("delivered", "2.1.5")]
    assert sink.messages[0][0] == ("bob@example.com", "carol@example.com")


async def test_who_was_answered_before_the_connection_was_lost_has_the_message() -> None:
    statuses = await send(LmtpSink({"dot bob@example.com": b""}))
    assert actions(statuses) == [("delivered", "2.1.5"), ("delayed", "4.0.0"), ("delayed", "4.0.0")]
    assert "lost" in statuses[1].diagnostic


async def test_nothing_is_sent_where_every_recipient_is_refused() -> None:
    sink = LmtpSink({"RCPT": b"550 5.1.1 nobody\r\n"})
    assert actions(await send(sink)) == [("failed", "5.1.1")] * 3
    assert "DATA" not in sink.commands
    assert sink.commands[-1] == "QUIT"


@pytest.mark.parametrize(
    ("replies", "action", "status"),
    [
        ({"connect": b"421 4.3.2 later\r\n"}, "delayed", "4.3.2"),
        ({"connect": b"554 5.3.2 never\r\n"}, "failed", "5.3.2"),
        ({"LHLO": b"500 5.5.1 what\r\n"}, "failed", "5.5.1"),
        ({"MAIL": b"451 4.3.0 later\r\n"}, "delayed", "4.3.0"),
        ({"MAIL": b"550 nonsense\r\n"}, "failed", "5.0.0"),
        ({"RCPT": b"421 4.3.2 going\r\n"}, "delayed", "4.3.2"),
        ({"DATA": b"451 4.3.1 full\r\n"}, "delayed", "4.3.1"),
        ({"MAIL": b""}, "delayed", "4.0.0"),
        ({"DATA": b""}, "delayed", "4.0.0"),
        ({"MAIL": b"garbage\r\n"}, "delayed", "4.0.0"),
        ({"MAIL": b"250-" + b"x" * 10_000 + b"\r\n"}, "delayed", "4.0.0"),
        ({"MAIL": b"250-more\r\n" * 200}, "delayed", "4.0.0"),
        ({"MAIL": b"999 what\r\n"}, "delayed", "4.0.0"),
        ({"QUIT": b""}, "delivered", "2.1.5"),
    ],
)
async def test_every_answer_is_a_status(replies: dict[str, bytes], action: str, status: str) -> None:
    statuses = await send(LmtpSink(replies), (ANN,))
    assert actions(statuses) == [(action, status)]
    assert statuses[0].diagnostic
    assert statuses[0].diagnostic.isprintable()


async def test_a_socket_that_is_not_there_is_a_delay_for_all(tmp_path: Path) -> None:
    statuses = await lmtp_client(str(tmp_path / "no.sock")).send_all(SENDER, ALL, RAW)
    assert {each.action for each in statuses} == {"delayed"}
    assert statuses[0].remote_mta == str(tmp_path / "no.sock")


async def test_a_server_that_says_nothing_is_a_delay() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(silent) as port:
        statuses = await lmtp_client(("127.0.0.1", port), 0.05).send_all(None, (ANN,), RAW)
    assert actions(statuses) == [("delayed", "4.0.0")]


async def test_a_unix_socket_is_reached(tmp_path: Path) -> None:
    sink = LmtpSink()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await sink(reader, writer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(served, tmp_path / "lmtp")
    async with server:
        assert actions(await lmtp_client(str(tmp_path / "lmtp")).send_all(None, (ANN,), RAW)) == [
            ("delivered", "2.1.5")
        ]
    assert "MAIL FROM:<>" in sink.commands


async def test_international_addresses_need_the_extension_and_leave_the_others_alone() -> None:
    foreign = parse_mailbox("bøb@example.com")
    sink = LmtpSink()
    assert actions(await send(sink, (foreign, ANN))) == [("failed", "5.6.7"), ("delivered", "2.1.5")]
    able = LmtpSink(extensions=("8BITMIME", "SMTPUTF8"))
    assert actions(await send(able, (foreign,), b"Subject: \xc3\xb8\r\n\r\nx\r\n")) == [("delivered", "2.1.5")]
    assert "MAIL FROM:<alice@sender.example> BODY=8BITMIME SMTPUTF8" in able.commands


@pytest.mark.parametrize("local", ['a" b@c', "a> RCPT TO:<x", 'q"\\'])
async def test_an_odd_mailbox_is_never_read_as_another(local: str) -> None:
    odd = Mailbox(local_part=local, domain="example.com")
    sink = LmtpSink()
    await send(sink, (odd,))
    assert f"RCPT TO:<{odd}>" in sink.commands
    assert parse_mailbox(str(odd)) == odd


async def test_a_message_without_a_final_line_end_gets_one() -> None:
    sink = LmtpSink()
    await send(sink, (ANN,), b".x: 1\r\n\r\nno end")
    assert sink.messages[0][1] == b"..x: 1\r\n\r\nno end\r\n.\r\n"
