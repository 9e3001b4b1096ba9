"""What the named groups of a rule's `matches` conditions found, for `{match.NAME}` in templates of object keys.

A name stands for what the first pattern of `when` that has it and is found captured, nested `all` and `any` included. Patterns of
`unless` and `not` capture nothing: they hold where nothing was found.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mail.address import Mailbox
from rules.conditions_strings import SOURCES, Source, header_texts
from rules.facts import Facts
from rules.model import ActionSpec, Condition
from rules.object_keys import match_names
from rules.patterns import Captured, compile_captures, group_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One pattern with groups, and where it is looked for."""

    source: Source
    find: Captured


def capturable(conditions: Iterable[Condition]) -> list[str]:
    """The names that a template of their rule may use. A pattern that RE2 refuses has none."""
    return sorted({name for _, pattern in _patterns(conditions) for name in group_names(pattern)})


def names_used(actions: Iterable[ActionSpec]) -> frozenset[str]:
    """The names that templates of these actions use."""
    used: set[str] = set()
    for spec in actions:
        for text in _templates(spec):
            used |= match_names(text)
    return frozenset(used)


def captures_of(conditions: Iterable[Condition], actions: Iterable[ActionSpec]) -> tuple[Capture, ...]:
    """What must be looked for: nothing where no template asks."""
    used = names_used(actions)
    return tuple(
        Capture(source=source, find=compile_captures(pattern))
        for source, pattern in _patterns(conditions)
        if used.intersection(group_names(pattern))
    )


def captured(captures: Iterable[Capture], facts: Facts, mailbox: Mailbox | None) -> dict[str, str]:
    """Name to text, for this recipient."""
    found: dict[str, str] = {}
    for capture in captures:
        for text in capture.source(facts, mailbox).texts:
            groups = capture.find(text.shown)
            if groups is not None:
                found = {**groups, **found}
                break
    return found


def _templates(spec: ActionSpec) -> Iterator[str]:
    yield str(spec.parameters.get("object_key_prefix") or "")
    metadata = spec.parameters.get("metadata")
    if isinstance(metadata, Mapping):
        yield from map(str, metadata.values())


def _patterns(conditions: Iterable[Condition]) -> Iterator[tuple[Source, str]]:
    for condition in conditions:
        yield from _patterns_in(condition.name, condition.value)


def _patterns_in(name: str, value: Any) -> Iterator[tuple[Source, str]]:
    if name in ("all", "any"):
        for one in value:
            yield from _patterns_in(one["name"], one["value"])
    elif isinstance(value, Mapping) and value.get("op") == "matches":
        source = header_texts(value["name"]) if name == "header" else SOURCES.get(name)
        if source is not None:
            yield from ((source, pattern) for pattern in value["values"])
