"""Exceptions that anybody can claim: an `unless` on a rule that refuses, or a stop before one, which rest on forgeable text.

What a sender writes (From, any header field, HELO, the reverse-path) proves nothing by itself. In one item with a condition that
does prove something it is harmless (semantics.md §2: authenticated_domain is the only sender fact that a bypass should rest on).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rules.load_places import item, place, stop_scope
from rules.model import Condition
from rules.schema_findings import Report
from rules.schema_nodes import Node, shown
from rules.schema_rules import PlacedRule

_FORGEABLE = frozenset({"from", "sender", "reply_to", "mail_from", "header", "helo"})
_AUTHENTICATING = frozenset(
    {"authenticated_domain", "from_domain_aligned", "spf_domain", "dkim_domain", "source_ip", "reverse_dns"}
)
_GUARDS = frozenset({"bounce", "drop"})


def warn_of_bypasses(report: Report, rules: list[PlacedRule]) -> None:
    """A bypass that anybody can claim: `unless: [{from: ...}]` on a refusing rule, or a stop before one."""
    guarded = False
    found = []
    for placed in reversed(rules):
        rule = placed.rule
        refuses = any(spec.type in _GUARDS for spec in rule.actions)
        if refuses:
            for position, condition in enumerate(rule.unless):
                name = _forged_by(_as_item(condition))
                if name:
                    found.append((item(placed, "unless", position), name, f"get around rule {rule.name}"))
        elif guarded and stop_scope(rule):
            found += _forgeable_stop(placed)
        guarded = guarded or refuses
    for at, name, deed in reversed(found):
        what = f"anybody can forge {shown(name)} and {deed}; rest the exception on authenticated_domain, or add it to this item"
        report.warn("forgeable-bypass", at, what)


def _forgeable_stop(placed: PlacedRule) -> list[tuple[Node, str, str]]:
    name = _forged_by({"name": "all", "value": [_as_item(condition) for condition in placed.rule.when]})
    if not name:
        return []
    return [(place(placed, "when"), name, f"skip the rules behind {placed.rule.name}, which refuse mail")]


def _as_item(condition: Condition) -> Mapping[str, Any]:
    return {"name": condition.name, "value": condition.value}


def _forged_by(condition: Mapping[str, Any]) -> str | None:
    """The forgeable condition on which this one rests alone, None where something authenticated must hold as well."""
    name, value = condition["name"], condition["value"]
    if name == "all":
        if any(_authenticates(nested) for nested in value):
            return None
        return next((forged for forged in map(_forged_by, value) if forged), None)
    if name == "any":
        return next((forged for forged in map(_forged_by, value) if forged), None)
    if name not in _FORGEABLE:
        return None
    claims = value["exists"] if "exists" in value else value["op"] != "not_equals" and value["values"] != [""]
    return str(name) if claims else None


def _authenticates(condition: Mapping[str, Any]) -> bool:
    name, value = condition["name"], condition["value"]
    if name in _AUTHENTICATING:
        return True
    if name in ("spf", "dkim", "dmarc", "arc"):
        return value.get("status") == ["PASS"] or value.get("result") == ["pass"] or value.get("trusted") is True
    if name == "any":
        return all(_authenticates(nested) for nested in value)
    return name == "all" and any(_authenticates(nested) for nested in value)
