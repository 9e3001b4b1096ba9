"""rspamd as it answers and misbehaves, and what it is told of the transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.address import Mailbox
from mail.client import Client
from mail.envelope import Envelope, Recipient
from mail.errors import Permanent, Temporary
from mail.verdict import ScanResult, Status
from verdicts.ports import HttpAnswer
from verdicts.rspamd_scorer import RspamdScorer

RAW = b"Subject: x\r\n\r\nhello\r\n"
BOB, CAROL = Mailbox(local_part="bob", domain="example.com"), Mailbox(local_part="carol", domain="example.org")
ENVELOPE = Envelope(
    reverse_path=Mailbox(local_part="alice", domain="sender.example"),
    recipients=(Recipient(mailbox=BOB), Recipient(mailbox=CAROL)),
)
CLIENT = Client(ip="192.0.2.1", helo="mx.sender.example", name="host.sender.example")


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"server": "rspamd/3.4"})


class Web:
    """An HTTP client whose other end says this."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.posted: list[tuple[str, list[tuple[str, str]], bytes, float]] = []

    async def __call__(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes, timeout_seconds: float
    ) -> HttpAnswer:
        self.posted.append((url, list(headers), body, timeout_seconds))
        return self.answer


def checked(action: str = "no action", score: float = 1.0, **more: Any) -> bytes:
    symbols = {"LIGHT": {"name": "LIGHT", "score": 0.5}, "HEAVY": {"name": "HEAVY", "score": -3.0}, "NONE": {}}
    whole = {"is_skipped": False, "score": score, "required_score": 15.0, "action": action, "symbols": symbols, **more}
    return json.dumps(whole).encode()


async def scan(web: Web, raw: bytes = RAW, envelope: Envelope = ENVELOPE, **given: Any) -> ScanResult:
    engine = RspamdScorer("http://127.0.0.1:11333", web, size_limit=1000, deadline_seconds=20, **given)
    return await engine.scan(raw, envelope, CLIENT, "our-id")


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("no action", Status.PASS),
        ("greylist", Status.GRAY),
        ("soft reject", Status.GRAY),
        ("add header", Status.FAIL),
        ("rewrite subject", Status.FAIL),
        ("quarantine", Status.FAIL),
        ("discard", Status.FAIL),
        ("reject", Status.FAIL),
    ],
)
async def test_the_action_decides(action: str, status: Status) -> None:
    assert await scan(Web(Answer(body=checked(action, 7.25)))) == ScanResult(
        status=status,
        engine="rspamd",
        version="3.4",
        reason=f"action {action}",
        score=7.25,
        threshold=15.0,
        symbols=("HEAVY", "LIGHT", "NONE"),
    )


@pytest.mark.parametrize(
    ("action", "score", "status"),
    [
        ("no action", 4.9, Status.PASS),
        ("no action", 5.0, Status.FAIL),
        ("greylist", 4.5, Status.GRAY),
        ("add header", 4.9, Status.PASS),
        ("reject", 0.0, Status.FAIL),
    ],
)
async def test_our_threshold_overrides_all_but_a_rejection(action: str, score: float, status: Status) -> None:
    result = await scan(Web(Answer(body=checked(action, score))), threshold=5.0)
    assert (result.status, result.threshold) == (status, 5.0)


async def test_gtube_is_spam_though_rspamd_calls_it_skipped() -> None:
    assert (await scan(Web(Answer(body=checked("reject", 15.0, is_skipped=True))))).status is Status.FAIL


async def test_a_message_that_rspamd_skipped_was_not_scanned() -> None:
    with pytest.raises(Permanent, match="not scanned: rspamd was told to skip"):
        await scan(Web(Answer(body=checked(is_skipped=True))))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=500), "HTTP 500"),
        (Answer(status=403, body=checked()), "HTTP 403"),
        (Answer(status=302), "HTTP 302"),
        (Answer(), "no verdict"),
        (Answer(body=b"garbage \xff"), "no verdict"),
        (Answer(body=checked()[:-5]), "no verdict"),
        (Answer(body=b"[]"), "no verdict"),
        (Answer(body=b"{}"), "no verdict"),
        (Answer(body=b'{"action": "no action", "score": "low", "required_score": 15}'), "no verdict"),
        (Answer(body=b'{"action": "no action", "score": NaN, "required_score": 15}'), "no verdict"),
        (Answer(body=b'{"action": "no action", "score": 1e999, "required_score": 15}'), "no"),
        (Answer(body=b'{"action": "fine", "score": 1, "required_score": 15}'), "unknown action: 'fine'"),
        (Answer(body=b'{"error": "timeout"}'), "no verdict"),
    ],
)
async def test_what_is_no_verdict_is_a_failure(answer: Answer, said: str) -> None:
    with pytest.raises(Temporary) as raised:
        await scan(Web(answer))
    assert said in str(raised.value)


async def test_a_message_larger_than_the_limit_is_not_sent() -> None:
    web = Web(Answer(body=checked()))
    with pytest.raises(Permanent, match=r"not scanned: too large, 1,001 octets where spam.size_limit is 1,000"):
        await scan(web, bytes(1001))
    assert web.posted == []


async def test_rspamd_is_told_what_the_edge_knows() -> None:
    web = Web(Answer(body=checked()))
    await scan(web)
    ((url, headers, body, seconds),) = web.posted
    assert (url, body, seconds) == ("http://127.0.0.1:11333/checkv2", RAW, 20)
    assert headers[1:] == [
        ("From", "<alice@sender.example>"),
        ("Rcpt", "<bob@example.com>"),
        ("Rcpt", "<carol@example.org>"),
        ("Queue-Id", "our-id"),
        ("IP", "192.0.2.1"),
        ("Hostname", "host.sender.example"),
        ("Helo", "mx.sender.example"),
    ]


async def test_the_null_sender_and_an_unknown_client_are_told_as_such() -> None:
    web = Web(Answer(body=checked()))
    engine = RspamdScorer("http://h/checkv2", web, size_limit=1000, deadline_seconds=1)
    await engine.scan(RAW, Envelope(reverse_path=None, recipients=()), Client(ip=None))
    ((url, headers, _, _),) = web.posted
    assert (url, headers[1:]) == ("http://h/checkv2", [("From", "<>")])


@given(st.text(max_size=400))
async def test_no_envelope_writes_a_field_of_its_own(hostile: str) -> None:
    web = Web(Answer(body=checked()))
    engine = RspamdScorer("http://h", web, size_limit=1000, deadline_seconds=1)
    mailbox = Mailbox(local_part=hostile, domain="example.com")
    envelope = Envelope(reverse_path=mailbox, recipients=(Recipient(mailbox=mailbox),) * 1000)
    await engine.scan(RAW, envelope, Client(ip="192.0.2.1", helo=hostile, name=hostile))
    ((_, headers, _, _),) = web.posted
    assert all(value.isprintable() for _, value in headers)
    # rspamd reads no more than 80 KiB as the head of a request.
    assert sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers) < 60_000
