"""Hostile clients against the real process: the right reply, bounded memory, no word of Python, and it serves on."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from gateway_process import PYTHON, GatewayProcess, Start
from sample_gateway import ZONE
from smtp_wire import GONE, Wire, dotted

MIB = 2**20
# semantics.md §6: 64 MiB in flight, and one message more, while it is received and again while its steps run; each octet
# may be there twice, while a message is put together. What the clients send at once is more than that.
BUDGET_OCTETS = 400 * MIB
RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - {name: all, actions: [{disk: {path: mail}}]}
"""
MAIL = "MAIL FROM:<a@b.example>"
RCPT = "RCPT TO:<x@example.com>"
GOOD = b"From: a@b.example\r\nSubject: fine\r\n\r\nfine\r\n"


@pytest.fixture(scope="module")
def server(shared_gateway: Start) -> GatewayProcess:
    return shared_gateway(rules=RULES, dns=ZONE)


@pytest.fixture
def live(server: GatewayProcess) -> Iterator[GatewayProcess]:
    """A gateway that must serve an honest client in the end, with nothing of Python in its output."""
    yield server
    message_id = server.deliver(GOOD, rcpt_to=["x@example.com"])
    server.wait_done(message_id)
    assert not PYTHON.search(server.output), server.output


@contextmanager
def bounded(live: GatewayProcess) -> Iterator[None]:
    """Memory, looked at all the while, stays within the budget over where it began."""
    before = live.resident_octets
    highest, over = [before], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            highest[0] = max(highest[0], live.resident_octets)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    grown = max(highest[0], live.resident_octets) - before
    print(f"grew by {grown / MIB:.0f} MiB")
    assert grown < BUDGET_OCTETS, f"{grown / MIB:.0f} MiB"


def begin_data(wire: Wire) -> None:
    assert [wire.command(line).code for line in (MAIL, RCPT, "DATA")] == [250, 250, 354]


def flood(wire: Wire, piece: bytes, octets: int) -> int:
    """Send so much, or until the other side has had enough; how much it took."""
    sent = 0
    while sent < octets and wire.send_what_it_takes(piece):
        sent += len(piece)
    return sent


def test_400_megabytes_without_crlf_as_a_command_end_after_a_line_too_long(live: GatewayProcess) -> None:
    with bounded(live), live.connected() as wire:
        flood(wire, b"x" * MIB, 400 * 10**6)
        assert [str(reply)[:9] for reply in wire.rest()] == ["500 5.5.2"]


def test_400_megabytes_without_crlf_as_a_message_end_after_the_size_limit(live: GatewayProcess) -> None:
    with bounded(live), live.connected() as wire:
        begin_data(wire)
        flood(wire, b"x" * MIB, 400 * 10**6)
        assert [str(reply)[:9] for reply in wire.rest()] == ["552 5.3.4"]
    newest, *_ = live.objects("find", "--outcome", "refused")
    assert newest["reply"].startswith("552 5.3.4")


def test_who_never_stops_sending_is_cut_off(live: GatewayProcess) -> None:
    with bounded(live), live.connected() as wire:
        begin_data(wire)
        deadline = time.monotonic() + 20
        while wire.send_what_it_takes(b"x" * MIB):
            assert time.monotonic() < deadline


def test_the_sender_of_a_message_that_is_a_little_too_big_hears_why(live: GatewayProcess) -> None:
    with live.connected() as wire:
        begin_data(wire)
        line = b"y" * 998 + b"\r\n"
        wire.send(line * 41_000)
        wire.send(b".\r\n")
        assert wire.reply().code == 552
        assert wire.transaction("a@b.example", ["x@example.com"], GOOD).code == 250


