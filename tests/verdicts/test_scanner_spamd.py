"""spamd as it answers and misbehaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fake_daemons import Conversation, daemon, forever, spamc
from hypothesis import given
from hypothesis import strategies as st

from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Permanent, Temporary
from mail.verdict import ScanResult, Status
from tests.elsewhere import Elsewhere
from verdicts.daemon import Endpoint, Timing
from verdicts.spamd_scorer import SpamdScorer, _is_whole, _parted

SHORT = Timing(connect=0.1, idle=0.1, rest=1000)  # for those that hang
PATIENT = Timing(connect=10, idle=10, rest=1000)  # so that no busy machine looks like a daemon that hangs
RAW = b"Subject: x\r\n\r\nhello\r\n"
MARKED = b"Subject: version\r\nX-Spam-Checker-Version: SpamAssassin 4.0.1 (2024-03-25) on vm\r\n\r\n"


def reply(spam: bytes, body: bytes) -> bytes:
    return b"SPAMD/1.1 0 EX_OK\r\nContent-length: %d\r\n%s\r\n\r\n%s" % (len(body), spam, body)


def answering(answer: bytes, seen: list[tuple[str, bytes]] | None = None) -> Conversation:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, message = await spamc(reader)
        if seen is not None:
            seen.append((method, message))
        others = {"PING": b"SPAMD/1.5 0 PONG\r\n", "HEADERS": reply(b"Spam: False ; 0.0 / 5.0", MARKED)}
        writer.write(others.get(method, answer))
        await writer.drain()

    return talk


async def scan(endpoint: Endpoint, raw: bytes = RAW, threshold: float | None = None) -> ScanResult:
    engine = SpamdScorer(endpoint, size_limit=10**6, threshold=threshold, timing=PATIENT)
    return await engine.scan(raw, Envelope(reverse_path=None, recipients=()), Client(ip=None))


@pytest.mark.parametrize(
    ("spam", "body", "status", "score", "symbols"),
    [
        (b"Spam: True ; 1000.0 / 5.0", b"GTUBE,NO_RECEIVED", Status.FAIL, 1000.0, ("GTUBE", "NO_RECEIVED")),
        (b"Spam: False ; -1.2 / 5.0", b"ALL_TRUSTED\r\n", Status.PASS, -1.2, ("ALL_TRUSTED",)),
        (b"Spam: False ; 0 / 5", b"", Status.PASS, 0.0, ()),
        (b"Spam: True ; 5.0 / 5.0 ", b"A", Status.FAIL, 5.0, ("A",)),
    ],
)
async def test_the_verdict_is_the_engines(
    tmp_path: Path, spam: bytes, body: bytes, status: Status, score: float, symbols: tuple[str, ...]
) -> None:
    seen: list[tuple[str, bytes]] = []
    async with daemon(tmp_path / "s", answering(reply(spam, body), seen)) as endpoint:
        result = await scan(endpoint)
    assert result == ScanResult(
        status=status, engine="spamd", version="4.0.1", score=score, threshold=5.0, symbols=symbols
    )
    assert seen[0] == ("SYMBOLS", RAW)


async def test_a_message_that_stands_elsewhere_is_sent_as_it_is(tmp_path: Path) -> None:
    raw = RAW + b"0123456789abcde\n" * 50_000
    seen: list[tuple[str, bytes]] = []
    async with daemon(tmp_path / "s", answering(reply(b"Spam: True ; 9 / 5", b"A"), seen)) as endpoint:
        result = await scan(endpoint, Elsewhere(raw))
    assert result.status is Status.FAIL
    assert ("SYMBOLS", raw) in seen


@pytest.mark.parametrize(("threshold", "status"), [(3.9, Status.FAIL), (4.0, Status.FAIL), (4.1, Status.PASS)])
async def test_our_threshold_overrides_the_engines(tmp_path: Path, threshold: float, status: Status) -> None:
    async with daemon(tmp_path / "s", answering(reply(b"Spam: False ; 4.0 / 5.0", b"A"))) as endpoint:
        result = await scan(endpoint, threshold=threshold)
    assert (result.status, result.score, result.threshold) == (status, 4.0, threshold)


WHOLE = reply(b"Spam: False ; 0.0 / 5.0", b"SYMBOL")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "closed the connection in the middle"),
        (WHOLE[:10], "closed the connection in the middle"),
        (WHOLE[:-1], "closed the connection in the middle"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "closed the connection in the middle"),
        (b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0.0 / 5.0\r\n\r\nA", "closed the connection in the middle"),
        (b"SPAMD/1.0 79 Timeout: (300 second timeout)\r\n\r\n", "answered 'SPAMD/1.0 79 Timeout"),
        (b"SPAMD/1.0 76 Bad header line: x\r\n", "answered 'SPAMD/1.0 76 Bad header line"),
        (reply(b"Spam: Maybe ; 0.0 / 5.0", b""), "what is no verdict"),
        (reply(b"Spam: False ; 0.0.0 / 5.0", b""), "what is no verdict"),
        (reply(b"Spam: False ; nan / 5.0", b""), "what is no verdict"),
        (reply(b"X: y", b"Spam: False ; 0.0 / 5.0\r\n"), "what is no verdict"),
        (b"y" * 200_000, "closed the connection in the middle"),
    ],
)
async def test_what_is_no_verdict_is_a_failure(tmp_path: Path, answer: bytes, said: str) -> None:
    async with daemon(tmp_path / "s", answering(answer)) as endpoint:
        with pytest.raises(Temporary) as raised:
            await scan(endpoint)
    assert said in str(raised.value)


async def test_a_daemon_that_reads_to_the_end_of_the_line_finds_the_end(tmp_path: Path) -> None:
    """spamd waits for the rest of a last line without a line end, in spite of Content-length."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = (await reader.readline()).split()[0]
        assert (await reader.read()).endswith(b"hello" if method == b"SYMBOLS" else b"\r\n")
        writer.write(WHOLE)

    async with daemon(tmp_path / "s", talk) as endpoint:
        assert (await scan(endpoint, b"Subject: x\r\n\r\nhello")).status is Status.PASS


