"""The running gateway: every part, opened in the order in which it is needed and closed in reverse.

semantics.md §6 has worker processes with a shard each; this is the one that there is: it holds shard 0, listens itself and answers
commands on the control socket.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from actions.loading import Fresh
from actions.protocol import Prepend
from actions.runner import Runner, Tuning
from actions.table import make_actions
from gatepost import wire
from gatepost.control import SOCKET, apply
from gatepost.edge import RATES, gate_of
from gatepost.http_content import ContentServer
from gatepost.http_server import HttpServer
from gatepost.http_topics import TopicApi
from gatepost.library import Library
from gatepost.publishing import Publishing, keep_asking, make_due, topics_of
from gatepost.scanners import scanners_of
from gatepost.settings import Settings
from gatepost.setup_notifications import keep_announcing
from inbound.backend import InboundBackend
from inbound.counting import counting
from inbound.event import Event
from inbound.ports import Judge, Services
from inbound.rate_table import create_rate_table
from inbound.sampling import Sampler
from mail.counters import Counters
from mail.entropy import entropy
from mail.ids import shard_of
from mail.receipt import Receipt
from rules.compiled import CompiledBook
from smtp.listener import Listener, listen
from spool.control import serve_control
from spool.database import open_spool
from spool.ports import Accepted, Job, Retention, Spool
from spool.reader import open_reader
from verdicts.auth_results import forged_spans
from verdicts.ports import Resolver

log = logging.getLogger("gatepost")
_SHARD = 0
_SWEEP_SECONDS = 60.0
_QUEUED_UNITS = 256  # semantics.md §6: more than these in the writer's queue pause reading
_WRITER_WAIT_SECONDS = 0.02  # semantics.md §6: the runner claims nothing while an accept waits longer than this


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What `serve` watches over: `runner` and `broken` end with an exception if the spool broke."""

    listener: Listener
    runner: "asyncio.Task[None]"
    broken: "asyncio.Future[None]"
    http_addresses: tuple[str, ...] = ()


@contextlib.asynccontextmanager
async def opened(
    settings: Settings,
    library: Library,
    sockets: list[socket.socket],
    on_event: Callable[[Event], None],
    http_sockets: Sequence[socket.socket] = (),
) -> AsyncIterator[Gateway]:
    """The whole gateway on these listening sockets; leaving it drains sessions and steps, then closes the spool."""
    counters = Counters()
    async with contextlib.AsyncExitStack() as stack:
        broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        spool = open_spool(
            settings.data,
            _SHARD,
            on_broken=broken.set_exception,
            commit_seconds=counters.histogram("spool_commit_seconds"),
        )
        stack.push_async_callback(spool.close)
        http_addresses = tuple(map(shown_address, http_sockets))
        effects = wire.effects_of(settings, wire.now, http_addresses=http_addresses)
        stack.push_async_callback(effects.close)
        runner = Runner(
            spool,
            books=library.by_digest,
            actions=make_actions(effects.ports),
            prepend=wire.prepend_of(settings),
            clock=wire.now,
            environment=os.environ,
            tuning=Tuning(held=lambda: spool.load().oldest_wait_seconds > _WRITER_WAIT_SECONDS),
            counters=counters,
        )
        if http_sockets:
            server = _http_server(effects.publishing, library, spool, wire.prepend_of(settings), runner.wake)
            stack.push_async_callback(server.close)
            await server.start(http_sockets)
        asking = asyncio.create_task(keep_asking(effects.publishing, lambda: library.active().book, wire.now))
        stack.callback(asking.cancel)
        running = asyncio.create_task(runner.run())
        stack.push_async_callback(runner.drain)
        if settings.s3_setup_notification:
            active, buckets = lambda: library.active().book, effects.storage.buckets
            announcing = asyncio.create_task(keep_announcing(active, buckets, wire.now))
            stack.callback(announcing.cancel)
        sweeping = asyncio.create_task(_sweep(spool, library, settings))
        stack.callback(sweeping.cancel)
        scanners = scanners_of(settings)
        stack.push_async_callback(scanners.close)
        resolver = wire.resolver_of(settings, counters)
        judge = wire.judge_of(settings, resolver, scanners)
        services = _services(settings, resolver, judge, library, spool, runner, on_event, counters)
        control = await serve_control(settings.data / SOCKET, _operator(spool, library, runner))
        stack.callback(control.close)
        listener = await _listening(settings, sockets, services, spool)
        stack.push_async_callback(listener.drain)
        yield Gateway(listener=listener, runner=running, broken=broken, http_addresses=http_addresses)


