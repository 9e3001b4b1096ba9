"""Changed files, put in force while mail goes on: settings, certificates, the rules and the lists that they name.

The parent reads them, on SIGHUP or when one of them changes, and tells the workers. What a file says wrong changes nothing and is
said; a rules file that is refused leaves the rules as they are, and the settings are in force all the same.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click

from gatepost.addresses import is_loopback
from gatepost.audit_log import AuditLog
from gatepost.aws_needs import aws_warnings
from gatepost.cli.common import print_findings, print_warnings
from gatepost.library import Library, Opened, open_rules, refusals
from gatepost.listening import Listening, bind
from gatepost.live import speaker
from gatepost.log_lines import configure_logging
from gatepost.publishing import DEFAULT_LISTEN, needs_listener
from gatepost.settings import Settings, table
from gatepost.settings_wire import packed
from gatepost.unchecked import unchecked_warnings
from gatepost.workers import Workers
from mail.errors import GatepostError, Permanent
from smtp.tls import server_context

log = logging.getLogger("gatepost")
_WATCH_SECONDS = 1.0

Stamps = tuple[tuple[str, int, int], ...]


class Reloader:
    """`settings` are those in force. `again` reads them anew: None if they have errors, which it has said."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        rules: Opened,
        *,
        listening: Listening,
        workers: Workers,
        again: Callable[[], Settings | None],
        audit: AuditLog,
    ) -> None:
        self.settings = settings
        self._library, self._rules, self._listening, self._workers = library, rules, listening, workers
        self._again, self._audit = again, audit
        self._waiting: set[str] = set()  # changed settings that need a restart, said once
        self._seen = self._stamps()

    def _say(self, text: str) -> None:
        speaker(self.settings)(text)

    def _stamps(self) -> tuple[Stamps, Stamps]:
        """Of the files that we look at: those of the rules, and those of the settings and certificates."""
        settings, rules = self.settings, self.settings.rules
        return stamps((*self._rules.files, *([rules] if rules else ()))), stamps(
            (*settings.files, *certificate_files(settings))
        )

    async def watch(self, asked: asyncio.Event) -> None:
        """Until cancelled; `asked` is set by a signal."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), _WATCH_SECONDS)
            found = self._stamps()
            is_asked = asked.is_set()
            asked.clear()
            if is_asked or found != self._seen:
                files, changed = self._rules.files, is_asked or found[1] != self._seen[1]
                try:
                    await self.reload(settings_too=changed)
                except (GatepostError, OSError) as error:  # a disk, or whoever reads what we say: no reason to end
                    log.error("the reload was not finished and is done again: %s", error)
                    found = ((), ())
                # What changed meanwhile is seen in the next round; files that the rules did not name before begin here.
                self._seen = found if files == self._rules.files else (self._stamps()[0], found[1])

    async def reload(self, *, settings_too: bool) -> None:
        """Raises what a worker answers that cannot follow; it is started anew or told again at the next reload."""
        if settings_too and not await self._reload_settings():
            return
        rules = open_rules(self.settings)
        self._rules = replace(rules, files=rules.files or self._rules.files)
        print_findings(rules.findings)
        reasons = refusals(rules, is_loopback=is_loopback(self._listening.hosts))
        if rules.book is None or reasons:
            for reason in reasons:
                click.echo(f"{rules.origin}: {reason}", err=True)
            active = self._library.active().digest[:4]
            click.echo(f"{rules.origin} is refused; rule set {active} stays active", err=True)
            self._audit.note("rules_refused", origin=rules.origin)
            return
        is_active = self._library.load(rules)
        await self._workers.ask_all({"operation": "rules"})
        if needs_listener(rules.book) and not self._listening.http:
            await self._listen_for_http()
        print_warnings(unchecked_warnings(self.settings, rules.book))
        print_warnings(await asyncio.to_thread(aws_warnings, rules.book, self.settings))
        self._say(
            f"rules {rules.origin} loaded as {rules.book.digest[:4]}, {'now active' if is_active else 'not active'}"
        )
        self._audit.note("rules_loaded", origin=rules.origin, version=rules.book.digest, active=is_active)

    async def _reload_settings(self) -> bool:
        """False: they are refused, as a whole."""
        after = self._again()
        try:
            if after is None:
                raise Permanent("they have errors")
            if gone := [path for path in self.settings.files if path not in after.files]:
                # Some editors take a file away before they put the new one there; defaults for a moment would open doors.
                raise Permanent(f"{gone[0]} is gone")
            now, changed, later = in_force(self.settings, after)
            check_certificates(now)
        except (GatepostError, OSError) as error:
            click.echo(f"the settings are refused, those before stay in force: {error}", err=True)
            return False
        self.settings = now
        configure_logging(now)
        self._library.use(now)
        await self._workers.ask_all({"operation": "use", "settings": packed(now)})
        if changed:
            self._say(f"settings in force: {', '.join(changed)}")
        if fresh := sorted(set(later) - self._waiting):
            self._say(f"settings that need a restart: {', '.join(fresh)}")
        self._waiting = set(later)
        self._audit.note("settings_reloaded", changed=list(changed), at_restart=list(later))
        return True

    async def _listen_for_http(self) -> None:
        """The rules need it now."""
        host, port = DEFAULT_LISTEN
        try:
            bound = bind(host, port)
        except OSError:
            click.echo(f"no HTTP listener: {host}:{port} cannot be had; choose an address with http.listen", err=True)
            return
        self._listening.http.extend(bound)
        await self._workers.pass_sockets(0, bound)
        self._say(f"http {' '.join(self._listening.http_addresses)}")


def in_force(before: Settings, after: Settings) -> tuple[Settings, tuple[str, ...], tuple[str, ...]]:
    """The settings that a reload makes of both, the names that it changed, and those that wait for a restart. Pure."""
    differing = [row for row in table() if getattr(before, row.attribute) != getattr(after, row.attribute)]
    changed = {row.attribute: getattr(after, row.attribute) for row in differing if row.at_reload}
    names = tuple(row.name for row in differing if row.at_reload)
    return replace(before, **changed), names, tuple(row.name for row in differing if not row.at_reload)


def check_certificates(settings: Settings) -> None:
    """Raises `Permanent` where one cannot be used. Our own is made at the start and stays."""
    if settings.uses_tls and settings.tls_certificate is not None:
        server_context(settings.tls_certificate, settings.tls_key, settings.tls_certificates)


def certificate_files(settings: Settings) -> Iterator[Path]:
    """Those whose change is a renewal."""
    for path in (settings.tls_certificate, settings.tls_key, *settings.tls_certificates):
        if path is not None:
            yield path
            yield from (path / name for name in ("fullchain.pem", "privkey.pem"))


def stamps(paths: tuple[Path, ...]) -> Stamps:
    """What changes with the files' content, for those that are there."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(found)
