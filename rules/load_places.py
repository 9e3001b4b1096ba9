"""Where a warning about a rule belongs in the file, and how the rule ends."""

from __future__ import annotations

from rules.model import Rule
from rules.schema_nodes import Node, Sequence
from rules.schema_rules import PlacedRule


def stop_scope(rule: Rule) -> str | None:
    """The scope of the rule's stop, None where there is none. It is the last action by the schema."""
    if rule.actions and rule.actions[-1].type == "stop":
        return str(rule.actions[-1].parameters["scope"])
    return None


def place(placed: PlacedRule, key: str) -> Node:
    """The value of one of the rule's keys, its name where the key is absent."""
    return placed.at.get(key) or placed.at.get("name") or placed.at


def item(placed: PlacedRule, key: str, position: int) -> Node:
    """One item of a list among the rule's keys."""
    node = placed.at.get(key)
    return node.items[position] if isinstance(node, Sequence) else placed.at
