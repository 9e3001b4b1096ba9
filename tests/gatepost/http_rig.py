"""Our HTTP listener over a spool in memory, and the parts behind it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from acting import Clock, House, added_fields, book_of
from sns_world import Fixed
from yarl import URL

from actions.content_links import ContentLinks
from actions.sns_envelope import Urls
from actions.topic_publishing import TopicPublishing
from actions.topics import Topic
from gatepost.http_content import ContentServer
from gatepost.http_server import HttpServer
from gatepost.http_topics import TopicApi
from gatepost.publishing import make_due
from gatepost.sns_signer import SnsSigner
from mail.ids import shard_of
from spool.subscriptions import Subscriptions, open_subscriptions


@dataclass
class Rig:
    base: str
    clock: Clock
    http: Fixed
    subscriptions: Subscriptions
    publishing: TopicPublishing
    links: ContentLinks
    signer: SnsSigner
    house: House
    topics: list[Topic] = field(default_factory=list)

    async def get(self, path: str, **rest: Any) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, and body."""
        return await self.ask("GET", path, **rest)

    async def ask(self, method: str, path: str, **rest: Any) -> tuple[int, dict[str, str], bytes]:
        url = path if path.startswith("http") else f"{self.base}{path}"
        # As it is written: yarl would take "/../" out of it before it is sent.
        written = URL(url, encoded=True)
        async with aiohttp.ClientSession() as session, session.request(method, written, **rest) as reply:
            headers = {name.lower(): value for name, value in reply.headers.items()}
            return reply.status, headers, await reply.read()


@asynccontextmanager
async def serving(directory: Path, *rules: Any, **actions: Any) -> AsyncIterator[Rig]:
    bound = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{bound.getsockname()[1]}"
    clock, http, subscriptions = Clock(), Fixed(), open_subscriptions(None)
    signer = SnsSigner(directory, base, "mx.example.com", clock)
    publishing = TopicPublishing(http, lambda: subscriptions, signer, Urls(base=base))
    links = ContentLinks(base=base, secret=lambda: b"secret", lifetime_seconds=3600)
    house = House(book_of(*rules), actions).start()
    rig = Rig(base, clock, http, subscriptions, publishing, links, signer, house)
    topics = TopicApi(
        lambda: subscriptions,
        topics=lambda: rig.topics,
        ask=publishing.ask,
        say_farewell=publishing.say_farewell,
        on_confirmed=lambda arn: make_due(house.spool, rig.topics, arn, clock()),
        clock=clock,
    )
    content = ContentServer(
        links,
        spool_of=lambda identifier: house.spool if shard_of(identifier) == 0 else None,
        books=lambda digest: house.book,
        prepend=added_fields,
        clock=clock,
    )
    server = HttpServer(signer, topics, content)
    await server.start([bound])
    try:
        yield rig
    finally:
        await server.close()
        await house.stop()
        await house.spool.close()
        subscriptions.close()