async def _listening(
    settings: Settings, sockets: Sequence[socket.socket], services: Services, spool: Spool
) -> Listener:
    """Mail is taken on these sockets, which stand in the order of `wire.addresses_of`, within the limits of the settings."""
    counts = create_rate_table(settings.data / RATES, workers=1).column(0)
    gate = gate_of(settings, counts, wire.hostname_of(settings))
    services = replace(services, gate=gate, sampler=Sampler(settings.smtp_limit_rows))
    plain = len(settings.listen)
    return await listen(
        sockets[:plain],
        InboundBackend(services),
        wire.smtp_config_of(settings, wire.tls_of(settings)),
        tls_where=sockets[plain:],
        is_strained=lambda: spool.load().queued_units > _QUEUED_UNITS,
        census=counts,
        counters=services.counters,
    )


def shown_address(bound: socket.socket) -> str:
    """`127.0.0.1:2580` or `[::1]:2580`."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _http_server(
    publishing: Publishing, library: Library, spool: Spool, prepend: Prepend, wake: Callable[[], None]
) -> HttpServer:
    async def on_confirmed(topic_arn: str) -> None:
        await make_due(spool, topics_of(library.active().book), topic_arn, wire.now())
        wake()

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
        spool_of=lambda message_id: spool if shard_of(message_id) == _SHARD else None,
        books=library.by_digest,
        prepend=prepend,
        clock=wire.now,
    )
    return HttpServer(publishing.signer, topics, content)


def _operator(spool: Spool, library: Library, runner: Runner) -> Callable[[dict[str, Any]], Awaitable[Any]]:
    """What a command's request on the control socket does."""

    async def handle(request: dict[str, Any]) -> Any:
        library.refresh()
        if request == {"operation": "rules"}:
            return library.active().digest
        answer = await apply({_SHARD: spool}, request, now=wire.now(), active=lambda: library.active().digest)
        runner.wake()
        return answer

    return handle


def _handing_to(runner: Runner) -> Callable[[Job, Accepted, Receipt, CompiledBook], None]:
    """An accepted message goes to the runner as it is in memory, which spares reading it back from the spool."""

    def hand_over(job: Job, unit: Accepted, receipt: Receipt, book: CompiledBook) -> None:
        runner.take(job, Fresh(state=unit.state, receipt=receipt, raw=unit.raw, book=book))

    return hand_over


def _services(
    settings: Settings,
    resolver: Resolver,
    judge: Judge,
    library: Library,
    spool: Spool,
    runner: Runner,
    on_event: Callable[[Event], None],
    counters: Counters,
) -> Services:
    return Services(
        book=library.active,
        judge=judge,
        forged_spans=partial(forged_spans, authserv_id=settings.verdicts_authserv_id),
        spool=spool,
        on_accept=_handing_to(runner),
        clock=wire.now,
        entropy=entropy(secrets.token_bytes),
        on_event=counting(counters, on_event),
        name_of=wire.name_of(resolver),
        lists=wire.dns_lists_of(settings, resolver),
        settings=wire.inbound_settings_of(settings),
        counters=counters,
    )


async def _sweep(spool: Spool, library: Library, settings: Settings) -> None:
    """Let retention take what it may, once a minute."""
    retention = Retention(
        metadata_seconds=settings.retention_metadata,
        headers_seconds=settings.retention_headers,
        full_seconds=settings.retention_full,
        cap_octets=settings.retention_cap,
    )
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        swept = await spool.sweep(wire.now(), retention)
        if swept.messages:
            library.forget(await open_reader(settings.data).rule_books())
        if swept.messages or swept.bodies or swept.headers:
            log.info(
                "retention: %d messages, %d headers and %d bodies removed", swept.messages, swept.headers, swept.bodies
            )
