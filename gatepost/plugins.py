"""Loads the plug-ins that the settings name, and no others (`actions.plugin`)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec

from actions.plugin import GROUP, ActionPlugin
from rules.schema_actions import ACTIONS, COMMON, ActionSchema, Field
from rules.schema_fields import Reader
from rules.schema_findings import TooManyErrors, nearest
from rules.schema_nodes import Node
from rules.schema_reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugins:
    """By the word in the rules. `errors` say which could not be had, and why."""

    actions: Mapping[str, ActionPlugin]
    errors: tuple[str, ...] = ()

    @property
    def schemas(self) -> dict[str, ActionSchema]:
        return {word: plugin.schema for word, plugin in self.actions.items()}


@lru_cache(maxsize=8)
def plugins_of(words: tuple[str, ...]) -> Plugins:
    """Imported once; a changed distribution needs a restart."""
    actions: dict[str, ActionPlugin] = {}
    errors: list[str] = []
    for word in dict.fromkeys(words):
        try:
            actions[word] = _guarded(word, _loaded(word))
        except _Unusable as error:
            errors.append(f"plugins: {word}: {error}")
    return Plugins(actions=actions, errors=tuple(errors))


class _Unusable(Exception):
    """The text says why a plug-in cannot be used."""


def _loaded(word: str) -> ActionPlugin:
    if word in ACTIONS:
        raise _Unusable("is an action of Gatepost's own")
    offered = [*entry_points(group=GROUP, name=word)]
    if not offered:
        names = sorted({each.name for each in entry_points(group=GROUP)})
        raise _Unusable(f"no installed distribution offers it{nearest(word, names) or _offered(names)}")
    if len({each.value for each in offered}) > 1:
        raise _Unusable(f"several distributions offer it: {', '.join(sorted(map(_place, offered)))}")
    try:
        found = offered[0].load()
    except Exception as error:
        # It is another's code that is run here for the first time: whatever it raises says that it cannot be used.
        raise _Unusable(f"{_place(offered[0])} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, ActionPlugin):
        raise _Unusable(f"{_place(offered[0])} is no ActionPlugin but {type(found).__name__}")
    return found


def _offered(names: list[str]) -> str:
    return f"; there are {', '.join(names)}" if names else ""


def _place(offered: EntryPoint) -> str:
    return offered.value if offered.dist is None else f"{offered.value} of {offered.dist.name}"


def _guarded(word: str, plugin: ActionPlugin) -> ActionPlugin:
    schema = plugin.schema
    taken = sorted(schema.fields.keys() & COMMON.keys()) if schema.retries else []
    if taken:
        raise _Unusable(f"its field {taken[0]} is one that every action has")
    fields = {name: _guarded_field(word, field) for name, field in schema.fields.items()}
    return replace(plugin, schema=replace(schema, fields=fields, ses=None, available=True))


def _guarded_field(word: str, field: Field) -> Field:
    return replace(field, read=partial(_read, word, field.read))


def _read(word: str, read: Reader, reading: Reading, node: Node, what: str) -> Any:
    """What the plug-in's reader returns; its failure is a finding where it failed."""
    try:
        found = read(reading, node, what)
        msgspec.json.encode(found)
    except TooManyErrors:
        raise
    except Exception as error:
        reading.error("plugin-failed", node, f"{what}: the plug-in {word} failed: {type(error).__name__}: {error}")
        return None
    return found
