"""clamd as it answers, misbehaves and dies: only a whole `stream: OK` to the whole message is clean."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from pathlib import Path

import pytest
from fake_daemons import Conversation, daemon, forever, instream
from hypothesis import given
from hypothesis import strategies as st

from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Permanent, Temporary
from mail.verdict import ScanResult, Status
from tests.elsewhere import Elsewhere
from verdicts.clamd_scanner import CHUNK_OCTETS, ClamdScanner, _symbol
from verdicts.daemon import Endpoint, Timing, parse_endpoint

ENVELOPE = Envelope(reverse_path=None, recipients=())
CLIENT = Client(ip=None)
SHORT = Timing(connect=0.1, idle=0.1, rest=1000)  # for those that hang
PATIENT = Timing(connect=10, idle=10, rest=1000)  # so that no busy machine looks like one
VERSION = "ClamAV 1.4.6/27000/Sat Nov 21 10:00:00 2026"


def scanner(*endpoints: Endpoint, size_limit: int = 10**8, timing: Timing = PATIENT) -> ClamdScanner:
    return ClamdScanner(endpoints, size_limit=size_limit, timing=timing)


async def scan(engine: ClamdScanner, raw: bytes = b"Subject: x\r\n\r\nhello\r\n") -> ScanResult:
    return await engine.scan(raw, ENVELOPE, CLIENT)


def answering(answer: bytes, seen: list[tuple[str, bytes]] | None = None) -> Conversation:
    """A well-behaved clamd, but for what it says of the message."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command, message = await instream(reader)
        if seen is not None:
            seen.append((command, message))
        writer.write({"PING": b"PONG\0", "VERSION": VERSION.encode() + b"\0"}.get(command, answer))
        await writer.drain()

    return talk


async def test_a_clean_message_passes_with_engine_and_version(tmp_path: Path) -> None:
    async with daemon(tmp_path / "s", answering(b"stream: OK\0")) as endpoint:
        assert await scan(scanner(endpoint)) == ScanResult(status=Status.PASS, engine="clamd", version=VERSION)


async def test_a_virus_fails_with_its_signature(tmp_path: Path) -> None:
    async with daemon(tmp_path / "s", answering(b"stream: Win.Test.EICAR_HDB-1 FOUND\0")) as endpoint:
        result = await scan(scanner(endpoint))
    assert (result.status, result.symbols) == (Status.FAIL, ("Win.Test.EICAR_HDB-1",))


