"""Who is let in, how long it may take, which certificate it sees; and that every limit is told by its setting's name."""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from mail.client import Client
from mail.errors import Permanent
from mail.reply import NO_SUCH_MAILBOX, TOO_BUSY
from smtp.budget import Budget
from smtp.config import Limits, SmtpConfig, Timeouts
from smtp.door import Door, OwnCensus, network_of
from smtp.events import Close, Denied, Greet, Refused
from smtp.listener import listen
from smtp.machine import Machine
from smtp.patience import Patience
from smtp.tls import established, server_context
from tests.smtp.recording import CLIENT, CONFIG, Recording, Talk
from tests.smtp.test_smtp_server import serving, until


@pytest.mark.parametrize(
    ("ip", "network"),
    [("192.0.2.77", "192.0.2"), ("2001:db8:1:2:3::4", "2001:db8:1:2::"), ("::1", "::")],
)
def test_a_network_is_a_24_or_a_64(ip: str, network: str) -> None:
    assert network_of(ip) == network


def test_connections_are_counted_by_address_and_network_until_they_leave() -> None:
    door, limits = Door(OwnCensus()), Limits(connections_per_ip=2, connections_per_network=3)

    def come(ip: str) -> tuple[tuple[str, ...], str]:
        keys, denial = door.known(Client(ip=ip), limits)
        return keys, denial.limit if denial is not None else ""

    first = come("192.0.2.1")[0]
    assert come("192.0.2.1")[1] == ""
    assert come("192.0.2.1")[1] == "smtp.connections_per_ip"
    assert come("192.0.2.2")[1] == "smtp.connections_per_network"
    for _ in range(2):
        door.left(first)
    assert come("192.0.2.2")[1] == ""
    assert door.known(Client(ip=None), limits) == ((), None)


def test_all_connections_are_counted_whoever_they_are_from() -> None:
    door, limits = Door(OwnCensus()), Limits(connections=2)
    assert [door.came(limits)[1] for _ in range(4)] == [False, False, True, True]


async def test_a_refused_connection_is_told_why_and_the_session_too() -> None:
    session = Recording()
    async with serving(session, replace(CONFIG, limits=Limits(connections=1))) as (listener, host, port):
        first = await asyncio.open_connection(host, port)
        await first[0].readline()
        reader, writer = await asyncio.open_connection(host, port)
        assert await reader.read() == b"421 4.3.2 Too busy, please try again later\r\n"
        writer.close()
        first[1].close()
        await until(lambda: not listener.connections)
        reader, writer = await asyncio.open_connection(host, port)
        assert (await reader.readline()).startswith(b"220")
        writer.close()
    assert session.log[0] == ("denied", "127.0.0.1", "421 4.3.2 Too busy, please try again later", "smtp.connections")


def test_who_is_denied_is_not_lingered_for() -> None:
    machine = Machine(CONFIG, CLIENT)
    assert type(machine.next_event()) is Greet
    machine.deny(TOO_BUSY, "smtp.connections")
    denied, close = machine.next_event(), (machine.answer(None), machine.next_event())[1]
    assert denied == Denied(CLIENT, TOO_BUSY, "smtp.connections")
    assert close == Close(linger=False)
    assert machine.outgoing() == b"421 4.3.2 Too busy, please try again later\r\n"


async def test_who_is_denied_takes_up_no_room() -> None:
    config = replace(CONFIG, limits=Limits(connections=3, connections_per_ip=1))
    async with serving(Recording(), config) as (_, host, port):
        held = [await asyncio.open_connection(host, port) for _ in range(5)]
        answers = [(await reader.readline())[:3] for reader, _ in held]
        assert sorted(answers) == [b"220", b"421", b"421", b"421", b"421"]
        # Were those four counted, there would be no room for anybody else.
        reader, writer = await asyncio.open_connection(host, port, local_addr=("127.0.0.2", 0))
        assert (await reader.readline()).startswith(b"220")
        for one in (writer, *(each for _, each in held)):
            one.close()


async def test_new_connections_are_sent_away_while_too_many_wait_to_be_read() -> None:
    class Waiting(Budget):
        @property
        def waiting(self) -> int:
            return 3

    async with serving(Recording(), replace(CONFIG, limits=Limits(connections_waiting=2))) as (listener, host, port):
        listener.budget = Waiting(1)
        reader, writer = await asyncio.open_connection(host, port)
        assert (await reader.read()).startswith(b"421 4.3.2")
        writer.close()


def test_connections_that_must_wait_are_said_once_each() -> None:
    class Holder:
        weight = 0

        def lighten(self) -> None: ...

    told: list[None] = []
    budget = Budget(10, on_wait=lambda: told.append(None))
    holders = [Holder() for _ in range(3)]
    for octets in (20, 30):
        for holder in holders:
            budget.weigh(holder, octets)
    assert (len(told), budget.waiting) == (2, 2)


# --- patience


