"""What is wrong, or doubtful, in a rules file: all of it at once, each with its place and the word that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, replace

from rules.schema_nodes import Node, printable

MAX_FINDINGS = 1_000  # more would not be read, and a hostile file must not fill the memory with them
_MAX_CHOICES = 500  # nearest words are looked for among this many at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`severity` is error or warning; `code` a stable word such as `unknown-key`; `line` and `column` count from 1."""

    severity: str
    code: str
    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}"


class TooManyErrors(Exception):
    """`MAX_FINDINGS` errors have been reported."""


class _Found:
    """What has been found so far, shared by the views of one load."""

    def __init__(self, *, ends: bool) -> None:
        self.ends = ends
        self.findings: dict[Finding, None] = {}
        self.errors = 0
        self.dropped = 0


class Report:
    """The findings of one load, seen from one of its files. The same finding twice (an alias) is kept once.

    With `ends`, the error that would be one too many is raised as `TooManyErrors`; without, it is dropped.
    """

    def __init__(self, file: str, found: _Found | None = None, *, ends: bool = False) -> None:
        self.file = file
        self._found = found or _Found(ends=ends)

    def within(self, file: str) -> Report:
        """The same findings, seen from a file that this one names."""
        return Report(printable(file), self._found)

    @property
    def has_errors(self) -> bool:
        return self._found.errors > 0

    def error(self, code: str, at: Node, message: str) -> None:
        self.add(self._finding("error", code, at, message))

    def warn(self, code: str, at: Node, message: str) -> None:
        self.add(self._finding("warning", code, at, message))

    def _finding(self, severity: str, code: str, at: Node, message: str) -> Finding:
        # Readers show values cut and escaped already; names inside a sentence are caught here.
        sentence = printable(message)
        return Finding(severity=severity, code=code, file=self.file, line=at.line, column=at.column, message=sentence)

    def add(self, finding: Finding) -> None:
        """Warnings beyond the bound are counted only, errors as the class says."""
        found = self._found
        if finding in found.findings:
            return
        if finding.severity == "error":
            if found.errors == MAX_FINDINGS and found.ends:
                raise TooManyErrors
            if found.errors == MAX_FINDINGS:
                return
            found.errors += 1
        elif len(found.findings) - found.errors >= MAX_FINDINGS:
            found.dropped += 1
            return
        found.findings[finding] = None

    def findings(self) -> tuple[Finding, ...]:
        """Sorted by file (this one first), line and column."""
        found = self._found
        order = sorted(found.findings, key=lambda one: (one.file != self.file, one.file, one.line, one.column))
        if found.errors == MAX_FINDINGS:
            what = f"reading stopped after {MAX_FINDINGS:,} errors; mend these first"
            order.append(replace(order[-1], severity="error", code="too-many-findings", message=what))
        elif found.dropped:
            what = f"and {found.dropped:,} more warnings that are not shown"
            order.append(replace(order[-1], severity="warning", code="too-many-findings", message=what))
        return tuple(order)


def nearest(word: str, choices: Collection[str]) -> str:
    """`; did you mean "recipients"?`, or nothing where no choice is near."""
    if len(word) > 64 or len(choices) > _MAX_CHOICES:
        return ""
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), by_lower, n=1, cutoff=0.6)
    if not close:
        close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f'; did you mean "{by_lower[close[0]]}"?' if close else ""


def one_of(choices: Collection[str]) -> str:
    """`a, b or c`."""
    words = list(choices)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
