"""The parent: it keeps the sockets and the workers, passes on what commands ask, reads changed files, and ends all in order.

It takes no mail and opens no shard; what it does itself is short, so that a signal is heard at once.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gatepost.addresses import now
from gatepost.alert_conditions import wants_alerts
from gatepost.audit_log import AuditLog, note_change
from gatepost.control import OBSERVE, Answer, Request
from gatepost.edge import RATES
from gatepost.library import Library, Opened
from gatepost.listening import KINDS, Listening
from gatepost.live import speaker
from gatepost.notify import Notifier
from gatepost.overview import EVERYWHERE, Overview
from gatepost.reload import Reloader
from gatepost.settings import Settings
from gatepost.settings_wire import packed
from gatepost.shards import deal, holders, merged, split
from gatepost.survey import Surveyor
from gatepost.version import VERSION
from gatepost.workers import Errand, Workers
from inbound.rate_table import create_rate_table
from mail.errors import Malformed, Misuse, Temporary
from spool.control import PEER_UID, serve_control
from spool.reader import open_reader

log = logging.getLogger("gatepost")
_GRACE_SECONDS = 45.0  # a worker gives its sessions 30 and its steps 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How to serve, beside the settings. `again` reads the settings anew: None if they have errors, which it has said."""

    workers: int
    again: Callable[[], Settings | None]
    ready_file: Path | None
    quiet: bool
    notifier: Notifier