def moments(machine: Machine, timeouts: Timeouts, script: list[tuple[float, bytes]]) -> str:
    """Ticks once a second, octets at their time; the setting that ended it."""
    patience, now = Patience(0), 0.0
    while now < 10_000:
        for at, octets in script:
            if at == now:
                machine.receive(octets)
                machine.next_event()
                patience.heard(now)
        exceeded = patience.exceeded(machine, timeouts, now)
        if exceeded:
            return f"{exceeded} after {now:g}"
        now += 1
    return "never"


def greeted(config: SmtpConfig = CONFIG, client: Client = CLIENT) -> Machine:
    return Talk(config, client).machine


def test_a_command_that_trickles_is_waited_for_no_longer_than_silence() -> None:
    timeouts = Timeouts(command=60)
    assert moments(greeted(), timeouts, []) == "smtp.command_timeout after 61"
    trickle = [(float(at), b"x") for at in range(10, 5000, 10)]
    assert moments(greeted(), timeouts, trickle) == "smtp.command_timeout after 61"
    commands = [(float(at), b"NOOP\r\n") for at in (50, 100)]
    talk = Talk()
    assert moments(talk.machine, timeouts, commands[:1]) == "smtp.command_timeout after 111"


def test_a_proxy_header_that_trickles_is_not_waited_for() -> None:
    config = replace(CONFIG, proxy_from=(ipaddress.ip_network("192.0.2.0/24"),))
    trickle = [(float(at), octet) for at, octet in zip(range(5, 300, 5), [b"P", b"R", b"O", b"X", b"Y"], strict=False)]
    assert moments(Machine(config, CLIENT), Timeouts(proxy=10), trickle) == "proxy_from after 11"


def test_a_message_that_trickles_is_bounded_as_a_whole() -> None:
    timeouts = Timeouts(content=60, content_total=600)
    trickle = [(float(at), b"x") for at in range(10, 9000, 10)]
    machine = Talk().open().machine
    machine.receive(b"DATA\r\n")
    machine.next_event()
    assert moments(machine, timeouts, trickle) == "smtp.data_timeout after 601"
    machine = Talk().open().machine
    machine.receive(b"DATA\r\n")
    machine.next_event()
    assert moments(machine, timeouts, []) == "smtp.data_timeout after 61"


def test_a_large_message_has_the_time_that_its_octets_need_wherever_they_are_kept() -> None:
    timeouts = Timeouts(content=60, content_total=60, slowest_octets_per_second=4096)
    talk, patience = Talk().open(), Patience(0)
    talk.say("DATA")
    second = (b"x" * 78 + b"\r\n") * 100
    for now in range(1, 500):
        talk.send(second)
        patience.heard(now)
        assert patience.exceeded(talk.machine, timeouts, now) == ""
    assert talk.machine.held < 500_000
    assert len(talk.arriving) > 3_000_000


# --- every limit by its name


@pytest.mark.parametrize(
    ("limits", "lines", "limit"),
    [
        (Limits(errors=2), ["FOO", "BAR"], "smtp.errors"),
        (Limits(idle_commands=2), ["EHLO a", "RSET", "RSET"], "smtp.idle_commands"),
        (Limits(line_octets=20), ["x" * 30], "smtp.line_limit"),
        (Limits(garbage_octets=20), ["x" * 30], "smtp.line_limit"),
        (Limits(transactions=1), ["EHLO a", "MAIL FROM:<>", "RSET", "MAIL FROM:<>"], "smtp.messages_per_connection"),
        (
            Limits(recipients_per_connection=1),
            ["EHLO a", "MAIL FROM:<>", "RCPT TO:<x@y.test>", "RSET", "MAIL FROM:<>"],
            "smtp.recipients_per_connection",
        ),
        (
            Limits(recipients=1),
            ["EHLO a", "MAIL FROM:<>", "RCPT TO:<x@y.test>", "RCPT TO:<z@y.test>"],
            "smtp.recipients",
        ),
        (
            Limits(refused_recipients=1),
            ["EHLO a", "MAIL FROM:<>", "RCPT TO:<nobody@y.test>"],
            "smtp.refused_recipients",
        ),
        (Limits(message_octets=10), ["EHLO a", "MAIL FROM:<> SIZE=11"], "smtp.size_limit"),
        (
            Limits(message_octets=10),
            ["EHLO a", "MAIL FROM:<>", "RCPT TO:<x@y.test>", "DATA", "more than ten", "."],
            "smtp.size_limit",
        ),
        (
            Limits(message_octets=10),
            ["EHLO a", "MAIL FROM:<>", "RCPT TO:<x@y.test>", "BDAT 11", "123456789"],
            "smtp.size_limit",
        ),
    ],
)
def test_what_a_limit_refuses_carries_its_name(limits: Limits, lines: list[str], limit: str) -> None:
    talk = Talk(replace(CONFIG, limits=limits))
    talk.say(*lines)
    assert limit in [event.limit for event in talk.told(Refused) if isinstance(event, Refused)]


