"""What every action promises, run against every action of the table (actions/protocol.py)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from actions.content_links import ContentLinks
from actions.function_host import FunctionHost, FunctionSettings
from actions.http_port import HttpReply
from actions.object_store import ObjectStore
from actions.onward import Onward
from actions.protocol import Action, Context
from actions.sns_envelope import Urls
from actions.table import ACTIONS, Ports, make_actions
from actions.topic_publishing import TopicPublishing
from actions.topics import topic_of
from mail.address import Mailbox, parse_mailbox
from mail.client import Client
from mail.delivery import DeliveryStatus
from mail.envelope import Envelope, Recipient
from mail.errors import GatepostError
from mail.ids import message_id
from mail.outcome import Outcome, Result
from mail.receipt import Receipt
from mail.verdict import AuthResult, Verdicts
from rules.model import ActionSpec
from rules.schema_actions import AVAILABLE
from rules.step import Step
from spool.subscriptions import open_subscriptions

NOW = datetime(2026, 1, 13, 21, 2, 45, tzinfo=UTC)
RAW = b"From: a@sender.example\r\nSubject: \xff\xfe\r\n\r\nbody \x80\r\n"
TOPIC = topic_of("inbound", {"subscribers": [{"url": "https://sub.example/in", "confirmed": True}]})
PARAMETERS: dict[str, dict[str, Any]] = {
    "add_header": {"header_name": "X-A", "header_value": "b"},
    "bounce": {"smtp_reply_code": "550", "message": "no"},
    "deliver": {"smtp": "mail.internal:25"},
    "disk": {"path": "mail", "object_key_prefix": "in/"},
    "drop": {},
    "forward": {"to": ["d@elsewhere.example"], "via": "mail.internal:25", "from": "keep"},
    "lambda": {"function_arn": "python:handlers:f", "invocation_type": "RequestResponse"},
    "quarantine": {"reason": "spam", "keep": 3600},
    "s3": {"bucket_name": "mail", "object_key_prefix": "in/"},
    "sns": {"topic_arn": "inbound"},
    "stop": {"scope": "RuleSet"},
    "webhook": {"url": "https://hooks.example/in", "secret": "s", "headers": {"X-Token": "t"}},
}


@dataclass
class World:
    """What the actions did, by the names that they gave it."""

    base: Path
    posted: list[tuple[str, bytes]] = field(default_factory=list)
    relayed: list[bytes] = field(default_factory=list)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> HttpReply:
        self.posted.append((headers.get("webhook-id") or headers["x-amz-sns-message-id"], body))
        return HttpReply(status=200)

    async def certificate_url(self) -> str:
        return "http://x.example/SimpleNotificationService-1.pem"

    async def sign(self, text: bytes, version: str) -> bytes:
        return hashlib.sha256(text).digest()

    async def put(self, bucket: str, key: str, body: bytes, metadata: Mapping[str, str], *, role: str = "") -> None:
        self.posted.append((f"{bucket}/{key}", body))

    async def get(self, bucket: str, key: str, *, role: str = "") -> tuple[bytes, dict[str, str]]:
        return next(body for name, body in self.posted if name == f"{bucket}/{key}"), {}

    async def send(self, mail_from: Mailbox | None, rcpt_to: Mailbox, raw: bytes) -> DeliveryStatus:
        self.relayed.append(raw)
        return DeliveryStatus(
            recipient=str(rcpt_to), action="relayed", status="2.0.0", diagnostic="smtp; 250 ok", attempted_at=NOW
        )

    async def send_all(
        self, mail_from: Mailbox | None, recipients: Sequence[Mailbox], raw: bytes
    ) -> tuple[DeliveryStatus, ...]:
        return tuple([await self.send(mail_from, each, raw) for each in recipients])

    def effects(self) -> Any:
        files = sorted((str(path), path.read_bytes()) for path in (self.base / "mail").rglob("*") if path.is_file())
        return files, sorted(set(self.posted)), sorted(set(self.relayed))


@pytest.fixture
async def world(tmp_path: Path) -> World:
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "handlers.py").write_text("def f(event, context): return {'disposition': 'STOP_RULE'}\n")
    return World(tmp_path)


@pytest.fixture
async def actions(world: World) -> AsyncIterator[dict[str, Action]]:
    functions = FunctionHost(FunctionSettings(path=(world.base / "functions",), processes=1))
    store = ObjectStore()
    ports = Ports(
        store=store,
        http=world,
        functions=functions,
        relay=world,
        buckets=world,
        hostname="mx.example.com",
        organizational_domain=lambda domain: domain,
        onward=Onward(relay=world, smtp=lambda host, port: world, lmtp=lambda place: world, hostname="mx.example.com"),
        topics=TopicPublishing(world, cache(lambda: open_subscriptions(None)), world, Urls(base="http://x.example")),
        links=ContentLinks(base="http://x.example", secret=lambda: b"secret"),
        base=world.base,
        scratch=world.base,
    )
    yield make_actions(ports)
    await functions.close()
    await store.close()


def attempt(kind: str, parameters: dict[str, Any], number: int = 1) -> Context:
    sender = parse_mailbox("a@sender.example")
    receipt = Receipt(
        message_id=message_id(NOW, 0, bytes(17)),
        received_at=NOW,
        client=Client(ip="192.0.2.9"),
        envelope=Envelope(reverse_path=sender, recipients=(Recipient(mailbox=parse_mailbox("support@example.com")),)),
        size=len(RAW),
        digest=hashlib.sha256(RAW).hexdigest(),
        verdicts=Verdicts(
            spf=AuthResult(method="spf", result="pass", properties={"smtp.mailfrom": str(sender)}),
            dkim=(),
            dmarc=AuthResult(method="dmarc", result="none"),
            arc=AuthResult(method="arc", result="none"),
        ),
        header=RAW[: RAW.index(b"\r\n\r\n") + 4],
    )
    step = Step(
        message_id=receipt.message_id,
        evaluation=0,
        rule="a",
        index=0,
        position=0,
        spec=ActionSpec(type=kind, parameters=parameters),
        recipients=receipt.envelope.mailboxes,
    )
    return Context(
        step=step,
        receipt=receipt,
        raw=RAW,
        prepended=b"X-Ours: 1\r\n",
        parameters=parameters,
        now=NOW,
        attempt=number,
        topic=TOPIC,
    )


def test_every_action_that_rules_may_name_runs_here() -> None:
    assert sorted(ACTIONS) == sorted(AVAILABLE) == sorted(PARAMETERS)
    assert all(kind.description.endswith(".") for kind in ACTIONS.values())


@pytest.mark.parametrize("kind", sorted(ACTIONS))
async def test_action_answers_an_outcome_and_changes_nothing_it_was_given(
    actions: dict[str, Action], kind: str
) -> None:
    parameters = deepcopy(PARAMETERS[kind])
    context = attempt(kind, parameters)
    outcome = await actions[kind].run(context)
    assert isinstance(outcome, Outcome)
    assert outcome.result is Result.DONE
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in outcome.data.items())
    assert parameters == PARAMETERS[kind]
    assert context.raw == RAW


@pytest.mark.parametrize("kind", sorted(ACTIONS))
async def test_repeated_attempt_has_the_same_effect_under_the_same_name(
    actions: dict[str, Action], world: World, kind: str
) -> None:
    await actions[kind].run(attempt(kind, dict(PARAMETERS[kind])))
    once = await asyncio.to_thread(world.effects)
    await actions[kind].run(attempt(kind, dict(PARAMETERS[kind]), 2))
    assert await asyncio.to_thread(world.effects) == once


@pytest.mark.parametrize("kind", sorted(ACTIONS))
@pytest.mark.parametrize("parameters", [{}, {"url": "http://[", "path": 7, "function_arn": None}])
def test_destination_never_raises(kind: str, parameters: dict[str, Any]) -> None:
    made = ACTIONS[kind].make
    ports = Ports(
        store=None,  # type: ignore[arg-type]
        http=None,  # type: ignore[arg-type]
        functions=None,  # type: ignore[arg-type]
        topics=None,  # type: ignore[arg-type]
        links=None,  # type: ignore[arg-type]
        relay=None,
        hostname="h",
        organizational_domain=str,
        onward=None,  # type: ignore[arg-type]
    )
    assert isinstance(made(ports).destination(parameters), str)


@pytest.mark.parametrize("kind", ["disk", "webhook", "lambda"])
async def test_configuration_that_cannot_work_is_of_the_family_and_no_crash(
    actions: dict[str, Action], kind: str
) -> None:
    bad = {
        "disk": {"path": "mail", "object_key_prefix": "../../etc"},
        "webhook": {"url": "https://h.example/", "secret": "whsec_?"},
        "lambda": {"function_arn": "python:nowhere"},
    }
    with pytest.raises(GatepostError):
        await actions[kind].run(attempt(kind, bad[kind]))
