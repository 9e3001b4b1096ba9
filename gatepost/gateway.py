"""What a worker opens: every part, in the order in which it is needed, and closed in reverse (semantics.md §6).

It takes mail in its own shard, runs the jobs of every shard that it was dealt, and does what an operator asks of those. What only
one of all workers may do, the first does.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from actions.loading import Fresh
from actions.protocol import Prepend
from actions.runner import Runner, Tuning
from actions.table import Ports, make_actions
from gatepost import wire
from gatepost.control import apply
from gatepost.edge import RATES
from gatepost.health import pages_of
from gatepost.http_parts import Everyone, http_server_of
from gatepost.http_server import HttpServer, WatchServer
from gatepost.intake import Intake, OnAccept
from gatepost.library import Library
from gatepost.listening import Doors
from gatepost.observer import Observer
from gatepost.publishing import keep_asking, keep_noticing, make_due, topics_of
from gatepost.settings import Settings
from gatepost.setup_notifications import keep_announcing
from gatepost.shards import Share
from gatepost.survey import Surveyor
from gatepost.tracing import Traces
from inbound.event import Event
from inbound.rate_table import RateColumn, RateTable
from mail.counters import Counters
from rules.machine import Evaluation
from smtp.listener import Listener, listen
from spool.database import open_spool
from spool.ports import Accepted, Job, Retention, Spool
from spool.reader import open_reader

log = logging.getLogger("gatepost")
_SWEEP_SECONDS = 60.0
_LOCK_SECONDS = 8.0  # for the workers of a parent that died a moment ago to be gone
_QUEUED_UNITS = 256  # semantics.md §6: more than these in the writer's queue pause reading
_SWEPT = ("messages", "headers", "bodies")
_WRITER_WAIT_SECONDS = 0.02  # semantics.md §6: the runner claims nothing while an accept waits longer than this


@dataclass(slots=True, kw_only=True)
class Gateway:
    """A worker's parts at work; `opened` makes it. `ended` is done, with an exception, if a shard broke."""

    settings: Settings
    library: Library
    share: Share
    spools: Mapping[int, Spool]
    runners: Mapping[int, Runner]
    intake: Intake
    http: HttpServer
    listener: Listener
    traces: Traces
    counters: Counters
    started_at: datetime
    ended: "asyncio.Future[None]"

    async def operate(self, request: dict[str, Any]) -> Any:
        """Do what a command asks of our shards (`gatepost.control`)."""
        await self.library.follow()
        answer = await apply(self.spools, request, now=wire.now(), active=lambda: self.library.active().digest)
        for runner in self.runners.values():
            runner.wake()
        return answer

    async def observe(self) -> list[dict[str, Any]]:
        """Our part of what the request `OBSERVE` is answered."""
        observer = Observer(
            worker=self.share.worker,
            started_at=self.started_at,
            counters=self.counters,
            settings=lambda: self.settings,
            library=self.library,
            spools=tuple(self.spools.values()),
            listener=self.listener,
            resolver=self.intake.resolver,
            waiting_steps=lambda: sum(runner.backlog for runner in self.runners.values()),
            is_broken=self.ended.done,
        )
        return [(await observer.observe()).as_json()]

    async def confirmed(self, topic_arn: str) -> None:
        """Let what waits for a subscriber of this topic be tried now."""
        topics = topics_of(self.library.active().book)
        for shard, spool in self.spools.items():
            await make_due(spool, topics, topic_arn, wire.now())
            self.runners[shard].wake()

    def use(self, settings: Settings) -> None:
        """Go on under these settings; connections stay. Raises what `Intake` raises, and then all is as it was."""
        self.intake.use(settings, self.listener)
        self.settings = settings

    async def serve_http(self, sockets: Sequence[socket.socket]) -> None:
        """Answer on these listening sockets too."""
        await self.http.start(sockets)


