"""YAML text as a tree with places, read as YAML 1.2 and no further.

*Standards.* YAML 1.2.2 §10.3 (core schema): only true and false are truth values, `yes`, `no`, `on`, `off`, `1:30` and dates are
text, `0o17` is octal and `017` is seventeen. No tags, no merge keys, one document.
*Trust.* The file may be hostile: its size is bounded by the caller, its depth and its nodes here, every use of an alias counting
as all that it stands for; nothing is constructed but text, numbers and truth values.
*Failure.* Findings, never an exception. libyaml stops at the first syntax error, so there is one of those at most.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

import yaml

from rules.load_syntax import explain
from rules.schema_findings import Report
from rules.schema_nodes import Mapping, Node, Scalar, Sequence, shown, shown_plain

MAX_DEPTH = 40
MAX_NODES = 1_000_000  # after aliases; a book of 10,000 rules has about 400,000

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_INTEGER = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_MAYBE_NUMBER = frozenset("0123456789+-.")
_LONGEST_NUMBER = 18  # more digits are an identifier, and no number that a rule could mean


class _Stop(Exception):
    """The file cannot be read any further."""


class _Open:
    """A list or mapping whose end has not been read yet."""

    __slots__ = ("anchor", "column", "entries", "items", "key", "line", "nodes")

    def __init__(self, event: yaml.CollectionStartEvent, is_mapping: bool, nodes: int) -> None:
        self.line, self.column = _place(event)
        self.anchor = event.anchor
        self.items: list[Node] = []
        self.entries: dict[str, tuple[Scalar, Node]] | None = {} if is_mapping else None
        self.key: Node | None = None
        self.nodes = nodes

    def closed(self) -> Node:
        if self.entries is None:
            return Sequence(self.items, self.line, self.column)
        return Mapping(self.entries, self.line, self.column)


class _Builder:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._nodes = 0
        self.root: Node | None = None

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._count(event, 1)
            self._refuse_tag(event)
            self._put(self._remember(event.anchor, _scalar(event), 1))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._count(event, 1)
            self._refuse_tag(event)
            if len(self._stack) >= MAX_DEPTH:
                self._give_up("too-deep", event, f"nested deeper than {MAX_DEPTH} levels")
            self._stack.append(_Open(event, isinstance(event, yaml.MappingStartEvent), self._nodes))
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._stack.pop()
            self._put(self._remember(done.anchor, done.closed(), self._nodes - done.nodes + 1))
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            self._give_up("second-document", event, 'a second document begins here; remove the "---" and what follows')

    def _put(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        if parent.entries is None:
            parent.items.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            self._put_entry(parent.entries, parent.key, node)
            parent.key = None

    def _put_entry(self, entries: dict[str, tuple[Scalar, Node]], key: Node, value: Node) -> None:
        if not isinstance(key, Scalar):
            self._report.error("bad-key", key, "a list or mapping stands where a key is expected; is a quote missing?")
        elif key.text == "<<" and not key.quoted:
            self._report.error("merge-key", key, 'merge keys ("<<") are not part of YAML 1.2; write the keys out')
        elif key.text in entries:
            first = entries[key.text][0].line
            what = f"duplicate key {shown(key.text)}; it stands in line {first} already, keep one of the two"
            self._report.error("duplicate-key", key, what)
        else:
            entries[key.text] = (key, value)

    def _alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor or ""
        known = self._anchors.get(name)
        if known is None:
            anchor = shown_plain(name)
            what = f'"*{anchor}" is a YAML alias and nothing above is marked "&{anchor}"; if it is text, write it in quotes'
            self._give_up("unknown-alias", event, what)
        self._count(event, known[1])
        self._put(known[0])

    def _remember(self, anchor: str | None, node: Node, nodes: int) -> Node:
        if anchor is not None:
            self._anchors[anchor] = (node, nodes)
        return node

    def _count(self, event: yaml.NodeEvent, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._give_up(
                "too-many-values", event, f"the file stands for more than {MAX_NODES:,} values; use fewer aliases"
            )

    def _refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._report.error("tag", _at(event), f"the YAML tag {shown(tag)} is not supported; remove it")

    def _give_up(self, code: str, event: yaml.Event, message: str) -> NoReturn:
        self._report.error(code, _at(event), message)
        raise _Stop


def _place(event: yaml.Event) -> tuple[int, int]:
    mark: Any = event.start_mark
    return mark.line + 1, mark.column + 1


def _at(event: yaml.Event) -> Scalar:
    return Scalar(None, "", False, *_place(event))


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    text = event.value
    if event.implicit[0] and not event.style:
        return Scalar(plain_value(text), text, False, *_place(event))
    return Scalar(text, text, True, *_place(event))


def plain_value(text: str) -> str | int | float | bool | None:
    """An unquoted scalar by YAML 1.2's core schema, but for `.inf` and `.nan`, which no rule can mean."""
    if text in _WORDS:
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if text[0] not in _MAYBE_NUMBER or len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.match(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.match(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def has_control_character(text: str, report: Report) -> bool:
    """Whether a character stands in it that no YAML or JSON text may hold; the first one is reported."""
    found = _UNPRINTABLE.search(text)
    if found:
        what = f"control character U+{ord(found.group()):04X}; remove it, or write it as an escape in double quotes"
        report.error("control-character", end_of(text[: found.start()]), what)
    return found is not None


def end_of(text: str) -> Scalar:
    """The place behind `text`, for a report."""
    return Scalar(None, "", False, text.count("\n") + 1, len(text) - text.rfind("\n"))


def parse_yaml(text: str, report: Report) -> Node | None:
    """The one document of `text`; None if it is empty or if nothing could be made of it."""
    # libyaml's reader would raise for these without a place, and for surrogates (from the environment) anything at all.
    if has_control_character(text, report):
        return None
    builder = _Builder(report)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        begun: Any = error.context_mark or mark
        report.add(
            explain(text, report.file, error.problem or "", (mark.line, mark.column), (begun.line, begun.column))
        )
        return None
    except _Stop:
        return None
    return builder.root
