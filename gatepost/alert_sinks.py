"""Where alerts go: by mail through the relay, to a webhook, to a command; and the loop that looks and tells.

It runs in the parent. *Failure.* A sink that fails is logged; where all fail, the same alert is tried again at the next look.
"""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from actions.http_port import HttpClient
from gatepost.alert_conditions import Condition, Memory, Thresholds, conditions, remembered, thresholds_of
from gatepost.alerts import Alert, AlertBook, judge, untold
from gatepost.http_client import AiohttpClient
from gatepost.kept_file import replace_whole
from gatepost.settings import Settings
from gatepost.survey import Survey
from gatepost.wire import hostname_of, relay_of
from mail.address import parse_mailbox
from mail.errors import GatepostError, Temporary
from mail.headers import header_field
from mail.trace_fields import rfc5322_date
from smtp.client import RelayClient

log = logging.getLogger("gatepost.alerts")
FILE = "alerts.json"
_LOOK_SECONDS = 60.0
_SINK_SECONDS = 30.0

Sink = Callable[[Alert], Awaitable[None]]
"""Tells one alert. Raises an error of the house's family, or `OSError`, where it cannot."""


def sinks_of(settings: Settings, http: HttpClient, relay: RelayClient | None, hostname: str) -> tuple[Sink, ...]:
    """Those of the settings. Mail without a relay has no way, which `serve` and `check` warn of."""
    sinks: list[Sink] = []
    if settings.alerts_mail and relay is not None:
        sinks.append(_mail_sink(settings.alerts_mail, relay, hostname))
    if settings.alerts_webhook:
        sinks.append(_webhook_sink(settings.alerts_webhook, http, hostname))
    if settings.alerts_command:
        sinks.append(_command_sink(settings.alerts_command, hostname))
    return tuple(sinks)


def _as_json(alert: Alert, hostname: str) -> bytes:
    return json.dumps({"source": "gatepost", "host": hostname, **msgspec.to_builtins(alert)}).encode()


def _mail_sink(addresses: Sequence[str], relay: RelayClient, hostname: str) -> Sink:
    recipients = tuple(map(parse_mailbox, addresses))

    async def send(alert: Alert) -> None:
        raw = composed(alert, recipients=addresses, hostname=hostname)
        # The null reverse-path: what answers an alert must never come back as mail (RFC 3834).
        statuses = await relay.send_all(None, recipients, raw)
        if not any(status.action == "relayed" for status in statuses):
            raise Temporary(statuses[0].diagnostic)

    return send


def composed(alert: Alert, *, recipients: Sequence[str], hostname: str) -> bytes:
    """The alert as a message. The same alert has the same Message-ID, so a repeated attempt can be recognised."""
    subject = f"[gatepost {hostname}] {alert.level} {alert.state}: {alert.condition}"
    stamp = f"{alert.at:%Y%m%d%H%M%S}"
    head = b"".join(
        (
            header_field("Date", rfc5322_date(alert.at)),
            header_field("From", f"Gatepost <gatepost@{hostname}>"),
            header_field("To", ", ".join(recipients)),
            header_field("Message-ID", f"<alert.{alert.condition}.{alert.state}.{stamp}@{hostname}>"),
            header_field("Subject", subject),
            header_field("Auto-Submitted", "auto-generated"),
            header_field("MIME-Version", "1.0"),
            header_field("Content-Type", "text/plain; charset=utf-8"),
            header_field("Content-Transfer-Encoding", "8bit"),
        )
    )
    over = ["It is over. It was:", ""] if alert.state == "resolved" else []
    lines = [*over, alert.text, "", f"{hostname}, {alert.at:%Y-%m-%d %H:%M:%SZ}", ""]
    return head + b"\r\n" + "\r\n".join(lines).encode()