def test_a_recipient_to_be_tried_again_later_is_none_that_nobody_knows() -> None:
    talk = Talk(replace(CONFIG, limits=Limits(refused_recipients=2)))
    assert NO_SUCH_MAILBOX.code == 550
    talk.open()
    replies = talk.say(*["RCPT TO:<nobody@y.test>"])
    assert replies[0].startswith("550")
    assert not talk.is_closed


# --- certificates


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    issued = {"first": ["mx.test"], "second": ["mx.second.test", "alias.test"], "wild": ["*.wild.test"]}
    for name, names in issued.items():
        made.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
    live = tmp_path / "live"
    live.mkdir()
    certificate = made.issue_cert("live.test")
    certificate.private_key_pem.write_to_path(live / "privkey.pem")
    certificate.cert_chain_pems[0].write_to_path(live / "fullchain.pem")
    return made


@pytest.mark.parametrize(
    ("asked", "subject"),
    [
        ("mx.test", "mx.test"),
        ("MX.Second.test", "mx.second.test"),
        ("alias.test", "mx.second.test"),
        ("any.wild.test", "*.wild.test"),
        ("live.test", "live.test"),
        ("unknown.test", "mx.test"),
        (None, "mx.test"),
    ],
)
async def test_a_client_gets_the_certificate_of_the_name_it_asks_for(
    asked: str | None, subject: str, authority: trustme.CA, tmp_path: Path
) -> None:
    more = [tmp_path / "second.pem", tmp_path / "wild.pem", tmp_path / "live"]
    config = replace(CONFIG, tls=server_context(tmp_path / "first.pem", more=more))
    client = ssl.create_default_context()
    authority.configure_trust(client)
    client.check_hostname = False
    session = Recording()
    listener = await listen([], session.sessions, config, tls_where=[("127.0.0.1", 0)])
    try:
        host, _, port = listener.addresses[0].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=client, server_hostname=asked or "")
        assert (await reader.readline()).startswith(b"220")
        shown = writer.get_extra_info("peercert")["subjectAltName"]
        assert subject in [name for _, name in shown]
        writer.close()
    finally:
        await listener.close()
    tls = session.clients[0].tls
    assert tls is not None
    assert tls.sni == (asked.lower() if asked else None)


def test_a_certificate_without_names_is_said_by_name(tmp_path: Path, authority: trustme.CA) -> None:
    assert authority is not None
    (tmp_path / "key.pem").write_text("not a certificate")
    with pytest.raises(Permanent, match=r"key\.pem"):
        server_context(tmp_path / "first.pem", more=[tmp_path / "key.pem"])


async def test_plain_and_implicit_tls_are_served_side_by_side(authority: trustme.CA, tmp_path: Path) -> None:
    session = Recording()
    config = replace(CONFIG, tls=server_context(tmp_path / "first.pem"))
    listener = await listen([("127.0.0.1", 0)], session.sessions, config, tls_where=[("127.0.0.1", 0)])
    try:
        plain, secure = (int(address.rpartition(":")[2]) for address in listener.addresses)
        reader, writer = await asyncio.open_connection("127.0.0.1", plain)
        await reader.readline()
        writer.write(b"EHLO c.test\r\n")
        offered = await reader.readuntil(b"250 ")
        assert b"STARTTLS" in offered
        writer.close()
        client = ssl.create_default_context()
        authority.configure_trust(client)
        reader, writer = await asyncio.open_connection("127.0.0.1", secure, ssl=client, server_hostname="mx.test")
        await reader.readline()
        writer.write(b"EHLO c.test\r\n")
        assert b"STARTTLS" not in await reader.readuntil(b"250 ")
        writer.close()
    finally:
        await listener.close()


async def test_where_tls_comes_first_who_is_one_too_many_gets_no_handshake(
    authority: trustme.CA, tmp_path: Path
) -> None:
    session = Recording()
    limits = Limits(connections_per_ip=1)
    config = replace(CONFIG, tls=server_context(tmp_path / "first.pem"), limits=limits, implicit_tls=True)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with serving(session, config) as (listener, host, port):
        silent = await asyncio.open_connection(host, port)  # says no hello, and is waited for
        await until(lambda: len(listener.connections) == 1)
        reader, writer = await asyncio.open_connection(host, port)
        assert await reader.read() == b""
        writer.close()
        assert session.log == [
            ("denied", "127.0.0.1", "421 4.7.0 Too many connections from your address", "smtp.connections_per_ip"),
            ("close",),
        ]
        silent[1].close()
        await until(lambda: not listener.connections)
        reader, writer = await asyncio.open_connection(host, port, ssl=client, server_hostname="mx.test")
        assert (await reader.readline()).startswith(b"220")
        writer.close()


def test_tls_is_told_in_openssl_s_words() -> None:
    class Connection:
        server_name = "mx.test"
        cipher: Callable[[], tuple[str, str, int]] = staticmethod(lambda: ("TLS_AES", "TLSv1.3", 256))
        version: Callable[[], str] = staticmethod(lambda: "TLSv1.3")

    tls = established(Connection())  # type: ignore[arg-type]
    assert (tls.version, tls.cipher, tls.sni) == ("TLSv1.3", "TLS_AES", "mx.test")
