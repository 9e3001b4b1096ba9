"""Looking at the parts of one process that takes mail: whoever asks it to observe gets an `Observation`."""

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gatepost import wire
from gatepost.library import Library
from gatepost.observation import Check, Observation, Rules
from gatepost.settings import Settings
from inbound.admission import storage_refusal
from mail.counters import Counters, Key, key
from mail.errors import GatepostError
from smtp.listener import Listener
from smtp.tls import expires_at
from spool.ports import Load, Spool
from verdicts.dns_resolver import LiveResolver
from verdicts.ports import Resolver

_PAGE_OCTETS = resource.getpagesize()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """The parts of one process. `settings` gives those in force; `is_broken` says that a shard has closed itself."""

    worker: int
    started_at: datetime
    counters: Counters
    settings: Callable[[], Settings]
    library: Library
    spools: Sequence[Spool]
    listener: Listener
    resolver: Resolver
    waiting_steps: Callable[[], int]
    is_broken: Callable[[], bool]

    async def observe(self) -> Observation:
        settings = self.settings()
        loads = [spool.load() for spool in self.spools]
        certificate, expiry = _certificate(settings)
        rules, in_force = self._rules()
        checks = (
            self._spool_check(),
            self._disk_check(loads, settings),
            await self._resolver_check(),
            self._listeners_check(),
            _certificate_check(certificate, expiry, wire.now()),
            in_force,
        )
        samples = {**self.counters.snapshot(), **self._gauges(loads, settings)}
        if expiry is not None:
            samples[key("certificate_expiry_timestamp_seconds")] = expiry.timestamp()
        if rules is not None:
            samples[key("rules_info", rule_set=rules.rule_set, version=rules.version[:12])] = 1
            samples[key("rules_pinned")] = int(rules.pinned)
        return Observation(
            worker=self.worker,
            pid=os.getpid(),
            started_at=self.started_at,
            samples=tuple(samples.items()),
            checks=checks,
            rules=rules,
        )

    def _gauges(self, loads: Sequence[Load], settings: Settings) -> dict[Key, float]:
        worker = str(self.worker)
        return {
            key("connections"): len(self.listener.connections),
            key("content_bytes_in_flight"): sum(driver.weight for driver in self.listener.connections),
            key("spool_queued_units"): sum(load.queued_units for load in loads),
            key("steps_waiting"): self.waiting_steps(),
            key("disk_free_bytes"): min((load.free_octets for load in loads), default=0),
            key("disk_reserve_bytes"): max((_reserve(load, settings) for load in loads), default=0),
            key("workers"): 1,
            key("worker_start_time_seconds", worker=worker): self.started_at.timestamp(),
            key("worker_resident_bytes", worker=worker): _resident_octets(),
            key("worker_open_descriptors", worker=worker): _open_descriptors(),
            key("worker_cpu_seconds_total", worker=worker): time.process_time(),
        }

    def _spool_check(self) -> Check:
        if self.is_broken():
            return Check(name="spool", ok=False, detail="the store failed and is closed; see the log, mend the disk")
        return Check(name="spool", ok=True, detail=f"{len(self.spools)} open")

    def _disk_check(self, loads: Sequence[Load], settings: Settings) -> Check:
        inbound = wire.inbound_settings_of(settings)
        refused = [load for load in loads if storage_refusal(load, inbound) is not None]
        if not refused:
            free = min((load.free_octets for load in loads), default=0)
            return Check(name="disk", ok=True, detail=f"{free // 2**20} MiB free")
        load = refused[0]
        if load.free_octets < _reserve(load, settings):
            why = f"{load.free_octets // 2**20} MiB free, spool.reserve wants {_reserve(load, settings) // 2**20}"
        elif load.cap_reached:
            why = "kept bodies fill retention.cap, or the disk is full"
        else:
            why = f"{load.ready_jobs + load.leased_jobs} jobs are ready, more than spool.max_ready"
        return Check(name="disk", ok=False, detail=f"MAIL is answered 452: {why}")

    async def _resolver_check(self) -> Check:
        if not isinstance(self.resolver, LiveResolver):
            return Check(name="resolver", ok=True, detail="a zone file answers")
        if await self.resolver.is_reachable():
            return Check(name="resolver", ok=True, detail="a name server answers")
        return Check(name="resolver", ok=False, detail="no name server answers; see dns.servers")

    def _listeners_check(self) -> Check:
        addresses = self.listener.addresses
        if self.listener.is_draining or not addresses:
            return Check(name="listeners", ok=False, detail="the server is stopping")
        return Check(name="listeners", ok=True, detail=" ".join(addresses))

    def _rules(self) -> tuple[Rules | None, Check]:
        try:
            version = self.library.in_force()
            book = self.library.by_digest(version.digest)
        except GatepostError as error:
            return None, Check(name="rules", ok=False, detail=str(error))
        rules = Rules(rule_set=book.book.active, version=version.digest, pinned=version.pinned)
        pinned = ", pinned until `gatepost rules unpin`" if version.pinned else ""
        return rules, Check(name="rules", ok=True, detail=f"{rules.rule_set}@{rules.version[:12]}{pinned}")


def _reserve(load: Load, settings: Settings) -> int:
    inbound = wire.inbound_settings_of(settings)
    return max(inbound.reserve_octets, int(load.total_octets * inbound.reserve_fraction))


def _certificate(settings: Settings) -> tuple[Path | None, datetime | None]:
    """Its file and when it ends; the file without an end cannot be read."""
    path: Path | None = None
    try:
        path = wire.certificate_of(settings)
        return path, None if path is None else expires_at(path)
    except GatepostError:
        return path, None


def _certificate_check(path: Path | None, expiry: datetime | None, now: datetime) -> Check:
    if path is None:
        return Check(name="certificate", ok=True, detail="TLS is off")
    if expiry is None:
        return Check(name="certificate", ok=False, detail=f"{path} cannot be read")
    word = "ends" if expiry > now else "ended"
    return Check(name="certificate", ok=expiry > now, detail=f"{path} {word} {expiry:%Y-%m-%d %H:%M:%SZ}")


def _resident_octets() -> int:
    """0 where there is no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_OCTETS
    except OSError:
        return 0


def _open_descriptors() -> int:
    """0 where the system does not tell."""
    for place in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(place))
        except OSError:
            continue
    return 0