def test_many_big_messages_at_once_stay_within_the_budget_and_all_are_taken(live: GatewayProcess) -> None:
    raw = dotted(GOOD + b"z" * 76 + b"\r\n" + (b"0123456789" * 7 + b"\r\n") * (35 * 10**6 // 72))
    codes: list[int] = []

    def client() -> None:
        with live.connected(timeout=100) as wire:
            begin_data(wire)
            wire.send(raw)
            codes.append(wire.reply().code)

    clients = [threading.Thread(target=client) for _ in range(14)]
    with bounded(live):
        for each in clients:
            each.start()
        for each in clients:
            each.join()
    assert codes == [250] * 14


def test_2000_recipients_are_answered_each_and_the_message_is_taken_for_1000(live: GatewayProcess) -> None:
    with live.connected(timeout=60) as wire:
        assert wire.command(MAIL).code == 250
        wire.send(b"".join(b"RCPT TO:<user%d@example.com>\r\n" % number for number in range(2000)))
        codes = [wire.reply().code for _ in range(2000)]
        assert codes == [250] * 1000 + [452] * 1000
        assert wire.command("DATA").code == 354
        wire.send(dotted(GOOD))
        reply = wire.reply()
        assert reply.code == 250
    live.wait_done(reply.text.split()[-1])
    (shown,) = live.objects("find", "--limit", "1", "--outcome", "accepted")
    assert len(shown["rcpt_to"]) == 1000


def test_2000_refused_recipients_end_the_session(live: GatewayProcess) -> None:
    with live.connected() as wire:
        assert wire.command(MAIL).code == 250
        wire.send_what_it_takes(b"".join(b"RCPT TO:<user%d@open.example>\r\n" % number for number in range(2000)))
        heard = wire.rest()
    assert [reply.code for reply in heard] == [550] * 200 + [421]


def test_a_half_close_after_the_dot_still_gets_its_reply(live: GatewayProcess) -> None:
    with live.connected() as wire:
        begin_data(wire)
        wire.send(dotted(GOOD))
        wire.half_close()
        reply = wire.reply()
        assert reply.code == 250
        assert wire.reply() is GONE
    live.wait_done(reply.text.split()[-1])


def test_a_client_that_is_gone_after_the_dot_loses_the_reply_and_not_the_message(live: GatewayProcess) -> None:
    with live.connected() as wire:
        begin_data(wire)
        wire.send(dotted(GOOD.replace(b"fine", b"orphan")))
    found = _eventually(lambda: live.objects("find", "--subject", "orphan"))
    assert [row["outcome"] for row in found] == ["accepted"]
    live.wait_done(found[0]["id"])


def _eventually(look: Callable[[], list[dict[str, str]]], seconds: float = 15) -> list[dict[str, str]]:
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


@pytest.mark.parametrize(
    ("octets", "replies"),
    [
        pytest.param(b"Subject: x\r\n\r\none\ntwo\r\n.\r\n", ["554 5.5.2"], id="bare LF"),
        pytest.param(b"Subject: x\r\n\r\none\rtwo\r\n.\r\n", ["554 5.5.2"], id="bare CR"),
        pytest.param(
            b"Subject: x\r\n\r\nx\n.\nMAIL FROM:<evil@x.example>\r\nQUIT\r\n", ["554 5.5.2"], id="smuggled LF.LF"
        ),
        pytest.param(
            b"Subject: x\r\n\r\nx\n.\r\nMAIL FROM:<evil@x.example>\r\nQUIT\r\n", ["554 5.5.2"], id="smuggled LF.CRLF"
        ),
        pytest.param(
            b"Subject: x\r\n\r\nx\r\n.\nMAIL FROM:<evil@x.example>\r\nQUIT\r\n", ["554 5.5.2"], id="smuggled CRLF.LF"
        ),
        pytest.param(
            b"Subject: x\r\n\r\nx\r.\rMAIL FROM:<evil@x.example>\r\nQUIT\r\n", ["554 5.5.2"], id="smuggled CR.CR"
        ),
    ],
)
def test_a_bare_newline_in_a_message_is_refused_and_smuggles_nothing(
    octets: bytes, replies: list[str], live: GatewayProcess
) -> None:
    with live.connected() as wire:
        begin_data(wire)
        wire.send_what_it_takes(octets)
        heard = wire.rest()
    assert [str(reply)[:9] for reply in heard] == replies
    assert all(row["mail_from"] != "evil@x.example" for row in live.objects("find"))


def test_nul_octets_are_answered_in_commands_and_kept_in_messages(live: GatewayProcess) -> None:
    raw = b"Subject: n\0l\r\n\r\nbefore\0after\r\n"
    with live.connected() as wire:
        assert 500 <= wire.command(b"MA\0IL FROM:<a@b.example>").code < 600
        assert 500 <= wire.command(b"MAIL FROM:<a\0@b.example>").code < 600
        assert wire.command(MAIL).code == 250
        assert 500 <= wire.command(b"RCPT TO:<x\0@example.com>").code < 600
        assert wire.command(RCPT).code == 250
        assert wire.command("DATA").code == 354
        wire.send(dotted(raw))
        message_id = wire.reply().text.split()[-1]
    live.wait_done(message_id)
    assert live.cli("show", message_id, "--raw").stdout == raw


def test_garbage_gets_replies_of_smtp_and_nothing_else(live: GatewayProcess, torture: int) -> None:
    """Random octets, and commands cut up at random: each reply is a code, an enhanced code and fixed prose."""
    chance = random.Random(torture)
    verbs = [
        b"EHLO x",
        MAIL.encode(),
        RCPT.encode(),
        b"DATA",
        b"BDAT 5",
        b"RSET",
        b"NOOP",
        b"HELP",
        b"VRFY x",
        b"AUTH PLAIN",
    ]
    for _ in range(40 * torture):
        words = [
            chance.choice(
                [
                    chance.randbytes(chance.randrange(60)),
                    chance.choice(verbs),
                    chance.choice(verbs)[: chance.randrange(9)],
                ]
            )
            for _ in range(8)
        ]
        with live.connected() as wire:
            wire.send_what_it_takes(b"\r\n".join(words) + b"\r\n")
            wire.half_close()
            for reply in wire.rest():
                assert 200 <= reply.code < 600
                assert not PYTHON.search(reply.text), reply


def test_a_slow_client_neither_blocks_others_nor_is_let_go_before_its_time(live: GatewayProcess) -> None:
    with live.connected() as slow:
        begin_data(slow)
        for octet in dotted(GOOD)[:-1]:
            slow.send(bytes([octet]))
        started = time.monotonic()
        live.deliver(GOOD, rcpt_to=["x@example.com"])
        assert time.monotonic() - started < 5
        slow.send(b"\n")
        assert slow.reply().code == 250


def test_a_client_that_trickles_too_slowly_is_sent_away(gateway: Start) -> None:
    live = gateway(
        rules=RULES, dns=ZONE, variables={"GATEPOST_SMTP__DATA_TIMEOUT": "1s", "GATEPOST_SMTP__COMMAND_TIMEOUT": "1s"}
    )
    with live.connected() as silent, live.connected() as in_data:
        begin_data(in_data)
        in_data.send(b"Subject: ")
        assert [reply.code for reply in silent.rest()] == [421]
        assert [reply.code for reply in in_data.rest()] == [421]


def test_many_connections_that_say_nothing_leave_room_for_others(live: GatewayProcess) -> None:
    silent = [Wire(live.address, source=f"127.0.1.{number % 40 + 1}") for number in range(400)]
    try:
        live.deliver(GOOD, rcpt_to=["x@example.com"])
    finally:
        for wire in silent:
            wire.socket.close()


def test_one_address_gets_no_more_than_its_share_of_connections(live: GatewayProcess) -> None:
    wires = [Wire(live.address, source="127.0.2.1") for _ in range(60)]
    try:
        codes = [wire.reply().code for wire in wires]
        assert sorted(set(codes)) == [220, 421]
        assert codes.count(220) == 50
        live.deliver(GOOD, rcpt_to=["x@example.com"])
    finally:
        for wire in wires:
            wire.socket.close()


def test_connections_that_reset_at_every_moment_leave_nothing_behind(live: GatewayProcess, torture: int) -> None:
    script = b"EHLO x\r\n" + MAIL.encode() + b"\r\n" + RCPT.encode() + b"\r\nDATA\r\n" + dotted(GOOD)
    for cut in range(0, len(script), max(1, 12 // torture)):
        wire = Wire(live.address)
        wire.send_what_it_takes(script[:cut])
        # A reset, not an orderly close.
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wire.socket.close()
    descriptors = _eventually_few(live)
    assert descriptors < 60, descriptors


def _eventually_few(live: GatewayProcess) -> int:
    """The open descriptors, once those of the dead connections are gone."""
    deadline = time.monotonic() + 10
    while (count := len(os.listdir(f"/proc/{live.pids[0]}/fd"))) >= 60 and time.monotonic() < deadline:
        time.sleep(0.1)
    return count


def test_a_web_browser_is_sent_away(live: GatewayProcess) -> None:
    with Wire(live.address) as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@b.example>\r\n")
        assert [reply.code for reply in wire.rest()] == [220, 500]
