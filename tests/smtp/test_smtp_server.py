"""The server on real loopback sockets, on asyncio and on uvloop."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mail.errors import Permanent
from smtp.config import Limits, SmtpConfig, Timeouts
from smtp.listener import Listener, listen
from smtp.tls import self_signed, server_context
from tests.smtp.recording import CONFIG, Recording

NOW = datetime(2026, 11, 21, tzinfo=UTC)
TRANSACTION = b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\n"
MESSAGE = TRANSACTION + b"DATA\r\nSubject: x\r\n\r\nhello\r\n.\r\n"
Test = Callable[[], Awaitable[None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    """Runs a test on one event loop or the other."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_test(test: Test) -> None:
        async def bounded() -> None:
            await asyncio.wait_for(test(), 20)

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())

    return run_test


@asynccontextmanager
async def serving(session: Recording, config: SmtpConfig = CONFIG) -> AsyncIterator[tuple[Listener, str, int]]:
    listener = await listen(("127.0.0.1", 0), session.sessions, config)
    host, _, port = listener.addresses[0].rpartition(":")
    try:
        yield listener, host, int(port)
    finally:
        await listener.close()


def certificate(directory: Path) -> Path:
    path = directory / "own.pem"
    path.write_bytes(self_signed("mx.test", NOW))
    return path


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - there is nothing to wait for but a moment
        await asyncio.sleep(0.001)


