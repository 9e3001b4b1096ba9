"""What is wrong, or doubtful, in a rules file: all of it at once, each with its place and the word that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, replace

from rules.schema_nodes import Node

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


class Report:
    """The findings of one load, in the order of the file. The same finding twice (an alias) is kept once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[Finding, None] = {}
        self._dropped = 0
        self.has_errors = False

    def error(self, code: str, at: Node, message: str) -> None:
        self.add(Finding(severity="error", code=code, file=self.file, line=at.line, column=at.column, message=message))

    def warn(self, code: str, at: Node, message: str) -> None:
        found = Finding(severity="warning", code=code, file=self.file, line=at.line, column=at.column, message=message)
        self.add(found)

    def add(self, finding: Finding) -> None:
        self.has_errors = self.has_errors or finding.severity == "error"
        if len(self._found) < MAX_FINDINGS:
            self._found[finding] = None
        elif finding not in self._found:
            self._dropped += 1

    def findings(self) -> tuple[Finding, ...]:
        """Sorted by file (the rules file first), line and column."""
        order = sorted(self._found, key=lambda found: (found.file != self.file, found.file, found.line, found.column))
        if self._dropped:
            severity = "error" if self.has_errors else "warning"
            rest = f"and {self._dropped} more findings that are not shown; mend these first"
            order.append(replace(order[-1], severity=severity, code="too-many-findings", message=rest))
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