async def test_a_message_larger_than_the_limit_is_not_sent() -> None:
    with pytest.raises(Permanent, match=r"not scanned: too large, 1,000,001 octets where spam.size_limit is 1,000,000"):
        await scan(Endpoint(path="/nowhere"), bytes(1_000_001))


async def test_a_daemon_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(Temporary, match="No such file or directory"):
        await scan(Endpoint(path=str(tmp_path / "none")))


async def test_a_daemon_that_hung_must_answer_a_ping_before_its_next_message(tmp_path: Path) -> None:
    methods: list[str] = []
    hangs = True

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, message = await spamc(reader)
        methods.append(method)
        if hangs:
            await forever()
        await answering(WHOLE)(_again(method, message), writer)

    async with daemon(tmp_path / "s", talk) as endpoint:
        engine = SpamdScorer(endpoint, size_limit=10**6, timing=SHORT)
        transaction = (RAW, Envelope(reverse_path=None, recipients=()), Client(ip=None))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await engine.scan(*transaction)
        with pytest.raises(Temporary, match="no answer to a ping"):
            await engine.scan(*transaction)
        hangs = False
        assert (await engine.scan(*transaction)).version == "4.0.1"
        assert (await engine.scan(*transaction)).version == "4.0.1"
    assert [method for method in methods if method != "HEADERS"] == ["SYMBOLS", "PING", "PING", "SYMBOLS", "SYMBOLS"]
    assert methods.count("HEADERS") == 2, "once of the hung daemon, and once more"


def _again(method: str, message: bytes) -> asyncio.StreamReader:
    """The request once more, for another conversation to read."""
    reader = asyncio.StreamReader()
    reader.feed_data(b"%s SPAMC/1.5\r\nContent-length: %d\r\n\r\n%s" % (method.encode(), len(message), message))
    return reader


async def test_the_version_does_not_decide_whether_a_message_was_scanned(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, _ = await spamc(reader)
        writer.write(WHOLE if method == "SYMBOLS" else b"garbage")

    async with daemon(tmp_path / "s", talk) as endpoint:
        result = await scan(endpoint)
    assert (result.status, result.version) == (Status.PASS, "")


@given(st.binary(max_size=60), st.integers(0, 90))
def test_a_reply_is_whole_only_with_all_of_its_body(body: bytes, cut: int) -> None:
    whole = reply(b"Spam: False ; 0.0 / 5.0", body)
    assert _is_whole(whole)
    assert _parted(whole + b"more")[1] == body
    assert _is_whole(whole[:cut]) == (cut >= len(whole))


async def test_scans_at_once_all_have_the_version_for_one_question(tmp_path: Path) -> None:
    methods: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, message = await spamc(reader)
        methods.append(method)
        await answering(WHOLE)(_again(method, message), writer)

    async with daemon(tmp_path / "s", talk) as endpoint:
        engine = SpamdScorer(endpoint, size_limit=10**6, timing=PATIENT)
        transaction = (RAW, Envelope(reverse_path=None, recipients=()), Client(ip=None))
        found = await asyncio.gather(*(engine.scan(*transaction) for _ in range(5)))
    assert {result.version for result in found} == {"4.0.1"}
    assert sorted(methods) == ["HEADERS", *["SYMBOLS"] * 5]