@contextlib.asynccontextmanager
async def opened(
    settings: Settings,
    library: Library,
    share: Share,
    doors: Doors,
    on_event: Callable[[Event], None],
    *,
    http_addresses: Sequence[str] = (),
    everyone: Everyone,
) -> AsyncIterator[Gateway]:
    """The whole of a worker at these doors; leaving it drains sessions and steps, then closes the spools.

    `http_addresses` are those of the one HTTP listener, whoever serves it. `everyone` has every worker, us too, do what a request
    to a worker says (`gatepost.worker`).
    """
    counters = Counters()
    async with contextlib.AsyncExitStack() as stack:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        spools: dict[int, Spool] = {}
        for shard in share.shards:
            spools[shard] = _spool(settings, shard, counters, ended)
            stack.push_async_callback(spools[shard].close)
        effects = wire.effects_of(settings, wire.now, http_addresses=http_addresses)
        stack.push_async_callback(effects.close)
        spool = spools[share.shards[0]]
        runners: dict[int, Runner] = {}
        on_accept = _handing_to(runners, spool.shard)
        counts = RateTable(settings.data / RATES, workers=share.workers).column(share.worker)
        intake = Intake(
            settings, library, spool, on_accept=on_accept, on_event=on_event, counters=counters, counts=counts
        )
        stack.push_async_callback(intake.close)
        runners |= _runners(spools, library, effects.ports, intake.prepend, counters)
        http = http_server_of(effects.publishing, library, settings, intake.prepend, everyone)
        stack.push_async_callback(http.close)
        if doors.http:
            await http.start(doors.http)
        for runner in runners.values():
            _run(runner, ended)
        stack.push_async_callback(_drain, runners.values())
        listener = await _listener(doors, intake, spool, counts, counters)
        gateway = Gateway(
            settings=settings,
            library=library,
            share=share,
            spools=spools,
            runners=runners,
            intake=intake,
            http=http,
            listener=listener,
            traces=Traces(listener, str(share.worker)),
            counters=counters,
            started_at=wire.now(),
            ended=ended,
        )
        watch = WatchServer(pages_of(Surveyor(settings.data, clock=wire.now)))
        stack.push_async_callback(watch.close)
        if doors.watch:
            await watch.start(doors.watch)
        for task in _beside(gateway, effects):
            stack.callback(asyncio.create_task(task).cancel)
        stack.push_async_callback(listener.drain)
        yield gateway


def _spool(settings: Settings, shard: int, counters: Counters, ended: "asyncio.Future[None]") -> Spool:
    return open_spool(
        settings.data,
        shard,
        wait_seconds=_LOCK_SECONDS,
        on_broken=lambda error: _end(ended, error),
        commit_seconds=counters.histogram("spool_commit_seconds"),
    )


async def _listener(doors: Doors, intake: Intake, spool: Spool, counts: RateColumn, counters: Counters) -> Listener:
    return await listen(
        doors.smtp,
        intake.backend,
        intake.config,
        tls_where=doors.tls,
        is_strained=lambda: spool.load().queued_units > _QUEUED_UNITS,
        census=counts,
        counters=counters,
    )


def _run(runner: Runner, ended: "asyncio.Future[None]") -> None:
    running = asyncio.create_task(runner.run())
    running.add_done_callback(lambda task: _end(ended, None if task.cancelled() else task.exception()))


def _end(ended: "asyncio.Future[None]", error: BaseException | None) -> None:
    """The first failure counts; one shard's ends the worker."""
    if error is not None and not ended.done():
        ended.set_exception(error)


def _runners(
    spools: Mapping[int, Spool], library: Library, ports: Ports, prepend: Prepend, counters: Counters
) -> dict[int, Runner]:
    """One for each shard."""
    actions = make_actions(ports)
    return {
        shard: Runner(
            spool,
            books=library.by_digest,
            actions=actions,
            prepend=prepend,
            clock=wire.now,
            environment=os.environ,
            tuning=Tuning(held=partial(_is_held, spool)),
            counters=counters,
        )
        for shard, spool in spools.items()
    }


async def _drain(runners: Collection[Runner]) -> None:
    await asyncio.gather(*(runner.drain() for runner in runners))


def _is_held(spool: Spool) -> bool:
    return spool.load().oldest_wait_seconds > _WRITER_WAIT_SECONDS


def _beside(gateway: Gateway, effects: wire.Effects) -> Iterator[Coroutine[Any, Any, None]]:
    """What runs beside the mail until the end."""
    settings, library, share = gateway.settings, gateway.library, gateway.share
    yield _sweep(gateway, forgets=share.is_first)
    yield keep_noticing(effects.publishing, lambda: library.active().book, gateway.confirmed, wire.now)
    if share.is_first:
        yield keep_asking(effects.publishing, lambda: library.active().book, wire.now)
    if share.is_first and settings.s3_setup_notification:
        yield keep_announcing(lambda: library.active().book, effects.storage.buckets, wire.now)


def _handing_to(runners: Mapping[int, Runner], shard: int) -> OnAccept:
    """An accepted message goes to its runner as it is in memory, which spares reading it back from the spool."""

    def hand_over(job: Job, unit: Accepted, start: Evaluation) -> None:
        runners[shard].take(job, Fresh(state=unit.state, raw=unit.raw, start=start))

    return hand_over


async def _sweep(gateway: Gateway, *, forgets: bool) -> None:
    """Let retention take what it may, once a minute; whoever `forgets` also lets go of rule books that nothing refers to."""
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        swept = [await spool.sweep(wire.now(), _retention(gateway.settings)) for spool in gateway.spools.values()]
        messages, headers, bodies = (sum(getattr(each, name) for each in swept) for name in _SWEPT)
        if forgets and gateway.library.is_crowded:
            gateway.library.forget(await open_reader(gateway.settings.data).rule_books())
        if messages or bodies or headers:
            log.info("retention: %d messages, %d headers and %d bodies removed", messages, headers, bodies)


def _retention(settings: Settings) -> Retention:
    return Retention(
        metadata_seconds=settings.retention_metadata,
        headers_seconds=settings.retention_headers,
        full_seconds=settings.retention_full,
        cap_octets=settings.retention_cap,
    )