@pytest.mark.parametrize("octets", [0, 1, CHUNK_OCTETS - 1, CHUNK_OCTETS, CHUNK_OCTETS + 1, 5 * CHUNK_OCTETS + 7])
async def test_the_daemon_gets_the_message_as_it_is(tmp_path: Path, octets: int) -> None:
    raw = (bytes(range(256)) * (octets // 256 + 1))[:octets]
    seen: list[tuple[str, bytes]] = []
    async with daemon(tmp_path / "s", answering(b"stream: OK\0", seen)) as endpoint:
        engine = scanner(endpoint)
        assert (await scan(engine, raw)).status is Status.PASS
        assert (await scan(engine, Elsewhere(raw))).status is Status.PASS
    assert seen == [("INSTREAM", raw), ("VERSION", b""), ("INSTREAM", raw)]


async def test_the_version_is_asked_for_once_a_minute(tmp_path: Path) -> None:
    seen: list[tuple[str, bytes]] = []
    async with daemon(tmp_path / "s", answering(b"stream: OK\0", seen)) as endpoint:
        engine = scanner(endpoint)
        for _ in range(3):
            assert (await scan(engine)).version == VERSION
    assert [command for command, _ in seen].count("VERSION") == 1


async def test_a_daemon_that_does_not_tell_its_version_scans_all_the_same(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command, _ = await instream(reader)
        if command == "VERSION":
            await forever()
        writer.write(b"stream: OK\0")

    async with daemon(tmp_path / "s", talk) as endpoint:
        result = await scan(scanner(endpoint, timing=SHORT))
    assert (result.status, result.version) == (Status.PASS, "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"stream: OK", "closed the connection in the middle of 'stream: OK'"),
        (b"str", "closed the connection in the middle of 'str'"),
        (b"", "closed the connection without an answer"),
        (b"\0", "answered ''"),
        (b"garbage \xff\xfe\0", "answered 'garbage"),
        (b"stream: Something OK\0", "answered 'stream: Something OK'"),
        (b"other: OK\0", "answered 'other: OK'"),
        (b"stream: FOUND\0", "answered 'stream: FOUND'"),
        (b"OK\0", "answered 'OK'"),
        (b"stream: Can't allocate memory ERROR\0", 'answered "stream: Can\'t allocate memory ERROR"'),
        (b"UNKNOWN COMMAND\0", "answered 'UNKNOWN COMMAND'"),
        (b"x" * 200_000, "closed the connection in the middle of 'xxx"),
    ],
)
async def test_what_is_no_verdict_is_a_failure(tmp_path: Path, answer: bytes, said: str) -> None:
    async with daemon(tmp_path / "s", answering(answer)) as endpoint:
        with pytest.raises(Temporary) as raised:
            await scan(scanner(endpoint))
    assert said in str(raised.value)
    assert str(endpoint) in str(raised.value)


async def test_an_answer_in_small_pieces_is_put_together(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await instream(reader)
        for octet in b"stream: Eicar FOUND\0":
            writer.write(bytes([octet]))
            await writer.drain()
            await asyncio.sleep(0)

    async with daemon(tmp_path / "s", talk) as endpoint:
        assert (await scan(scanner(endpoint))).symbols == ("Eicar",)


async def test_a_message_larger_than_the_limit_is_not_sent_and_never_clean() -> None:
    with pytest.raises(Permanent, match=r"not scanned: too large, 11 octets where virus.size_limit is 10"):
        await scan(scanner(Endpoint(path="/nowhere"), size_limit=10), b"x" * 11)


async def test_a_daemon_that_has_had_enough_says_so_while_we_send(tmp_path: Path) -> None:
    """StreamMaxLength: clamd answers and closes in the middle of the stream; a client that only sends sees a broken pipe."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        await reader.readexactly(4 + CHUNK_OCTETS)
        writer.write(b"INSTREAM size limit exceeded. ERROR\0")
        await writer.drain()

    async with daemon(tmp_path / "s", talk) as endpoint:
        with pytest.raises(Permanent, match="not scanned: too large for clamd"):
            await scan(scanner(endpoint), bytes(20 * CHUNK_OCTETS))


async def test_ok_before_the_end_of_the_message_is_not_clean(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        writer.write(b"stream: OK\0")
        await writer.drain()
        await forever()

    async with daemon(tmp_path / "s", talk) as endpoint:
        with pytest.raises(Temporary, match="before it had the whole message"):
            await scan(scanner(endpoint), bytes(20 * CHUNK_OCTETS))


async def test_a_daemon_that_closes_in_the_middle_is_a_failure(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100)

    async with daemon(tmp_path / "s", talk) as endpoint:
        with pytest.raises(Temporary, match="closed the connection without an answer"):
            await scan(scanner(endpoint), bytes(20 * CHUNK_OCTETS))


async def test_a_reset_in_the_middle_is_a_failure(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def reset() -> None:
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        await asyncio.get_running_loop().sock_recv(connection, 100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with listener:
        resetting = asyncio.create_task(reset())
        endpoint = Endpoint(host="127.0.0.1", port=listener.getsockname()[1])
        with pytest.raises(Temporary, match="closed the connection"):
            await scan(scanner(endpoint), bytes(20 * CHUNK_OCTETS))
        await resetting


async def test_a_daemon_that_takes_nothing_is_given_up(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forever()

    async with daemon(tmp_path / "s", talk) as endpoint:
        with pytest.raises(Temporary, match=r"took nothing for 0.1 s"):
            await scan(scanner(endpoint, timing=SHORT), bytes(40 * CHUNK_OCTETS))


async def test_a_slow_daemon_is_waited_for_while_it_takes_something(tmp_path: Path) -> None:
    """Each chunk has the idle time for itself; the whole has the caller's deadline."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await instream(reader)
        for _ in range(50):
            await asyncio.sleep(0)
        writer.write(b"stream: OK\0")

    async with daemon(tmp_path / "s", talk) as endpoint:
        assert (await scan(scanner(endpoint), bytes(8 * CHUNK_OCTETS))).status is Status.PASS


async def test_a_cancelled_scan_leaves_nothing_open(tmp_path: Path) -> None:
    met, gone = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await instream(reader)
        met.set()
        assert await reader.read() == b""
        gone.set()

    async with daemon(tmp_path / "s", talk) as endpoint:
        task = asyncio.create_task(scan(scanner(endpoint)))
        await met.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 5)


# --- several daemons ---


def named(name: str, asked: list[str]) -> Conversation:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command, _ = await instream(reader)
        if command == "INSTREAM":
            asked.append(name)
        writer.write({"PING": b"PONG\0", "VERSION": b"ClamAV 1\0"}.get(command, b"stream: OK\0"))

    return talk


async def test_daemons_take_turns(tmp_path: Path) -> None:
    asked: list[str] = []
    async with daemon(tmp_path / "a", named("a", asked)) as a, daemon(tmp_path / "b", named("b", asked)) as b:
        engine = scanner(a, b)
        for _ in range(4):
            await scan(engine)
    assert asked == ["a", "b", "a", "b"]


async def test_a_daemon_that_is_not_there_costs_no_message(tmp_path: Path) -> None:
    asked: list[str] = []
    async with daemon(tmp_path / "b", named("b", asked)) as b:
        engine = scanner(Endpoint(path=str(tmp_path / "none")), b)
        for _ in range(3):
            assert (await scan(engine)).status is Status.PASS
    assert asked == ["b"] * 3


async def test_where_no_daemon_is_there_each_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    engine = scanner(Endpoint(path=str(tmp_path / "none")), Endpoint(host="127.0.0.1", port=port))
    with pytest.raises(Temporary) as raised:
        await scan(engine)
    assert str(raised.value) == (
        f"unix:{tmp_path}/none: No such file or directory; tcp:127.0.0.1:{port}: Connection refused"
    )


async def test_a_daemon_that_dies_of_a_message_does_not_hand_it_to_the_next(tmp_path: Path) -> None:
    asked: list[str] = []

    async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await instream(reader)
        asked.append("dying")

    async with daemon(tmp_path / "a", dying) as a, daemon(tmp_path / "b", named("b", asked)) as b:
        engine = scanner(a, b)
        with pytest.raises(Temporary):
            await scan(engine)
        assert asked == ["dying"]
        # It comes last from now on, for `rest` seconds.
        assert (await scan(engine)).status is (await scan(engine)).status is Status.PASS
    assert asked == ["dying", "b", "b"]


async def test_a_daemon_that_hung_must_answer_a_ping_before_its_next_message(tmp_path: Path) -> None:
    commands: list[str] = []
    hangs = True

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command, _ = await instream(reader)
        commands.append(command)
        if hangs:
            await forever()
        writer.write({"PING": b"PONG\0", "VERSION": b"ClamAV 1\0"}.get(command, b"stream: OK\0"))

    async with daemon(tmp_path / "a", talk) as a:
        engine = scanner(a, timing=SHORT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):  # the deadline of the verdict
                await scan(engine)
        with pytest.raises(Temporary, match=r"no answer to a ping within 0.1 s"):
            await scan(engine)
        hangs = False
        assert (await scan(engine)).status is Status.PASS
        assert (await scan(engine)).status is Status.PASS
    assert commands == ["INSTREAM", "PING", "PING", "INSTREAM", "VERSION", "INSTREAM"]


async def test_a_daemon_that_has_rested_takes_its_turn_again(tmp_path: Path) -> None:
    asked: list[str] = []
    async with daemon(tmp_path / "b", named("b", asked)) as b:
        engine = scanner(Endpoint(path=str(tmp_path / "a")), b, timing=Timing(connect=0.1, idle=0.1, rest=0))
        await scan(engine)
        async with daemon(tmp_path / "a", named("a", asked)):
            await scan(engine)
            await scan(engine)
    assert asked == ["b", "b", "a"]


async def test_a_hung_scan_keeps_no_other_waiting(tmp_path: Path) -> None:
    held = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command, message = await instream(reader)
        if message == b"hold":
            await held.wait()
        writer.write({"VERSION": b"ClamAV 1\0"}.get(command, b"stream: OK\0"))

    async with daemon(tmp_path / "a", talk) as a:
        engine = scanner(a)
        holding = asyncio.create_task(scan(engine, b"hold"))
        assert [(await scan(engine)).status for _ in range(20)] == [Status.PASS] * 20
        assert not holding.done()
        held.set()
        assert (await holding).status is Status.PASS


# --- what is read ---


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("unix:/run/clamav/clamd.ctl", Endpoint(path="/run/clamav/clamd.ctl")),
        ("tcp:127.0.0.1:3310", Endpoint(host="127.0.0.1", port=3310)),
        ("clamd:3310", Endpoint(host="clamd", port=3310)),
        ("tcp:[::1]:3310", Endpoint(host="::1", port=3310)),
        ("unix:relative", None),
        ("unix:", None),
        ("127.0.0.1", None),
        ("tcp:h:0", None),
        ("tcp:h:65536", None),
        ("tcp:h:3310 ", None),
        ("::1:3310", None),
        ("", None),
    ],
)
def test_an_endpoint_is_read_as_it_is_written(text: str, endpoint: Endpoint | None) -> None:
    assert parse_endpoint(text) == endpoint
    if endpoint is not None:
        assert parse_endpoint(str(endpoint)) == endpoint


@given(st.one_of(st.binary(max_size=80), st.from_regex(rb"(stream: )?[\x20-\x7e]{0,9} ?(OK|FOUND|ERROR)?\0?")))
def test_no_answer_but_one_reads_as_clean(octets: bytes) -> None:
    with contextlib.suppress(Temporary, Permanent):
        symbol = _symbol(octets, Endpoint(path="/x"), is_sent=True)
        assert symbol is not None or octets.partition(b"\0")[0].strip() == b"stream: OK"
