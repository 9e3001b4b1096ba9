"""`gatepost serve`, up to the first worker: what is refused, what only root may do, and the sockets."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from gatepost.addresses import addresses_of, is_loopback, now
from gatepost.alert_conditions import alert_warnings
from gatepost.aws_needs import aws_warnings
from gatepost.cli.common import print_findings, print_warnings
from gatepost.cli.exits import FAILED, FINDINGS
from gatepost.control import RULE_BOOKS, SOCKET
from gatepost.descriptors import raise_limit
from gatepost.library import Library, open_rules, refusals
from gatepost.listening import CAN_DEAL, Dealt, Listening, bind, bind_all, passed_sockets, patiently
from gatepost.log_lines import configure_logging
from gatepost.notify import Notifier, forget_systemd
from gatepost.parent import Manner, Parent
from gatepost.privileges import become, check_state_directory, identity_of, make_state_directory
from gatepost.publishing import DEFAULT_LISTEN, needs_listener
from gatepost.scanners import scan_warnings
from gatepost.settings import Settings
from gatepost.settings_values import parse_address
from gatepost.unchecked import unchecked_warnings
from mail.errors import GatepostError
from rules.model import RuleBook
from spool.control import open_control
from spool.rule_sets import open_rule_books

log = logging.getLogger("gatepost")
_DYING_SECONDS = 5.0


def run(settings: Settings, *, again: Callable[[], Settings | None], ready_file: Path | None, quiet: bool) -> int:
    """Serve until a signal; the exit code. `again` reads the settings anew, None if they have errors, which it has said."""
    notifier = Notifier(os.environ, os.getpid())
    raise_limit()
    try:
        passed = passed_sockets(os.environ, os.getpid())
    except GatepostError as error:
        return _cannot(str(error), FAILED)
    forget_systemd()
    rules = open_rules(settings)
    print_findings(rules.findings)
    if importlib.util.find_spec("uvloop") is None:
        click.echo("uvloop is not installed: Python's own event loop serves, which is slower", err=True)
    print_warnings(scan_warnings(settings) + alert_warnings(settings))
    at = passed.hosts if passed is not None else addresses_of(settings)
    reasons = refusals(rules, is_loopback=is_loopback(at))
    for reason in reasons:
        _cannot(f"{rules.origin}: {reason}", FINDINGS)
    if reasons:
        return FINDINGS
    if rules.book is None:
        return _cannot(f"{rules.origin} has errors, so nothing was started", FINDINGS)
    print_warnings(unchecked_warnings(settings, rules.book) + aws_warnings(rules.book, settings))
    with contextlib.ExitStack() as stack:
        try:
            listening = stack.enter_context(contextlib.closing(_listening(settings, rules.book, passed)))
            _settle_in(settings)
            control = stack.enter_context(contextlib.closing(open_control(settings.data / SOCKET)))
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)  # it tells of the server before this one
            books = stack.enter_context(contextlib.closing(open_rule_books(settings.data / RULE_BOOKS)))
            library = Library(books, settings, now)
            library.load(rules)
            manner = Manner(
                workers=workers_of(settings), again=again, ready_file=ready_file, quiet=quiet, notifier=notifier
            )
            parent = Parent(settings, library, rules, listening, manner)
            return asyncio.run(parent.serve(control))
        except (GatepostError, OSError) as error:
            return _cannot(str(error), FAILED)


def workers_of(settings: Settings) -> int:
    """The setting; 0 stands for the cores that we may use, and for one where connections cannot be dealt out."""
    if settings.workers:
        return settings.workers
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def _cannot(message: str, code: int) -> int:
    click.echo(f"{click.style('error:', fg='red')} {message}", err=True)
    return code


def _listening(settings: Settings, book: RuleBook, passed: Listening | None) -> Listening:
    """Systemd's sockets, or those of the settings, which wait for a server that was killed a moment ago to be gone."""
    workers = workers_of(settings)
    if workers > 1 and not CAN_DEAL:
        click.echo(f"{workers} workers share each socket: this system cannot deal connections out to them", err=True)
    seconds = _DYING_SECONDS if (settings.data / SOCKET).is_socket() else 0.0
    if passed is None:
        smtp = patiently(partial(bind_all, addresses_of(settings), workers), seconds)
        plain = len(settings.listen)
        passed = Listening(smtp=smtp[:plain], tls=smtp[plain:])
    try:
        if not passed.http:
            passed.http.extend(
                each for group in patiently(partial(_http_sockets, settings, book), seconds) for each in group
            )
        watched = [address for address in map(parse_address, settings.metrics_listen) if address is not None]
        passed.watch.extend(each for group in patiently(partial(bind_all, watched, 1), seconds) for each in group)
    except BaseException:
        passed.close()
        raise
    return passed


def _http_sockets(settings: Settings, book: RuleBook) -> tuple[Dealt, ...]:
    """Those of the settings; without any, one on loopback if the rules need it and it can be had: mail is taken all the same."""
    addresses = [address for address in map(parse_address, settings.http_listen) if address is not None]
    if addresses or not needs_listener(book):
        return bind_all(addresses, 1)
    try:
        return (bind(*DEFAULT_LISTEN),)
    except OSError:
        host, port = DEFAULT_LISTEN
        click.echo(f"no HTTP listener: {host}:{port} cannot be had; choose an address with http.listen", err=True)
        return ()


def _settle_in(settings: Settings) -> None:
    """Become the user of the settings, and have a state directory that is theirs."""
    identity = identity_of(settings)
    make_state_directory(settings.data, identity)
    if identity is not None:
        become(identity)
    check_state_directory(settings.data)
    configure_logging(settings)