def test_a_pipelined_message_is_answered_in_order(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        session = Recording()
        async with serving(session) as (_, host, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(MESSAGE + b"QUIT\r\n")
            codes = [line[:3] for line in (await reader.read()).splitlines() if line[3:4] == b" "]
            assert codes == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"]
            writer.close()
        assert [raw for _, raw in session.messages] == [b"Subject: x\r\n\r\nhello\r\n"]
        assert session.log[-1] == ("close",)

    run(test)


def test_an_accept_goes_on_when_the_client_is_gone(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        session = Recording()
        session.gate = asyncio.Event()
        async with serving(session) as (listener, host, port):
            _, writer = await asyncio.open_connection(host, port)
            writer.write(MESSAGE)
            await until(lambda: ("rcpt", "x@y.test") in session.log)
            # With this a close sends a reset; a plain one cannot be told from a half-close, and is served to its end.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await until(lambda: not listener.connections)
            assert session.messages == []
            session.gate.set()
            await until(lambda: session.log[-1] == ("close",))
        assert len(session.messages) == 1
        assert [entry[0] for entry in session.log].count("close") == 1
        assert ("reset",) not in session.log

    run(test)


def test_a_half_close_behind_the_dot_still_gets_the_reply(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        session = Recording()
        session.gate = asyncio.Event()
        async with serving(session) as (_, host, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(MESSAGE)
            writer.write_eof()
            await until(lambda: ("rcpt", "x@y.test") in session.log)
            session.gate.set()
            assert (await reader.read()).endswith(b"250 2.0.0 Ok\r\n")
            writer.close()

    run(test)


def test_starttls_encrypts_and_forgets_what_was_injected(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        session = Recording()
        authority = trustme.CA()
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        authority.issue_cert("mx.test").configure_cert(server)
        authority.configure_trust(client)
        async with serving(session, replace(CONFIG, tls=server)) as (_, host, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(TRANSACTION + b"RSET\r\nSTARTTLS\r\nMAIL FROM:<injected@b.test>\r\nNOOP\r\n")
            while b"220 2.0.0" not in await reader.readline():
                pass
            await writer.start_tls(client, server_hostname="mx.test")
            writer.write(b"RCPT TO:<x@y.test>\r\n")
            assert await reader.readline() == b"503 5.5.1 Error: need MAIL command\r\n"
            writer.write(MESSAGE + b"QUIT\r\n")
            heard = await reader.read()
            assert b"STARTTLS" not in heard
            assert heard.endswith(b"250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n")
            writer.close()
        assert ("mail", "injected@b.test", None, False) not in session.log
        tls = session.clients[-1].tls
        assert tls is not None
        assert tls.version in ("TLSv1.2", "TLSv1.3")
        assert session.clients[-1].protocol == "ESMTPS"

    run(test)


def test_a_failed_tls_handshake_ends_the_connection_only(run: Callable[[Test], None], tmp_path: Path) -> None:
    async def test() -> None:
        session = Recording()
        config = replace(CONFIG, tls=server_context(certificate(tmp_path)))
        async with serving(session, config) as (listener, host, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"EHLO c.test\r\nSTARTTLS\r\n")
            while b"220 2.0.0" not in await reader.readline():
                pass
            writer.write(b"MAIL FROM:<plain@b.test>\r\n" * 3)
            await reader.read()
            writer.close()
            await until(lambda: not listener.connections)
            assert session.log[-1] == ("close",)
            reader, writer = await asyncio.open_connection(host, port)
            assert (await reader.readline()).startswith(b"220")
            writer.close()

    run(test)


def test_a_client_that_leaves_at_starttls_leaves_nothing_behind(run: Callable[[Test], None], tmp_path: Path) -> None:
    async def test() -> None:
        session = Recording()
        config = replace(CONFIG, tls=server_context(certificate(tmp_path)))
        async with serving(session, config) as (listener, host, port):
            for _ in range(5):
                session.log.clear()
                _, writer = await asyncio.open_connection(host, port)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.write(b"EHLO c.test\r\nSTARTTLS\r\n")
                writer.transport.abort()
                await until(lambda: ("close",) in session.log)
            await until(lambda: not listener.connections)

    run(test)


@pytest.mark.parametrize("through_proxy", [False, True])
def test_implicit_tls_stands_before_the_banner_and_is_known(
    run: Callable[[Test], None], tmp_path: Path, through_proxy: bool
) -> None:
    async def test() -> None:
        session = Recording()
        context = server_context(certificate(tmp_path))
        config = replace(
            CONFIG, tls=context, implicit_tls=True, proxy_from=CONFIG.xclient_from if through_proxy else ()
        )
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        async with serving(session, config) as (listener, host, port):
            reader, writer = await asyncio.open_connection(host, port)
            if through_proxy:
                writer.write(b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 465\r\n")
                await until(
                    lambda: all(driver._is_busy for driver in listener.connections) and bool(listener.connections)
                )
            await writer.start_tls(client, server_hostname="mx.test")
            assert (await reader.readline()).startswith(b"220")
            writer.write(b"EHLO c.test\r\nQUIT\r\n")
            assert b"STARTTLS" not in await reader.read()
            writer.close()
        assert session.clients[0].tls is not None
        assert session.clients[0].ip == ("198.51.100.7" if through_proxy else "127.0.0.1")

    run(test)


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_proxy_header_and_a_tls_hello_may_come_in_one_piece(
    run: Callable[[Test], None], tmp_path: Path, cut: int
) -> None:
    async def test() -> None:
        session = Recording()
        context = server_context(certificate(tmp_path))
        config = replace(CONFIG, tls=context, implicit_tls=True, proxy_from=CONFIG.xclient_from)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client.wrap_bio(incoming, outgoing)
        async with serving(session, config) as (_, host, port):
            reader, writer = await asyncio.open_connection(host, port)
            said, ahead = b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 465\r\n", True
            while True:
                try:
                    heard = tls.read()
                    break
                except ssl.SSLWantReadError:
                    said += outgoing.read()
                if ahead and cut:
                    writer.write(said[:-cut])
                    await asyncio.sleep(0)
                    said = said[-cut:]
                writer.write(said)
                said, ahead = b"", False
                incoming.write(await reader.read(65_536))
            assert heard.startswith(b"220")
            writer.close()
        assert session.clients[0].tls is not None
        assert session.clients[0].ip == "198.51.100.7"

    run(test)


def test_what_a_session_raises_is_logged_and_not_told(
    run: Callable[[Test], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        for where, code in (("mail", b"451"), ("rcpt", b"451"), ("data", b"451")):
            session = Recording()
            session.fail_in = where
            async with serving(session) as (_, host, port):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(TRANSACTION + b"DATA\r\nx\r\n.\r\nQUIT\r\n")
                heard = await reader.read()
                assert code + b" 4.3.0 Temporary failure" in heard
                assert b"secret" not in heard
                writer.close()

    run(test)
    assert caplog.text.count("RuntimeError: db password=secret") == 3
    assert "@" not in "".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("said", "timeouts"),
    [
        (b"", Timeouts(command=0.05)),
        (TRANSACTION, Timeouts(command=0.05)),
        (TRANSACTION + b"DATA\r\nhalf a mess", Timeouts(content=0.05)),
        (TRANSACTION + b"DATA\r\nhalf a mess", Timeouts(content_total=0.05)),
    ],
)
def test_a_silent_client_is_told_421(
    run: Callable[[Test], None], said: bytes, timeouts: Timeouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smtp.listener._TICK_SECONDS", 0.01)

    async def test() -> None:
        session = Recording()
        async with serving(session, replace(CONFIG, timeouts=timeouts)) as (listener, host, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(said)
            assert (await reader.read()).endswith(b"421 4.4.2 Timeout, closing connection\r\n")
            writer.close()
            await until(lambda: not listener.connections)
        assert session.log[-1] == ("close",)

    run(test)


def test_a_slow_backend_is_waited_for(run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtp.listener._TICK_SECONDS", 0.005)

    async def test() -> None:
        session = Recording()
        session.gate = asyncio.Event()
        timeouts = Timeouts(command=0.02, content=0.02)
        async with serving(session, replace(CONFIG, timeouts=timeouts)) as (_, host, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(MESSAGE + b"QUIT\r\n")
            await asyncio.sleep(0.1)
            session.gate.set()
            assert (await reader.read()).endswith(b"250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n")
            writer.close()

    run(test)


def test_connections_from_one_address_are_bounded(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with serving(Recording(), replace(CONFIG, limits=Limits(connections_per_ip=2))) as (listener, host, port):
            kept = [await asyncio.open_connection(host, port) for _ in range(2)]
            for reader, _ in kept:
                assert (await reader.readline()).startswith(b"220")
            reader, writer = await asyncio.open_connection(host, port)
            assert (await reader.read()) == b"421 4.7.0 Too many connections from your address\r\n"
            writer.close()
            kept[0][1].close()
            await until(lambda: len(listener.connections) == 1)
            reader, writer = await asyncio.open_connection(host, port)
            assert (await reader.readline()).startswith(b"220")
            writer.close()
            kept[1][1].close()

    run(test)


def test_reading_pauses_while_too_much_is_in_flight_and_every_message_still_ends(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        session = Recording()
        limits = Limits(in_flight_octets=300_000)
        body = b"x" * 998 + b"\r\n"

        async def send(host: str, port: int) -> bytes:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(TRANSACTION + b"DATA\r\n")
            for _ in range(400):
                writer.write(body)
                await writer.drain()
            writer.write(b".\r\nQUIT\r\n")
            heard = await reader.read()
            writer.close()
            return heard

        async with serving(session, replace(CONFIG, limits=limits)) as (listener, host, port):
            highest = 0

            async def watch() -> None:
                nonlocal highest
                while True:
                    highest = max(highest, listener.budget.held)
                    await asyncio.sleep(0)

            watcher = asyncio.ensure_future(watch())
            heard = await asyncio.gather(*(send(host, port) for _ in range(8)))
            watcher.cancel()
            assert all(one.endswith(b"221 2.0.0 Bye\r\n") and b"250 2.0.0 Ok" in one for one in heard)
            await until(lambda: not listener.connections)
            assert listener.budget.held == 0
            assert 300_000 < highest < 300_000 + 400_000 + 8 * 262_144
        assert len(session.messages) == 8

    run(test)


def test_messages_that_never_end_keep_no_room_from_others(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        session = Recording()
        limits = Limits(in_flight_octets=1_000_000)
        async with serving(session, replace(CONFIG, limits=limits)) as (listener, host, port):
            stalled = []
            for _ in range(8):
                _, writer = await asyncio.open_connection(host, port)
                writer.write(TRANSACTION + b"DATA\r\n" + (b"x" * 78 + b"\r\n") * 2500)
                stalled.append(writer)
            await until(lambda: listener.budget.is_full or len(session.arrived_octets) > 500_000)
            for _ in range(3):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(TRANSACTION + b"DATA\r\nSubject: x\r\n")
                await asyncio.sleep(0.01)
                writer.write(b"\r\nhello\r\n.\r\nQUIT\r\n")
                assert b"\r\n250 2.0.0 Ok\r\n221" in await reader.read()
                writer.close()
            assert not listener.budget.is_full
            assert listener.budget.waiting == 0
            for writer in stalled:
                writer.close()
            await until(lambda: not listener.connections)
            assert listener.budget.held == 0

    run(test)


def test_draining_lets_messages_under_way_end_and_sends_the_idle_away(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        session = Recording()
        async with serving(session) as (listener, host, port):
            idle, idle_writer = await asyncio.open_connection(host, port)
            busy, busy_writer = await asyncio.open_connection(host, port)
            await idle.readline()
            busy_writer.write(TRANSACTION)
            await until(lambda: ("rcpt", "x@y.test") in session.log)
            drained = asyncio.ensure_future(listener.drain(within_seconds=10))
            assert (await idle.read()) == b"421 4.3.2 Service shutting down\r\n"
            idle_writer.close()
            busy_writer.write(b"DATA\r\nx\r\n.\r\n")
            assert (await busy.read()).endswith(b"250 2.0.0 Ok\r\n421 4.3.2 Service shutting down\r\n")
            busy_writer.close()
            await drained
            with pytest.raises(OSError, match=r".+"):
                await asyncio.open_connection(host, port)

    run(test)


def test_a_client_that_never_reads_its_replies_is_not_served_on(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        session = Recording()
        limits = Limits(idle_commands=10**9, commands=10**9)
        async with serving(session, replace(CONFIG, limits=limits)) as (listener, host, port):
            _, writer = await asyncio.open_connection(host, port)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(200):
                writer.write(b"EHLO c.test\r\n" * 2000)
                await asyncio.sleep(0)
            await until(lambda: any(driver._is_blocked for driver in listener.connections))
            (driver,) = listener.connections
            await asyncio.sleep(0.05)
            assert driver._machine.backlog < 64 * 1024 + 2 * 262_144
            writer.transport.abort()

    run(test)


def test_a_taken_port_is_an_error(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with serving(Recording()) as (_, host, port):
            with pytest.raises(OSError, match=r"in use"):
                await listen((host, port), Recording().sessions, CONFIG)

    run(test)


def test_an_unreadable_certificate_is_said_by_name(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=r"missing\.pem"):
        server_context(tmp_path / "missing.pem")


def test_what_is_wrong_with_a_certificate_is_said_and_nobody_is_asked_for_a_passphrase(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked = key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret"))
    own, other = self_signed("mx.test", NOW), self_signed("b.test", NOW)
    begin = b"-----BEGIN CERTIFICATE"
    files = {
        "junk.pem": (b"x", "there is no certificate with its key in PEM form"),
        "mixed.pem": (own[: own.index(begin)] + other[other.index(begin) :], "the key is not the certificate's"),
        "locked.pem": (locked + own[own.index(begin) :], "the key is locked by a passphrase; write one without"),
    }
    for name, (content, said) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Permanent, match=f"{name}: {said}"):
            server_context(tmp_path / name)
