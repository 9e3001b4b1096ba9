"""SES's own JSON as the tree of a rules file: `aws ses describe-receipt-rule-set` and `describe-active-receipt-rule-set`.

The keys are renamed and the API's defaults written out (SES: ReceiptRule: `Enabled` is false where it is absent); everything
else is read by the one schema, so a rule means the same in both forms.
"""

from __future__ import annotations

import re

from rules.schema_actions import ACTIONS
from rules.schema_nodes import Mapping, Node, Scalar, Sequence
from rules.schema_reading import Reading
from rules.schema_rules import RULE_KEYS

_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ACTIONS = {schema.ses: name for name, schema in ACTIONS.items() if schema.ses is not None}
_KEYS = {*RULE_KEYS, *(name for schema in ACTIONS.values() for name in schema.fields)}
_RESPONSE = ("Metadata", "Rules", "ResponseMetadata")


def is_ses(root: Node) -> bool:
    """Whether this is what SES prints, and not a rules file that happens to be JSON."""
    return isinstance(root, Mapping) and not ({"rule_sets", "version"} & root.entries.keys())


def from_ses(reading: Reading, root: Mapping) -> Node | None:
    """The tree of a rules file with this one rule set, active."""
    if "Rules" not in root.entries:
        what = "there are no Rules here; expected the output of aws ses describe-active-receipt-rule-set"
        if not root.entries:
            what = "the output is empty: no receipt rule set was active when it was written"
        reading.error("no-rules", root, what)
        return None
    known = reading.entries(root, "the rule set", _RESPONSE)
    key, rules = known["Rules"]
    metadata = known["Metadata"][1] if "Metadata" in known else None
    given = metadata.get("Name") if isinstance(metadata, Mapping) else None
    name = given if isinstance(given, Scalar) else Scalar("default", "default", True, root.line, root.column)
    if isinstance(rules, Sequence):
        rules = Sequence([_rule(rule) for rule in rules.items], rules.line, rules.column)
    rule_sets = Mapping({name.text: (name, rules)}, key.line, key.column)
    rule_sets_key = Scalar("rule_sets", "rule_sets", True, key.line, key.column)
    return Mapping({"rule_sets": (rule_sets_key, rule_sets)}, root.line, root.column)


def _rule(node: Node) -> Node:
    rule = _renamed(node)
    if not isinstance(rule, Mapping):
        return rule
    if "enabled" not in rule.entries:
        key = Scalar("enabled", "enabled", True, node.line, node.column)
        rule.entries["enabled"] = (key, Scalar(False, "false", False, node.line, node.column))
    actions = rule.get("actions")
    if isinstance(actions, Sequence):
        renamed = Sequence([_action(action) for action in actions.items], actions.line, actions.column)
        rule.entries["actions"] = (rule.entries["actions"][0], renamed)
    return rule


def _action(node: Node) -> Node:
    if not isinstance(node, Mapping):
        return node
    entries = {}
    for name, (key, value) in node.entries.items():
        word = _ACTIONS.get(name, name)
        entries[word] = (Scalar(word, word, True, key.line, key.column), _renamed(value))
    return Mapping(entries, node.line, node.column)


def _renamed(node: Node) -> Node:
    """The mapping with its own keys in snake_case; a key of its values is left alone."""
    if not isinstance(node, Mapping):
        return node
    entries = {}
    for name, (key, value) in node.entries.items():
        word = _WORD_BREAK.sub("_", name).lower()
        word = word if word in _KEYS else name
        entries[word] = (Scalar(word, word, True, key.line, key.column), value)
    return Mapping(entries, node.line, node.column)
