"""Subscribers, keys and topics for the tests of sns: real HTTP receivers on loopback, and SNS's own way to verify what they get."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from acting import NOW, Clock
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from actions.content_links import ContentLinks
from actions.http_port import HttpReply
from actions.sns_envelope import Urls
from actions.topic_publishing import TopicPublishing
from actions.topics import Topic, topic_of
from gatepost.http_client import AiohttpClient
from gatepost.sns_signer import SnsSigner
from mail.errors import GatepostError
from spool.subscriptions import Subscriptions, open_subscriptions

BASE = "http://mx.example.com"
ARN = "arn:aws:sns:eu-west-1:123456789012:inbound"
LINKS = ContentLinks(base=BASE, secret=lambda: b"secret of the tests")


@dataclass
class Got:
    """One request as a subscriber saw it."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.json["Message"])
        return found

    @property
    def kind(self) -> str:
        return self.headers["x-amz-sns-message-type"]


@dataclass
class Subscriber:
    """A receiver on loopback; `answer` gives the status for a request."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answer: Callable[[Got], Awaitable[int]] | None = None

    def kinds(self) -> list[str]:
        return [each.kind for each in self.got]


@asynccontextmanager
async def receiving(answer: Callable[[Got], Awaitable[int]] | None = None) -> AsyncIterator[Subscriber]:
    subscriber = Subscriber(answer=answer)

    async def handle(request: web.Request) -> web.Response:
        got = Got(
            dict(request.headers.items()) | {k.lower(): v for k, v in request.headers.items()}, await request.read()
        )
        subscriber.got.append(got)
        return web.Response(status=200 if subscriber.answer is None else await subscriber.answer(got))

    application = web.Application(client_max_size=1 << 24)
    application.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    subscriber.url = f"http://127.0.0.1:{runner.addresses[0][1]}/in"
    try:
        yield subscriber
    finally:
        await runner.cleanup()


class Fixed:
    """An HTTP client that answers as told for each URL, and keeps what it was to send."""

    def __init__(self, **answers: HttpReply | GatepostError) -> None:
        self.answers = answers
        self.sent: list[tuple[str, Mapping[str, str], bytes]] = []

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> HttpReply:
        self.sent.append((url, headers, body))
        answer = self.answers.get(url.rpartition("/")[2], HttpReply(status=200))
        if isinstance(answer, GatepostError):
            raise answer
        return answer

    def to(self, name: str, kind: str = "Notification") -> list[tuple[str, Mapping[str, str], bytes]]:
        return [one for one in self.sent if one[0].endswith(f"/{name}") and one[1]["x-amz-sns-message-type"] == kind]


@dataclass
class Topics:
    """Publishing over a key that is made once for all tests, and subscriptions in memory."""

    publishing: TopicPublishing
    subscriptions: Subscriptions
    signer: SnsSigner


def topics_over(http: Any, directory: Path, **rest: Any) -> Topics:
    subscriptions = open_subscriptions(None)
    signer = SnsSigner(directory, BASE, "mx.example.com", Clock())
    publishing = TopicPublishing(http, lambda: subscriptions, signer, Urls(base=BASE), **rest)
    return Topics(publishing, subscriptions, signer)


def topic(*subscribers: str | dict[str, Any], **rest: Any) -> Topic:
    """A topic whose subscribers, by URL alone, are confirmed."""
    named = [{"url": each, "confirmed": True} if isinstance(each, str) else each for each in subscribers]
    return topic_of("inbound", {"arn": ARN, "subscribers": named, **rest})


def client() -> AiohttpClient:
    return AiohttpClient()


@cache
def _signed_names(kind: str) -> tuple[str, ...]:
    """The names that AWS's page on verifying signatures lists, in its order."""
    if kind == "Notification":
        return ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    return ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


def verify(message: Mapping[str, str], certificate: bytes) -> None:
    """Raises `InvalidSignature` unless the certificate's key signed this message, as AWS's SDKs check it."""
    text = "".join(f"{name}\n{message[name]}\n" for name in _signed_names(message["Type"]) if name in message)
    key = x509.load_pem_x509_certificate(certificate).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    chosen = {"1": hashes.SHA1(), "2": hashes.SHA256()}[message["SignatureVersion"]]
    key.verify(base64.b64decode(message["Signature"], validate=True), text.encode(), padding.PKCS1v15(), chosen)


__all__ = ["NOW"]
