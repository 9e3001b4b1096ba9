"""How typed values are read from the tree: each reader reports what is wrong and returns None, and reading goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mail.verdict import CHECKS
from rules.patterns import pattern_error
from rules.schema_findings import Report, nearest, one_of
from rules.schema_nodes import Mapping, Node, Scalar, Sequence, kind, shown

_TRUTH_WORDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\Z")
NAME_CHARACTERS = 64  # SES: rule, rule set and filter names
_DURATION = re.compile(r"([0-9]{1,9})(s|m|h|d)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_OCTETS = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s?([a-z]*)\Z", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From how many on a warning is given (SES: service quotas for email receiving)."""

    rules: int = 200  # in a rule set
    actions: int = 10  # in a rule
    recipients: int = 100  # in a rule
    filters: int = 100
    rule_sets: int = 40


SES_LIMITS = Limits()


@dataclass(kw_only=True)
class Reading:
    """One load under way: where findings go, and what the rest of the file and the settings say.

    `engines` are the verdicts that somebody gives: checks that are made, scans with a configured engine; `dns_lists` are the DNS
    lists that are asked (None: any), `plugins` further actions (`ActionSchema`) by word. `check_pattern` says what is wrong with an
    RE2 pattern, None if nothing. `domains` is empty where the file has none: then nothing is outside. `files` are those that the
    file named so far.
    """

    report: Report
    base: Path
    check_pattern: Callable[[str], str | None] = pattern_error
    limits: Limits = SES_LIMITS
    engines: frozenset[str] = frozenset(CHECKS)
    dns_lists: frozenset[str] | None = None
    plugins: Dictionary[str, Any] = field(default_factory=dict)
    from_ses: bool = False
    domains: tuple[str, ...] = ()
    domain_set: frozenset[str] = frozenset()
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    topics: frozenset[str] = frozenset()
    files: list[Path] = field(default_factory=list)

    def error(self, code: str, at: Node, message: str) -> None:
        self.report.error(code, at, message)

    def warn(self, code: str, at: Node, message: str) -> None:
        self.report.warn(code, at, message)

    def wrong_type(self, node: Node, what: str, expected: str) -> None:
        self.error("wrong-type", node, f"{what} is {kind(node)}; expected {expected}")

    def entries(self, node: Node | None, what: str, keys: Collection[str]) -> dict[str, tuple[Scalar, Node]]:
        """The known keys of a mapping, in the order of the file; {} where it is absent, null or something else."""
        if node is None:
            return {}
        if not isinstance(node, Mapping):
            self.wrong_type(node, what, f"a mapping with {one_of(sorted(keys))}")
            return {}
        known = {}
        for name, entry in node.entries.items():
            if name in keys:
                known[name] = entry
                continue
            expected = f"expected {one_of(sorted(keys))}"
            self.error("unknown-key", entry[0], f"unknown key {shown(name)} in {what}; {expected}{nearest(name, keys)}")
        return known

    def named(self, node: Node | None, what: str) -> Iterator[tuple[Scalar, Node]]:
        """The entries of a mapping whose keys are the user's own names."""
        if isinstance(node, Mapping):
            yield from node.entries.values()
        elif node is not None:
            self.wrong_type(node, what, "a mapping of names")

    def items(self, node: Node | None, what: str, example: str) -> list[Node]:
        if node is None:
            return []
        if isinstance(node, Sequence):
            return node.items
        self.wrong_type(node, what, f"a list, as in {example}")
        return []

    def one_or_more(self, node: Node, what: str, expected: str) -> list[Node]:
        """A word, or a list of words with at least one in it."""
        if not isinstance(node, Sequence):
            return [node]
        if not node.items:
            self.error("empty-list", node, f"{what} is an empty list; expected {expected}")
        return node.items

    def text(self, node: Node, what: str, *, empty: bool = False) -> str | None:
        """Text; an unquoted number or truth value is the text that stands there."""
        if not isinstance(node, Scalar) or (node.value is None and not node.quoted):
            self.wrong_type(node, what, "text")
            return None
        if not node.text and not empty:
            self.error("empty-text", node, f"{what} is empty; expected text")
            return None
        return node.text

    def word(self, node: Node, what: str, choices: Collection[str]) -> str | None:
        """One of `choices`, read case-insensitively and returned as the table writes it."""
        if isinstance(node, Scalar):
            for choice in choices:
                if choice.lower() == node.text.lower():
                    return choice
            near = nearest(node.text, choices)
        else:
            near = ""
        self.error("wrong-word", node, f"{what} is {kind(node)}; expected {one_of(choices)}{near}")
        return None

    def flag(self, node: Node, what: str) -> bool | None:
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        near = _TRUTH_WORDS.get(node.text.lower()) if isinstance(node, Scalar) else None
        if near is None and isinstance(node, Scalar) and node.text.lower() in ("true", "false"):
            near = node.text.lower()
        write = f"; write {near}, without quotes" if near else ""
        self.wrong_type(node, what, f"true or false{write}")
        return None

    def name(self, node: Node, what: str) -> str | None:
        """A rule set's, rule's or filter's name (SES: 1 to 64 of A-Z a-z 0-9 _ . -, a letter or digit at both ends)."""
        text = self.text(node, what)
        if text is None:
            return None
        if not _NAME.match(text) or len(text) > NAME_CHARACTERS:
            rule = f"1 to {NAME_CHARACTERS} of A-Z a-z 0-9 _ . - with a letter or digit at both ends"
            self.error("bad-name", node, f"{what} {shown(text)} is not a name; expected {rule}")
        return text

    def duration(self, node: Node, what: str, *, most_days: int) -> int | None:
        """A duration in seconds, from `90s`, `30m`, `4h` or `2d`."""
        text = node.text if isinstance(node, Scalar) else ""
        found = _DURATION.match(text)
        if not found:
            self.error("bad-duration", node, f"{what} is {kind(node)}; expected a number with s, m, h or d, as in 4h")
            return None
        seconds = int(found.group(1)) * _SECONDS[found.group(2)]
        if not 1 <= seconds <= most_days * 86_400:
            self.error("bad-duration", node, f"{what} is {text}; expected 1s to {most_days}d")
            return None
        return seconds

    def octets(self, node: Node, what: str) -> int | None:
        """A size in octets, from `5MB` (10^6), `5MiB` (2^20) or a plain number."""
        found = _OCTETS.match(node.text) if isinstance(node, Scalar) else None
        unit = _SIZE_UNITS.get(found.group(2).lower()) if found else None
        if not found or unit is None:
            expected = "a size such as 500KB, 5MB (10^6) or 5MiB (2^20)"
            self.error("bad-size", node, f"{what} is {kind(node)}; expected {expected}")
            return None
        whole, _, fraction = found.group(1).partition(".")
        return int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)

    def count(self, node: Node, what: str) -> int | None:
        if isinstance(node, Scalar) and type(node.value) is int and node.value >= 0:
            return node.value
        self.wrong_type(node, what, "a whole number")
        return None
