"""Values for the tests of actions: receipts, steps, contexts, books, and an action that answers as told."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from actions.protocol import Action, Context
from actions.runner import Runner, Tuning
from mail.address import Mailbox, parse_mailbox
from mail.client import Client
from mail.envelope import Envelope, Recipient
from mail.headers import header_field, parse_header
from mail.ids import message_id
from mail.outcome import DONE, Outcome, Result
from mail.receipt import Receipt, encode_receipt
from mail.values import changed
from mail.verdict import AuthResult, Verdicts
from rules.compiled import CompiledBook, compile_book
from rules.model import ActionSpec, Rule, RuleBook, RuleSet
from rules.step import Step
from spool.memory import MemorySpool
from spool.ports import (
    Accepted,
    HistoryRow,
    Job,
    JobKind,
    JobQuery,
    JobState,
    LedgerRow,
    MessageState,
    NewJob,
    Spool,
)

NOW = datetime(2026, 1, 13, 21, 2, 45, 441000, tzinfo=UTC)
ID = message_id(NOW, 0, b"0123456789abcdefg")
RAW = (
    b"From: Alice <alice@sender.example>\r\n"
    b"To: support@example.com\r\n"
    b"Subject: Hello\r\n"
    b"Message-ID: <1@sender.example>\r\n"
    b"\r\n"
    b"Good day.\r\n"
)
RECIPIENT = parse_mailbox("support@example.com")


def verdicts(
    *,
    spf: str = "pass",
    mail_from: str = "alice@sender.example",
    dmarc: str = "pass",
    from_domain: str | None = "sender.example",
) -> Verdicts:
    return Verdicts(
        spf=AuthResult(method="spf", result=spf, properties={"smtp.mailfrom": mail_from}),
        dkim=(),
        dmarc=AuthResult(method="dmarc", result=dmarc),
        arc=AuthResult(method="arc", result="none"),
        from_domain=from_domain,
    )


def receipt_of(
    raw: bytes = RAW,
    *,
    identifier: str = ID,
    reverse_path: str | None = "alice@sender.example",
    recipients: Sequence[Mailbox] = (RECIPIENT,),
    judged: Verdicts | None = None,
    cut: tuple[tuple[int, int], ...] = (),
    rule_set: str = "",
) -> Receipt:
    sender = None if reverse_path is None else parse_mailbox(reverse_path)
    return Receipt(
        message_id=identifier,
        received_at=NOW,
        client=Client(ip="192.0.2.9", helo="mx.sender.example"),
        envelope=Envelope(reverse_path=sender, recipients=tuple(Recipient(mailbox=mailbox) for mailbox in recipients)),
        size=len(raw),
        digest=hashlib.sha256(raw).hexdigest(),
        verdicts=judged or verdicts(),
        header=raw[: parse_header(raw).body_start],
        cut=cut,
        rule_set=rule_set,
    )


def context_of(
    kind: str,
    parameters: Mapping[str, Any],
    *,
    raw: bytes = RAW,
    receipt: Receipt | None = None,
    prepended: bytes = b"X-Ours: yes\r\n",
    **rest: Any,
) -> Context:
    received = receipt or receipt_of(raw)
    step = Step(
        message_id=received.message_id,
        evaluation=0,
        rule="support",
        index=0,
        position=0,
        spec=ActionSpec(type=kind, parameters=dict(parameters)),
        recipients=received.envelope.mailboxes,
    )
    return Context(
        step=step,
        receipt=received,
        raw=raw,
        prepended=prepended,
        parameters=dict(parameters),
        now=NOW + timedelta(milliseconds=1432),
        **rest,
    )


def disk(path: str = "x", **rest: Any) -> ActionSpec:
    return ActionSpec(type="disk", parameters={"path": path, **rest})


def webhook(url: str = "https://hooks.example/in", **rest: Any) -> ActionSpec:
    return ActionSpec(type="webhook", parameters={"url": url, **rest})


def function(invocation_type: str = "Event", **rest: Any) -> ActionSpec:
    return ActionSpec(
        type="lambda", parameters={"function_arn": "python:m:f", "invocation_type": invocation_type, **rest}
    )


def add_header(name: str, value: str) -> ActionSpec:
    return ActionSpec(type="add_header", parameters={"header_name": name, "header_value": value})


STOP = ActionSpec(type="stop", parameters={"scope": "RuleSet"})
BOUNCE = ActionSpec(type="bounce", parameters={"smtp_reply_code": "550", "message": "no"})


def rule(name: str, *actions: ActionSpec, **rest: Any) -> Rule:
    return Rule(name=name, actions=actions, **rest)


def book_of(*rules: Rule, **rest: Any) -> CompiledBook:
    return compile_book(RuleBook(active="default", rule_sets=(RuleSet(name="default", rules=rules),), **rest))


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


class Told:
    """An action that answers what it is told, in order, the last answer for ever; it notes its contexts."""

    def __init__(self, *answers: Outcome | BaseException | Callable[[Context], Any], destination: str = "") -> None:
        self._answers = list(answers) or [DONE]
        self._destination = destination
        self.seen: list[Context] = []

    def destination(self, parameters: Mapping[str, Any]) -> str:
        return self._destination

    async def run(self, context: Context) -> Outcome:
        self.seen.append(context)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if callable(answer):
            answer = await answer(context)
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Outcome)
        return answer

    @property
    def keys(self) -> list[str]:
        return [context.step.key for context in self.seen]


def failed(detail: str = "HTTP 500", **rest: Any) -> Outcome:
    return Outcome(result=Result.FAILED, detail=detail, **rest)


def dead(detail: str = "HTTP 410") -> Outcome:
    return Outcome(result=Result.DEAD, detail=detail)


def added_fields(receipt: Receipt, step: Step) -> bytes:
    return b"".join(header_field(name, value) for name, value in step.added)


@dataclass
class House:
    """A runner over a spool that outlives it, with a clock that only tests move."""

    book: CompiledBook
    actions: dict[str, Action]
    open: Callable[[], Spool] = MemorySpool
    clock: Clock = field(default_factory=Clock)
    tuning: Tuning = field(default_factory=lambda: Tuning(chance=lambda: 0.5, patience_seconds=5.0))
    environment: dict[str, str] = field(default_factory=dict)
    spool: Spool = field(init=False)
    runner: Runner = field(init=False)
    running: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.spool = self.open()

    def start(self) -> House:
        self.runner = Runner(
            self.spool,
            books=lambda digest: self.book,
            actions=self.actions,
            prepend=added_fields,
            clock=self.clock,
            environment=self.environment,
            tuning=self.tuning,
        )
        self.running = asyncio.create_task(self.runner.run())
        return self

    async def accept(
        self,
        raw: bytes = RAW,
        *,
        identifier: str = ID,
        state: MessageState = MessageState.ACTIVE,
        recipients: Sequence[Mailbox] = (RECIPIENT,),
    ) -> Job:
        received = receipt_of(raw, identifier=identifier, recipients=recipients, rule_set=self.book.digest)
        history = HistoryRow(
            id=identifier,
            session="s",
            at=NOW,
            client_ip="192.0.2.9",
            helo="mx.sender.example",
            mail_from="alice@sender.example",
            rcpt_to=("support@example.com",),
            phase="accepted",
            outcome="accepted",
        )
        unit = Accepted(
            message_id=identifier,
            received_at=NOW,
            receipt=encode_receipt(received),
            header_octets=len(received.header),
            raw=raw,
            answers={},
            rule_book=self.book.digest,
            history=history,
            job=NewJob(kind=JobKind.WALK, message_id=identifier, key=f"{identifier}/0", not_before=NOW),
            state=state,
        )
        job = await self.spool.accept(unit)
        assert job is not None
        return job

    async def deliver(self, raw: bytes = RAW, **rest: Any) -> None:
        """Accept a message and let everything happen that is due now."""
        self.runner.take(await self.accept(raw, **rest))
        await self.runner.idle()

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += timedelta(seconds=seconds)
        self.runner.wake()
        await self.runner.idle()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        await self.runner.drain(grace_seconds)
        if self.running is not None:
            await self.running

    async def ledger(self) -> list[LedgerRow]:
        return await self.spool.ledger(ID)

    async def results(self) -> list[str]:
        return [row.result.value for row in await self.ledger()]

    async def jobs(self) -> list[Job]:
        return await self.spool.jobs(JobQuery(message_id=ID))

    async def state(self) -> MessageState:
        return (await self.spool.message(ID)).state


Make = Callable[..., House]


def quick(**rest: Any) -> Tuning:
    return Tuning(chance=lambda: 0.5, patience_seconds=0.01, **rest)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until it holds; the test's timeout is the limit."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def reopen(house: House) -> None:
    """What the next start finds: the same spool with every lease void."""
    if isinstance(house.spool, MemorySpool):
        for number, job in house.spool._jobs.items():
            if job.state is JobState.LEASED:
                house.spool._jobs[number] = changed(job, state=JobState.READY)
    else:
        await house.spool.close()
        house.spool = house.open()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler, *, limit: int = 65_536) -> AsyncIterator[int]:
    """A server on loopback; its port. Every connection is over when the block is left."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=limit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
