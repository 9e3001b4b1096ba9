"""How mail is judged and taken under the settings of this moment; `use` puts others in their place under open connections.

A connection stays with what it began with to its end; what only such connections use is closed when the last of them has gone.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from actions.protocol import Prepend
from gatepost import wire
from gatepost.edge import gate_of
from gatepost.library import Library
from gatepost.scanners import Scanners, scanners_of
from gatepost.settings import Settings
from inbound.backend import InboundBackend
from inbound.counting import Counting
from inbound.event import Event
from inbound.ports import Services
from inbound.rate_table import RateColumn
from inbound.sampling import Sampler
from mail.counters import Counters
from mail.entropy import entropy
from mail.receipt import Receipt
from rules.machine import Evaluation
from rules.step import Step
from smtp.config import SmtpConfig
from smtp.listener import Listener
from spool.ports import Accepted, Job, Spool
from verdicts.auth_results import forged_spans
from verdicts.ports import Resolver

_LOOK_SECONDS = 1.0

OnAccept = Callable[[Job, Accepted, Evaluation], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What one set of settings came to."""

    settings: Settings
    scanners: Scanners
    backend: InboundBackend
    config: SmtpConfig
    prepend: Prepend


class Intake:
    """Raises what `wire` raises where a certificate, a zone file or a model cannot be used."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        spool: Spool,
        *,
        on_accept: OnAccept,
        on_event: Callable[[Event], None],
        counters: Counters,
        counts: RateColumn,
    ) -> None:
        self._library, self._spool, self._on_accept, self._counts = library, spool, on_accept, counts
        self._on_event, self._counters = Counting(counters, on_event), counters
        self._retiring: set[asyncio.Task[None]] = set()
        self._under_way: set[object] = set()
        self.resolver: Resolver = wire.resolver_of(settings, counters)
        self._parts = self._made(settings)

    @property
    def settings(self) -> Settings:
        return self._parts.settings

    @property
    def backend(self) -> InboundBackend:
        return self._parts.backend

    @property
    def config(self) -> SmtpConfig:
        return self._parts.config

    def prepend(self, receipt: Receipt, step: Step) -> bytes:
        """What stands above a message for one step of its walk."""
        return self._parts.prepend(receipt, step)

    def use(self, settings: Settings, listener: Listener) -> None:
        """For every connection that comes from now on. A failure leaves all as it was."""
        before, self._parts = self._parts, self._made(settings)
        listener.backend, listener.config = self._parts.backend, self._parts.config
        retiring = asyncio.create_task(_retire(before.scanners, listener))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await self._parts.scanners.close()

    def _made(self, settings: Settings) -> _Parts:
        config = wire.smtp_config_of(settings, wire.tls_of(settings))
        scanners, resolver = scanners_of(settings), self.resolver
        services = Services(
            book=self._library.active,
            judge=wire.judge_of(settings, resolver, scanners),
            forged_spans=partial(forged_spans, authserv_id=settings.verdicts_authserv_id),
            spool=self._spool,
            on_accept=self._on_accept,
            clock=wire.now,
            entropy=entropy(secrets.token_bytes),
            on_event=self._on_event,
            name_of=wire.name_of(resolver),
            lists=wire.dns_lists_of(settings, resolver),
            settings=wire.inbound_settings_of(settings),
            counters=self._counters,
            gate=gate_of(settings, self._counts, wire.hostname_of(settings)),
            sampler=Sampler(settings.smtp_limit_rows),
            under_way=self._under_way,
        )
        return _Parts(
            settings=settings,
            scanners=scanners,
            backend=InboundBackend(services),
            config=config,
            prepend=wire.prepend_of(settings),
        )


async def _retire(scanners: Scanners, listener: Listener) -> None:
    """Close them once no connection uses them any more, or at the end."""
    using = set(listener.connections)
    try:
        while using & listener.connections:  # noqa: ASYNC110 - there is no event for the end of some connections
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        await scanners.close()
