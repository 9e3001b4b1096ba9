"""The public HTTP server of the first worker, made of its parts; what it shows and changes may be any worker's."""

from collections.abc import Awaitable, Callable
from typing import Any

from actions.protocol import Prepend
from gatepost import wire
from gatepost.http_content import ContentServer
from gatepost.http_server import HttpServer
from gatepost.http_topics import TopicApi
from gatepost.library import Library
from gatepost.publishing import Publishing, topics_of
from gatepost.settings import Settings
from spool.reader import open_reader

Everyone = Callable[[dict[str, Any]], Awaitable[Any]]
"""Has every worker, the asking one too, do what a request to a worker says (`gatepost.worker`); returns their answers."""


def http_server_of(
    publishing: Publishing, library: Library, settings: Settings, prepend: Prepend, everyone: Everyone
) -> HttpServer:
    """It shows messages of every shard, whoever holds it."""
    reader = open_reader(settings.data)

    async def on_confirmed(topic_arn: str) -> None:
        await everyone({"operation": "confirmed", "topic": topic_arn})

    topics = TopicApi(
        publishing.subscriptions,
        topics=lambda: topics_of(library.active().book),
        ask=publishing.topics.ask,
        say_farewell=publishing.topics.say_farewell,
        on_confirmed=on_confirmed,
        clock=wire.now,
    )
    content = ContentServer(
        publishing.links,
        spool_of=lambda _: reader,
        books=library.by_digest,
        prepend=prepend,
        clock=wire.now,
    )
    return HttpServer(publishing.signer, topics, content)
