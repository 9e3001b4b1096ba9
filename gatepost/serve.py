"""The life of the gateway's process: start, signals, reload, end."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from gatepost import wire
from gatepost.aws_needs import aws_warnings
from gatepost.cli.common import print_findings, print_warnings
from gatepost.cli.exits import FAILED, FINDINGS
from gatepost.control import RULE_BOOKS
from gatepost.gateway import Gateway, opened
from gatepost.library import Library, Opened, open_rules, refusals
from gatepost.live import printer, say
from gatepost.publishing import DEFAULT_LISTEN, needs_listener
from gatepost.scanners import scan_warnings
from gatepost.settings import Settings
from gatepost.settings_file import parse_address
from mail.errors import GatepostError
from rules.model import RuleBook
from spool.rule_sets import open_rule_books

log = logging.getLogger("gatepost")
_WATCH_SECONDS = 1.0
_BACKLOG = 1024
_COLLECT_AFTER = (20_000, 20, 50)  # objects; the values of a message are freed by their reference counts


def run(settings: Settings, *, ready_file: Path | None, quiet: bool) -> int:
    """Serve until a signal; the exit code."""
    rules = open_rules(settings)
    print_findings(rules.findings)
    print_warnings(scan_warnings(settings))
    addresses = wire.addresses_of(settings)
    reasons = refusals(rules, is_loopback=wire.is_loopback(addresses))
    for reason in reasons:
        _cannot(f"{rules.origin}: {reason}", FINDINGS)
    if reasons:
        return FINDINGS
    if rules.book is None:
        return _cannot(f"{rules.origin} has errors, so nothing was started", FINDINGS)
    print_warnings(aws_warnings(rules.book, settings))
    with contextlib.ExitStack() as stack:
        try:
            sockets = [stack.enter_context(_listening(host, port)) for host, port in addresses]
            http_sockets = [stack.enter_context(bound) for bound in _http_sockets(settings, rules.book)]
            settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            books = stack.enter_context(contextlib.closing(open_rule_books(settings.data / RULE_BOOKS)))
            library = Library(books, settings, wire.now)
            library.load(rules)
            return _run_loop(_serve(settings, library, rules, (sockets, http_sockets), ready_file, quiet))
        except (GatepostError, OSError) as error:
            return _cannot(str(error), FAILED)


def _cannot(message: str, code: int) -> int:
    click.echo(f"{click.style('error:', fg='red')} {message}", err=True)
    return code


def _listening(host: str, port: int) -> socket.socket:
    """A bound, listening socket; a taken port is said in words that help."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if error.errno == 98:
            raise OSError(f"{shown} is in use; use --listen HOST:PORT to choose another") from None
        raise OSError(f"cannot listen on {shown}: {error.strerror}; use --listen HOST:PORT to choose another") from None
    return bound


def _http_sockets(settings: Settings, book: RuleBook) -> list[socket.socket]:
    """Those of the settings; without any, one on loopback if the rules need it and it can be had: mail is taken all the same."""
    addresses = [address for address in map(parse_address, settings.http_listen) if address is not None]
    if addresses or not needs_listener(book):
        return [_listening(host, port) for host, port in addresses]
    try:
        return [_listening(*DEFAULT_LISTEN)]
    except OSError:
        host, port = DEFAULT_LISTEN
        click.echo(f"no HTTP listener: {host}:{port} cannot be had; choose an address with http.listen", err=True)
        return []


def _run_loop(main: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop  # noqa: PLC0415 - optional: the gateway runs without it
    except ImportError:
        click.echo("uvloop is not installed: asyncio serves, at about half the speed", err=True)
        return asyncio.run(main)
    return uvloop.run(main)


async def _serve(
    settings: Settings,
    library: Library,
    rules: Opened,
    sockets: tuple[list[socket.socket], list[socket.socket]],
    ready_file: Path | None,
    quiet: bool,
) -> int:
    stop = asyncio.Event()
    reload = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    on_event = (lambda _: None) if quiet else printer(settings)
    smtp_sockets, http_sockets = sockets
    async with opened(settings, library, smtp_sockets, on_event, http_sockets) as gateway:
        _settle_memory()
        _announce(settings, library, rules, gateway)
        if ready_file is not None:
            _write_ready(ready_file, gateway, settings)
        watcher = asyncio.create_task(_watch(settings, library, reload))
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait(
            (stopped, gateway.runner, gateway.broken, watcher), return_when=asyncio.FIRST_COMPLETED
        )
        watcher.cancel()
        stopped.cancel()
        for task in done - {stopped}:
            task.result()
        say("gatepost stopping: finishing what is under way")
    say("gatepost stopped")
    return 0


def _settle_memory() -> None:
    """What was loaded so far lives as long as we do: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def _announce(settings: Settings, library: Library, rules: Opened, gateway: Gateway) -> None:
    active = library.active()
    count = len(active.book.rule_set.rules)
    origin = "built-in" if rules.origin == "built-in" else "file"
    named = f"{active.book.active}@{active.digest[:4]} ({origin}, {count} {'rule' if count == 1 else 'rules'})"
    http = f"  http {' '.join(gateway.http_addresses)}" if gateway.http_addresses else ""
    smtp = " ".join(gateway.listener.addresses)
    say(f"gatepost ready  smtp {smtp}{http}  rules {named}  state {_shown(settings.data)}")
    read = [str(path) for path in (*settings.files, settings.rules) if path is not None]
    say(f"read {', '.join(read)}" if read else "no settings or rules file was found: built-in defaults")
    if not active.has_domains:
        say("no domains are named: mail for every domain is taken, on loopback only")
    if active.digest != (rules.book.digest if rules.book else ""):
        say(f"{rules.origin} is loaded but not active; see gatepost rules list")


def _shown(path: Path) -> str:
    """The path as somebody here would write it: `./var` below the working directory, else in full."""
    relative = os.path.relpath(path)
    return str(path.resolve()) if relative.startswith("..") else f"./{relative}"


def _write_ready(path: Path, gateway: Gateway, settings: Settings) -> None:
    ready = {
        "smtp": gateway.listener.addresses,
        "http": gateway.http_addresses,
        "pid": os.getpid(),
        "data": str(settings.data),
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(ready) + "\n", encoding="utf-8")
    partial.replace(path)


async def _watch(settings: Settings, library: Library, reload: asyncio.Event) -> None:
    """Load the rules again on SIGHUP or when their file changes; a file with errors changes nothing."""
    seen = _stamp(settings.rules)
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reload.wait(), _WATCH_SECONDS)
        stamp = _stamp(settings.rules)
        if not reload.is_set() and stamp == seen:
            continue
        seen = stamp
        reload.clear()
        loaded = _load_again(settings, library)
        if loaded is not None:
            print_warnings(await asyncio.to_thread(aws_warnings, loaded, settings))


def _stamp(path: Path | None) -> tuple[int, int] | None:
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size) if status is not None else None


def _load_again(settings: Settings, library: Library) -> RuleBook | None:
    """The book, None if it was refused."""
    rules = open_rules(settings)
    print_findings(rules.findings)
    reasons = refusals(rules, is_loopback=wire.is_loopback(wire.addresses_of(settings)))
    if rules.book is None or reasons:
        for reason in reasons:
            click.echo(f"{rules.origin}: {reason}", err=True)
        click.echo(f"{rules.origin} is refused; rule set {library.active().digest[:4]} stays active", err=True)
        return None
    active = library.load(rules)
    say(f"rules {rules.origin} loaded as {rules.book.digest[:4]}, {'now active' if active else 'not active'}")
    return rules.book