def _webhook_sink(url: str, http: HttpClient, hostname: str) -> Sink:
    async def send(alert: Alert) -> None:
        reply = await http.post(url, {"content-type": "application/json"}, _as_json(alert, hostname), _SINK_SECONDS)
        if not 200 <= reply.status < 300:
            raise Temporary(f"the webhook answered {reply.status}")

    return send


def _command_sink(command: Sequence[str], hostname: str) -> Sink:
    async def send(alert: Alert) -> None:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_SINK_SECONDS):
                await process.communicate(_as_json(alert, hostname) + b"\n")
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()
            raise Temporary(f"{command[0]} did not end within {_SINK_SECONDS:g} s") from None
        if process.returncode:
            raise Temporary(f"{command[0]} ended with {process.returncode}")

    return send


class Watcher(Protocol):
    """What `gatepost.survey.Surveyor` is for us."""

    async def survey(self) -> Survey: ...

    async def newest(self) -> datetime | None: ...


class Alerting:
    """Looks, judges, tells. `surveyor` raises an error of the family where the workers do not answer."""

    def __init__(
        self,
        surveyor: Watcher,
        sinks: Sequence[Sink],
        thresholds: Thresholds,
        file: Path,
        clock: Callable[[], datetime],
    ) -> None:
        self._surveyor, self._sinks, self._thresholds = surveyor, sinks, thresholds
        self._file, self._clock = file, clock
        self._memory: Memory | None = None
        self._book = _read(file)

    async def look(self) -> None:
        """Once: whatever is to be told is told, or logged as not told."""
        try:
            survey = await self._surveyor.survey()
            newest = await self._surveyor.newest() if self._memory is None else None
            self._memory = remembered(self._memory, survey, newest)
            sees_all = survey.is_whole
            present = conditions(survey, self._thresholds, self._memory)
        except GatepostError as error:
            sees_all = False
            present = (Condition(name="answer", level="critical", text=f"the workers do not answer: {error}"),)
        alerts, book = judge(self._book, present, self._clock(), sees_all=sees_all)
        failed = [alert.condition for alert in alerts if not await self._tell(alert)]
        self._book = untold(self._book, book, failed)
        if len(failed) < len(alerts):
            _write(self._file, self._book)

    async def _tell(self, alert: Alert) -> bool:
        told = False
        for sink in self._sinks:
            try:
                await sink(alert)
                told = True
            except (GatepostError, OSError) as error:
                log.error("alert %s (%s) could not be sent: %s", alert.condition, alert.state, error)
        return told


async def keep_alerting(
    settings: Settings, surveyor: Watcher, clock: Callable[[], datetime], *, pause: float = _LOOK_SECONDS
) -> None:
    """Look once a minute for as long as the gateway serves; nothing without a setting that says whom to tell.

    *Failure.* A look that failed in a way nobody thought of is logged, and the next one is made all the same.
    """
    # The operator names the host of the webhook, so it may have a private address, unlike one that a rule names.
    http = AiohttpClient(private_hosts=(urlsplit(settings.alerts_webhook).hostname or "",))
    try:
        sinks = sinks_of(settings, http, relay_of(settings, clock), hostname_of(settings))
        alerting = Alerting(surveyor, sinks, thresholds_of(settings), settings.data / FILE, clock)
        while sinks:
            await asyncio.sleep(pause)
            try:
                await alerting.look()
            except Exception:
                log.exception("a look for alerts failed; the next one is made in a minute")
    finally:
        await http.close()


def _read(file: Path) -> AlertBook:
    try:
        return msgspec.json.decode(file.read_bytes(), type=AlertBook)
    except FileNotFoundError:
        return AlertBook()
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s cannot be read, so alerts may be told again: %s", file, error)
        return AlertBook()


def _write(file: Path, book: AlertBook) -> None:
    try:
        replace_whole(
            file, msgspec.json.encode(book), durable=False
        )  # on the loop; a lost one costs an alert told twice
    except OSError as error:
        log.warning("%s cannot be written, so alerts may be told again after a restart: %s", file, error)
