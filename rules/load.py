"""A rules file as a rule book, or everything that is wrong with it.

*Standards.* YAML 1.2 (`rules.load_yaml`); SES's JSON, recognised by its first character (`rules.schema_ses`).
*Trust.* The author is trusted to decide, not to be right, and the file may come from elsewhere: every bound is a finding.
*Failure.* All findings at once; no exception for anything that a file can hold or be.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Dictionary
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mail.verdict import CHECKS
from rules.load_json import parse_json
from rules.load_lint import lint
from rules.load_lists import read_bounded
from rules.load_yaml import end_of, has_control_character, parse_yaml
from rules.model import RuleBook
from rules.patterns import pattern_error
from rules.schema_actions import ActionSchema
from rules.schema_book import read_book
from rules.schema_findings import Finding, Report, TooManyErrors
from rules.schema_nodes import TOP, Mapping, Node
from rules.schema_reading import SES_LIMITS, Limits, Reading
from rules.schema_ses import from_ses, is_ses

MAX_BOOK_OCTETS = 4 * 2**20
NO_PLUGINS: Dictionary[str, ActionSchema] = {}


__all__ = ["MAX_BOOK_OCTETS", "SES_LIMITS", "Finding", "Limits", "Loaded", "load_book", "load_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """`book` is None exactly if there is an error among the findings; `files` are those that the rules file names."""

    book: RuleBook | None
    findings: tuple[Finding, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "warning")


def load_book(
    path: Path,
    *,
    limits: Limits = SES_LIMITS,
    engines: frozenset[str] = frozenset(CHECKS),
    dns_lists: frozenset[str] | None = None,
    plugins: Dictionary[str, ActionSchema] = NO_PLUGINS,
    check_pattern: Callable[[str], str | None] = pattern_error,
) -> Loaded:
    """The book of a YAML or SES JSON file, with the lists that it names; `engines` and what follows as in `Reading`."""
    content = read_bounded(path, MAX_BOOK_OCTETS)
    if isinstance(content, str):
        report = Report(str(path))
        report.error("unreadable-file", TOP, f"the rules file {content}")
        return Loaded(book=None, findings=report.findings())
    return load_text(
        content,
        str(path),
        path.parent,
        limits=limits,
        engines=engines,
        dns_lists=dns_lists,
        plugins=plugins,
        check_pattern=check_pattern,
    )


def load_text(
    content: bytes,
    name: str,
    base: Path,
    *,
    limits: Limits = SES_LIMITS,
    engines: frozenset[str] = frozenset(CHECKS),
    dns_lists: frozenset[str] | None = None,
    plugins: Dictionary[str, ActionSchema] = NO_PLUGINS,
    check_pattern: Callable[[str], str | None] = pattern_error,
) -> Loaded:
    """As `load_book`; `name` stands in the findings, files are looked for under `base`."""
    report = Report(name, ends=True)
    reading = Reading(
        report=report,
        base=base,
        limits=limits,
        engines=engines,
        dns_lists=dns_lists,
        plugins=plugins,
        check_pattern=check_pattern,
    )
    book = None
    with suppress(TooManyErrors):
        book = _book(reading, content)
    return Loaded(book=None if report.has_errors else book, findings=report.findings(), files=tuple(reading.files))


def _book(reading: Reading, content: bytes) -> RuleBook | None:
    root = _tree(reading, content)
    if root is None:
        return None
    book, placed = read_book(reading, root)
    if not reading.report.has_errors:
        lint(reading.report, book, placed, root)
    return book


def _tree(reading: Reading, content: bytes) -> Node | None:
    report = reading.report
    text = _decoded(report, content)
    if text is None:
        return None
    if not text.lstrip().startswith("{"):
        root = parse_yaml(text, report)
        if root is None and not report.has_errors:
            report.error("empty-file", TOP, "the rules file is empty; expected rule_sets and in it the rules")
        return root
    root = parse_json(text, report)
    if isinstance(root, Mapping) and is_ses(root):
        reading.from_ses = True
        return from_ses(reading, root)
    return root


def _decoded(report: Report, content: bytes) -> str | None:
    if len(content) > MAX_BOOK_OCTETS:
        report.error("unreadable-file", TOP, f"the rules file is larger than {MAX_BOOK_OCTETS // 2**20} MiB")
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        report.error("not-utf8", end_of(before), "the file is not UTF-8 here; save it as UTF-8")
        return None
    return None if has_control_character(text, report) else text
