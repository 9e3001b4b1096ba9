"""An inbound session with a book, an in-memory spool and a judge that says what the test wants."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from inbound.backend import InboundBackend
from inbound.event import Event
from inbound.ports import InboundSettings, Services
from inbound.session import InboundSession
from mail.address import parse_mailbox
from mail.client import Client, Tls
from mail.envelope import Envelope, Recipient
from mail.message import Message
from mail.receipt import Evidence, Receipt, decode_receipt
from mail.reply import Reply
from mail.values import changed
from mail.verdict import AuthResult, Verdicts
from rules.compiled import CompiledBook, Needs, compile_book
from rules.load import load_text
from spool.memory import MemorySpool
from spool.ports import HistoryQuery, HistoryRow, Job
from verdicts.auth_results import forged_spans
from verdicts.canonical import BodyHashes
from verdicts.judge import Judgement

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CLIENT = Client(ip="192.0.2.1", port=4711)
MESSAGE = b"From: a@b.example\r\nSubject: Hello\r\n\r\nText\r\n"


def verdicts(*, spf: str = "pass", dmarc: str = "pass") -> Verdicts:
    return Verdicts(
        spf=AuthResult(method="spf", result=spf),
        dkim=(),
        dmarc=AuthResult(method="dmarc", result=dmarc),
        arc=AuthResult(method="arc", result="none"),
        from_domain="b.example",
    )


def book(rules: str) -> CompiledBook:
    """A compiled book of one rule set; `rules` is YAML, domains example.com and sub.example.com."""
    loaded = load_text(rules.encode(), "rules.yaml", Path())
    assert loaded.book is not None, [str(finding) for finding in loaded.findings]
    return compile_book(loaded.book)


@dataclass
class Rig:
    compiled: CompiledBook
    spool: MemorySpool = field(default_factory=MemorySpool)
    judgement: Judgement = field(default_factory=lambda: Judgement(verdicts=verdicts(), evidence=Evidence()))
    settings: InboundSettings = field(default_factory=InboundSettings)
    name_of: Callable[[str], Awaitable[str | None]] | None = None
    lists: dict[str, Callable[[str], Awaitable[bool]]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    judged: list[tuple[Client, Needs]] = field(default_factory=list)

    def __post_init__(self) -> None:
        counter = itertools.count(1)
        self.services = Services(
            book=lambda: self.compiled,
            judge=self._judge,
            forged_spans=lambda header: forged_spans(header, "mx.example.com"),
            spool=self.spool,
            on_accept=lambda job, *_: self.jobs.append(job),
            on_event=self.events.append,
            clock=lambda: NOW,
            entropy=lambda octets: next(counter).to_bytes(octets, "big"),
            name_of=self.name_of,
            lists=self.lists,
            settings=replace(self.settings, hostname="mx.example.com"),
        )

    async def _judge(
        self,
        message: Message,
        envelope: Envelope,
        client: Client,
        *,
        received_at: datetime,
        needs: Needs,
        dnsbl: tuple[str, ...],
        bodies: BodyHashes | None = None,
        message_id: str = "",
    ) -> Judgement:
        assert received_at == NOW
        self.judged.append((client, needs))
        return self.judgement

    async def session(self, client: Client = CLIENT) -> InboundSession:
        session = InboundBackend(self.services)()
        assert await session.greet(client) is None
        assert await session.hello(changed(client, helo="client.example", protocol="ESMTP")) is None
        return session

    async def send(
        self, *recipients: str, raw: bytes = MESSAGE, reverse_path: str | None = "a@b.example", client: Client = CLIENT
    ) -> list[Reply]:
        """One transaction to its end; the replies to RCPT and to the message."""
        session = await self.session(client)
        path = parse_mailbox(reverse_path) if reverse_path is not None else None
        replies = [await session.mail(path, None, smtputf8=False)]
        accepted = []
        for text in recipients:
            mailbox = parse_mailbox(text)
            replies.append(await session.rcpt(mailbox))
            if replies[-1].is_positive:
                accepted.append(Recipient(mailbox=mailbox))
        if accepted:
            replies.append(await session.data(Envelope(reverse_path=path, recipients=tuple(accepted)), raw))
        else:
            await session.reset()
        await session.close()
        return replies[1:]

    async def history(self) -> list[HistoryRow]:
        """Oldest first."""
        return [row for row, _ in await self.spool.find(HistoryQuery())][::-1]

    async def receipt(self, message_id: str) -> Receipt:
        stored = await self.spool.message(message_id)
        return decode_receipt(stored.receipt, stored.header or b"", stored.answers)


def secure(client: Client = CLIENT) -> Client:
    return changed(client, tls=Tls(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384"))
