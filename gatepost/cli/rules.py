"""`gatepost rules`: the versions of the rule book, and which one is active (semantics.md §4)."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gatepost.audit_log import AuditLog
from gatepost.cli.common import config_options, fail, json_option, print_json, settings_of
from gatepost.cli.exits import USAGE
from gatepost.cli.layout import plural, table, time_text, visible
from gatepost.control import RULE_BOOKS, SOCKET
from mail.ses_json import timestamp
from rules.model import RuleBook, decode_book
from spool.control import NoServer, ask
from spool.ports import BookVersion, RuleBooks
from spool.rule_sets import open_rule_books

_SHOWN = 12


@click.group(name="rules")
def command() -> None:
    """List the versions of the rules that were loaded, activate one, or go back to the one before.

    After `activate` or `rollback` the choice is pinned: a changed rules file is loaded, but not made active, until `unpin`.
    """


@command.command(name="list")
@json_option
@config_options
def list_command(as_json: bool, config: Path | None, data: Path | None) -> None:
    """Each version, newest first, with the file it came from and whether it is active."""
    with _books(config, data) as (books, _):
        rows = [(version, decode_book(books.content(version.digest))) for version in books.versions()]
    if as_json:
        for version, book in rows:
            print_json(_object(version, book))
        return
    lines = [
        (
            click.style("active", fg="green") + (" pinned" if version.pinned else "") if version.active else "",
            version.digest[:_SHOWN],
            time_text(version.loaded_at),
            f"{book.active}, {plural(len(book.rule_set.rules), 'rule')}",
            visible(version.origin),
        )
        for version, book in rows
    ]
    click.echo(table(lines, head=("", "version", "loaded", "rule set", "from")))


@command.command()
@click.argument("digest", metavar="VERSION")
@config_options
def activate(digest: str, config: Path | None, data: Path | None) -> None:
    """Make VERSION (the first characters of it are enough) active and pin it."""
    with _books(config, data) as (books, directory):
        found = [version for version in books.versions() if version.digest.startswith(digest.lower())]
        if len(found) != 1:
            raise fail(f"{'no' if not found else 'more than one'} version begins with {visible(digest)}", USAGE)
        _activate(books, found[0], directory)


@command.command()
@config_options
def rollback(config: Path | None, data: Path | None) -> None:
    """Make the version that was loaded before the active one active, and pin it."""
    with _books(config, data) as (books, directory):
        versions = books.versions()
        current = next((place for place, version in enumerate(versions) if version.active), len(versions))
        if current + 1 >= len(versions):
            raise fail("there is no version before the active one")
        _activate(books, versions[current + 1], directory)


@command.command()
@config_options
def unpin(config: Path | None, data: Path | None) -> None:
    """Let the next change of the rules file become active again."""
    with _books(config, data) as (books, directory):
        books.unpin()
        _audit(directory).note("rules_unpinned")
        _tell_server(directory)
    click.echo("unpinned: the next change of the rules file becomes active")


@contextmanager
def _books(config: Path | None, data: Path | None) -> Iterator[tuple[RuleBooks, Path]]:
    directory = settings_of(config, data).data
    if not (directory / RULE_BOOKS).exists():
        raise fail(f"there is no state in {visible(str(directory))}: no server has loaded any rules there", USAGE)
    books = open_rule_books(directory / RULE_BOOKS)
    try:
        yield books, directory
    finally:
        books.close()


def _activate(books: RuleBooks, version: BookVersion, directory: Path) -> None:
    books.activate(version.digest, pinned=True)
    _audit(directory).note("rules_activated", version=version.digest, origin=version.origin, pinned=True)
    _tell_server(directory)
    click.echo(
        f"{version.digest[:_SHOWN]} ({visible(version.origin)}) is active, and pinned until: gatepost rules unpin"
    )


def _audit(directory: Path) -> AuditLog:
    return AuditLog(directory, lambda: datetime.now(UTC))


def _tell_server(directory: Path) -> None:
    """A running server looks at the pointer again; without one the next start finds it."""
    try:
        asyncio.run(ask(directory / SOCKET, {"operation": "rules"}))
    except NoServer:
        return


def _object(version: BookVersion, book: RuleBook) -> dict[str, Any]:
    return {
        "digest": version.digest,
        "loaded_at": timestamp(version.loaded_at),
        "origin": version.origin,
        "active": version.active,
        "pinned": version.pinned,
        "rule_set": book.active,
        "rules": len(book.rule_set.rules),
    }