class Parent:
    """`serve` is its life."""

    def __init__(
        self, settings: Settings, library: Library, rules: Opened, listening: Listening, manner: Manner
    ) -> None:
        self._settings, self._library, self._rules, self._listening = settings, library, rules, listening
        self._manner, self._say = manner, speaker(settings)
        self._audit = AuditLog(settings.data, now)
        self._shares = deal(open_reader(settings.data).shards(), manner.workers)
        self._holder_of = holders(self._shares)
        self._rates = create_rate_table(settings.data / RATES, workers=manner.workers)
        self._workers = Workers(manner.workers, self._errand, handler=self._answer_worker, on_death=self._died)
        self._overview = Overview(manner.workers, self._workers.ask, now())
        self._reloader = Reloader(
            settings,
            library,
            rules,
            listening=listening,
            workers=self._workers,
            again=manner.again,
            audit=self._audit,
        )
        self._stop, self._at_once, self._reload = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve(self, control_socket: socket.socket) -> int:
        """Until a signal; the exit code. Raises what keeps a worker from its first start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        control = await serve_control(control_socket, self._operate)
        try:
            if await self._unless(self._stop, self._workers.start()):
                self._announce()
                self._audit.note("started", pid=os.getpid(), version=VERSION, workers=self._manner.workers)
                beside = (self._reloader.watch(self._reload), self._feed_watchdog(), self._alert())
                await self._until_stopped(*beside)
                self._manner.notifier.say("STOPPING=1")
                if not await self._unless(self._at_once, self._drain()):
                    self._say("gatepost stops at once: what is under way is done again after the next start")
        finally:
            self._workers.kill()
            control.close()
            self._rates.close()
        self._audit.note("stopped", pid=os.getpid())
        self._say("gatepost stopped")
        return 0

    async def _until_stopped(self, *beside: Coroutine[Any, Any, None]) -> None:
        """Until a signal; a failure of what runs beside ends us too."""
        tasks = [asyncio.create_task(work) for work in (self._stop.wait(), *beside)]
        while not self._stop.is_set():
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            tasks = [task for task in tasks if task not in done]
            for task in done:
                task.result()
        for task in tasks:
            task.cancel()

    def _end(self) -> None:
        """The first signal drains, the second ends at once."""
        (self._at_once if self._stop.is_set() else self._stop).set()

    async def _unless(self, event: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
        """Whether the work came to its end before the event; otherwise it is given up."""
        working, waiting = asyncio.create_task(work), asyncio.create_task(event.wait())
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if working.done():
            working.result()
            return True
        working.cancel()
        return False

    def _errand(self, number: int) -> Errand:
        doors = self._listening.of(number)
        request = {
            "operation": "start",
            "settings": packed(self._reloader.settings),
            "share": msgspec.to_builtins(self._shares[number]),
            "quiet": self._manner.quiet,
            **{kind: [bound.fileno() for bound in getattr(doors, kind)] for kind in KINDS},
            "http_addresses": self._listening.http_addresses,
        }
        return Errand(request=request, sockets=tuple(bound for kind in KINDS for bound in getattr(doors, kind)))

    def _died(self, number: int) -> None:
        self._rates.zero(number)
        self._overview.restarts += 1

    async def _drain(self) -> None:
        await self._workers.stop_accepting()
        self._listening.close()
        self._say("gatepost stopping: finishing what is under way")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._workers.wait_ended(), _GRACE_SECONDS)

    async def _feed_watchdog(self) -> None:
        """Tell systemd that all is well, as often as it wants, while every worker answers."""
        seconds = self._manner.notifier.watchdog_seconds / 2
        while seconds:
            try:
                await self._workers.ask_all({"operation": "ping"}, timeout_seconds=seconds)
                self._manner.notifier.say("WATCHDOG=1")
            except Temporary as error:
                log.warning("the watchdog is not fed: %s", error)
            await asyncio.sleep(seconds)

    async def _alert(self) -> None:
        """Here and in no worker: what is told may be that workers do not answer, or cannot be started."""
        if not wants_alerts(self._settings):
            return
        from gatepost.alert_sinks import keep_alerting  # noqa: PLC0415 - clients of mail and HTTP, a fifth of our memory

        surveyor = Surveyor(self._settings.data, clock=now, observe=lambda: self._overview.everywhere(OBSERVE))
        await keep_alerting(self._settings, surveyor, now)

    # --- what commands ask

    async def _operate(self, request: dict[str, Any]) -> Any:
        self._library.refresh()
        if request == {"operation": "rules"}:
            await self._workers.ask_all(request)
            return self._library.active().digest
        if request.get("operation") in EVERYWHERE:
            self._note_trace(request)
            return await self._overview.everywhere(request)
        try:
            asked = msgspec.convert(request, Request)
        except msgspec.ValidationError as error:
            raise Malformed(f"not a request: {error}") from error
        parts = split(asked, self._holder_of)
        answers = await asyncio.gather(*(self._operate_at(worker, part) for worker, part in parts.items()))
        answer = merged(asked, answers)
        note_change(self._audit, request, answer.changed, skipped=answer.left, uid=PEER_UID.get())
        return msgspec.to_builtins(answer)

    def _note_trace(self, request: dict[str, Any]) -> None:
        if request["operation"] == "trace":
            self._audit.note("trace_started", uid=PEER_UID.get(), ip=request.get("ip", ""), to=request.get("to", ""))

    async def _answer_worker(self, request: dict[str, Any]) -> Any:
        """What a worker asks of all."""
        if request["operation"] != "everyone":
            raise Misuse(f"the parent knows no operation {request['operation']}")
        return await self._workers.ask_all(request["request"])

    async def _operate_at(self, worker: int, part: Request) -> Answer:
        said = await self._workers.ask(worker, {"operation": "operate", "request": msgspec.to_builtins(part)})
        return msgspec.convert(said, Answer)

    # --- what is said at the start

    def _announce(self) -> None:
        active, rules = self._library.active(), self._rules
        count = len(active.book.rule_set.rules)
        origin = "built-in" if rules.origin == "built-in" else "file"
        named = f"{active.book.active}@{active.digest[:4]} ({origin}, {count} {'rule' if count == 1 else 'rules'})"
        http = f"  http {' '.join(self._listening.http_addresses)}" if self._listening.http else ""
        smtp = " ".join(self._listening.addresses)
        watch = f"  metrics {' '.join(self._listening.watch_addresses)}" if self._listening.watch else ""
        self._say(f"gatepost ready  smtp {smtp}{http}{watch}  rules {named}  state {_shown(self._settings.data)}")
        read = [str(path) for path in (*self._settings.files, self._settings.rules) if path is not None]
        self._say(f"read {', '.join(read)}" if read else "no settings or rules file was found: built-in defaults")
        if not active.has_domains:
            self._say("no domains are named: mail for every domain is taken, on loopback only")
        if active.digest != (rules.book.digest if rules.book else ""):
            self._say(f"{rules.origin} is loaded but not active; see gatepost rules list")
        if self._manner.ready_file is not None:
            self._write_ready(self._manner.ready_file)
        self._manner.notifier.say("READY=1")

    def _write_ready(self, path: Path) -> None:
        ready = {
            "smtp": self._listening.addresses,
            "http": self._listening.http_addresses,
            "metrics": self._listening.watch_addresses,
            "pid": os.getpid(),
            "workers": self._workers.pids,
            "data": str(self._settings.data),
        }
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(ready) + "\n", encoding="utf-8")
        partial.replace(path)


def _shown(path: Path) -> str:
    """The path as somebody here would write it: `./var` below the working directory, else in full."""
    relative = os.path.relpath(path)
    if relative.startswith(".."):
        return str(path.resolve())
    return relative if relative == "." else f"./{relative}"
