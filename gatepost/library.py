"""Rule books by version: loading a file, choosing the active one, finding a message's own (semantics.md §4)."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from gatepost import built_in
from gatepost.arns import mapped, unmapped
from gatepost.plugins import Plugins, plugins_of
from gatepost.scanners import engines_of
from gatepost.settings import Settings
from gatepost.variables import unset_variables
from mail.errors import Malformed
from rules.compiled import CompiledBook, compile_book
from rules.load import Limits, Loaded, load_book, load_text
from rules.model import RuleBook, decode_book
from rules.schema_findings import Finding
from spool.ports import BookVersion, RuleBooks
from verdicts.dns_lists import parse_dns_lists

_KEPT_VERSIONS = 20
_COMPILED_VERSIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A rules file as the settings want it: `book` is None if a finding is an error. `origin` is its path, or `built-in`.

    `files` are those that it names.
    """

    origin: str
    book: RuleBook | None
    findings: tuple[Finding, ...]
    files: tuple[Path, ...] = ()


def open_rules(settings: Settings, path: Path | None = None) -> Opened:
    """The book of `path`, of the settings' rules file, or the built-in one; ARNs mapped, `${VAR}` checked."""
    path = path or settings.rules
    plugins = plugins_of(settings.plugins)
    load = partial(_load, settings, plugins)
    if path is None:
        loaded = load(load_text, built_in.TEXT.encode(), built_in.NAME, Path())
        return Opened(
            origin=built_in.NAME,
            book=None if plugins.errors else loaded.book,
            findings=_of(plugins, settings, built_in.NAME),
        )
    loaded = load(load_book, path)
    findings = (
        _of(plugins, settings, str(path)) + loaded.findings + (_variables(path) if loaded.book is not None else ())
    )
    book = loaded.book
    if book is not None:
        try:
            book = mapped(book, settings.arns)
        except Malformed as error:
            findings += (_finding(str(path), "arns", str(error)),)
    failed = any(finding.severity == "error" for finding in findings)
    return Opened(origin=str(path), book=None if failed else book, findings=findings, files=loaded.files)


def _load(settings: Settings, plugins: Plugins, load: Callable[..., Loaded], *what: Any) -> Loaded:
    return load(
        *what,
        limits=_limits(settings),
        engines=engines_of(settings).union(settings.verdicts_checks),
        dns_lists=_asked(settings),
        plugins=plugins.schemas,
    )


def _of(plugins: Plugins, settings: Settings, origin: str) -> tuple[Finding, ...]:
    """What is wrong with the plug-ins that the settings' file names; `origin` where there is none."""
    file = str(settings.files[0]) if settings.files else origin
    return tuple(_finding(file, "plugin", error) for error in plugins.errors)


def refusals(opened: Opened, *, is_loopback: bool) -> list[str]:
    """Why `serve` may not run with this book: an open relay in the making, or actions without a target (semantics.md §1)."""
    book = opened.book
    if book is None:
        return []
    reasons = unmapped(book)
    if not compile_book(book).has_domains and not is_loopback:
        reasons.append(
            "the rules name no domains, so every domain would be ours; name them in domains:, or listen on loopback only"
        )
    return reasons


class Library:
    """The versions that a spool's messages are pinned to, and the active one. Reading is cheap; only `load` touches a file."""

    def __init__(self, store: RuleBooks, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._store, self._settings, self._clock = store, settings, clock
        self._active: CompiledBook | None = None
        # Versions never change, so what is compiled stays right; the store is read once for each.
        self._kept: dict[str, CompiledBook] = {}

    def use(self, settings: Settings) -> None:
        """From now on, in `load`."""
        self._settings = settings

    def load(self, opened: Opened) -> bool:
        """Commit a version and, unless the pointer is pinned or the settings say otherwise, make it active. True: it is active."""
        book = opened.book
        if book is None:
            raise Malformed(f"{opened.origin} has errors")
        self._store.put(book.digest, book.content, opened.origin, self._clock())
        active = self._store.active()
        if active is None or (not active.pinned and self._settings.rules_on_change == "activate"):
            self._store.activate(book.digest, pinned=False)
        self._active = None
        return self.active().book.digest == book.digest

    def active(self) -> CompiledBook:
        if self._active is None:
            version = self._store.active()
            if version is None:
                raise Malformed("no rule set is active")
            self._active = self.by_digest(version.digest)
        return self._active

    def in_force(self) -> BookVersion:
        """The pointer as the store has it now: which version is active, and whether it is pinned. Raises `Malformed`."""
        version = self._store.active()
        if version is None:
            raise Malformed("no rule set is active")
        return version

    def refresh(self) -> None:
        """Look at the pointer again: a command may have moved it."""
        self._active = None

    async def follow(self) -> None:
        """As `refresh`, under sessions: a version that is new here is compiled beside them, for a large one takes a while."""
        version = self._store.active()
        if version is not None and version.digest not in self._kept:
            content = self._store.content(version.digest)
            self._keep(version.digest, await asyncio.to_thread(_compiled, content))
        self._active = None

    @property
    def is_crowded(self) -> bool:
        """Whether there is anything that `forget` could delete."""
        return len(self._store.versions()) > _KEPT_VERSIONS

    def forget(self, referred: frozenset[str]) -> int:
        """Delete versions that no message refers to; the newest stay, for sessions that are pinned to them and for `rollback`."""
        newest = (version.digest for version in self._store.versions()[:_KEPT_VERSIONS])
        return self._store.forget(referred.union(newest))

    def by_digest(self, digest: str) -> CompiledBook:
        """Raises `spool.ports.NotFound` for a version that is not kept any more."""
        found = self._kept.get(digest)
        return self._keep(digest, _compiled(self._store.content(digest))) if found is None else found

    def _keep(self, digest: str, book: CompiledBook) -> CompiledBook:
        if len(self._kept) >= _COMPILED_VERSIONS:
            del self._kept[next(iter(self._kept))]
        self._kept[digest] = book
        return book


def _compiled(content: bytes) -> CompiledBook:
    return compile_book(decode_book(content))


def _asked(settings: Settings) -> frozenset[str]:
    """The DNS lists whose answers a rule may ask for."""
    return frozenset(dns_list.zone for dns_list in parse_dns_lists(settings.dnsbl_lists))


def _limits(settings: Settings) -> Limits:
    return Limits(
        rules=settings.limits_rules,
        actions=settings.limits_actions,
        recipients=settings.limits_recipients,
        filters=settings.limits_filters,
        rule_sets=settings.limits_rule_sets,
    )


def _variables(path: Path) -> tuple[Finding, ...]:
    return unset_variables(path.read_text(encoding="utf-8-sig"), str(path), os.environ)


def _finding(origin: str, code: str, message: str) -> Finding:
    return Finding(severity="error", code=code, file=origin, line=1, column=1, message=message)
