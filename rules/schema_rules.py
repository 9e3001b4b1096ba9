"""Rule sets and rules (SES: ReceiptRule; semantics.md §1 for the defaults)."""

from __future__ import annotations

from dataclasses import dataclass

from rules.captures import capturable, names_used
from rules.model import ActionSpec, Rule, RuleSet
from rules.schema_actions import read_action
from rules.schema_addresses import read_recipient
from rules.schema_conditions import read_conditions
from rules.schema_findings import nearest
from rules.schema_nodes import Mapping, Node, Scalar, shown
from rules.schema_reading import Reading

RULE_KEYS = (
    "name",
    "enabled",
    "tls_policy",
    "scan_enabled",
    "recipients",
    "when",
    "unless",
    "actions",
    "on_unknown",
    "on_failure",
    "ordered",
)
TLS_POLICIES = ("Optional", "Require")
ON_UNKNOWN = ("skip", "match", "defer")
ON_FAILURE = ("continue", "stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedRule:
    """A rule with the mapping that it was read from."""

    rule: Rule
    at: Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedRuleSet:
    name: str
    at: Node
    rules: tuple[PlacedRule, ...]

    @property
    def rule_set(self) -> RuleSet:
        return RuleSet(name=self.name, rules=tuple(placed.rule for placed in self.rules))


def read_rule_sets(reading: Reading, node: Node | None) -> tuple[PlacedRuleSet, ...]:
    """`rule_sets`: the user's name, then a list of rules."""
    read = []
    for number, (key, value) in enumerate(reading.named(node, "rule_sets"), 1):
        reading.name(key, "rule set name")
        if number == reading.limits.rule_sets + 1:
            reading.warn("ses-limit", key, f"more than {reading.limits.rule_sets} rule sets; SES allows no more")
        read.append(PlacedRuleSet(name=key.text, at=key, rules=_rules(reading, key, value)))
    return tuple(read)


def _rules(reading: Reading, key: Scalar, node: Node) -> tuple[PlacedRule, ...]:
    items = reading.items(node, f"rule set {key.text}", "default: [{name: all, actions: [...]}]")
    lines: dict[str, int] = {}
    read = []
    for number, item in enumerate(items, 1):
        if number == reading.limits.rules + 1:
            limit = reading.limits.rules
            reading.warn("ses-limit", item, f"rule set {key.text} has {len(items)} rules; SES allows {limit}")
        if not isinstance(item, Mapping):
            reading.wrong_type(item, "a rule", "a mapping, as in - name: support")
            continue
        rule = _rule(reading, item)
        at = item.get("name")
        if at is not None and rule.name and rule.name in lines:
            what = f"a rule named {shown(rule.name)} stands in line {lines[rule.name]} already; rename one of the two"
            reading.error("duplicate-rule", at, what)
        elif at is not None:
            lines[rule.name] = at.line
        read.append(PlacedRule(rule=rule, at=item))
    return tuple(read)


def _rule(reading: Reading, node: Mapping) -> Rule:
    known = {key: value for key, (_, value) in reading.entries(node, "a rule", RULE_KEYS).items()}
    if "name" not in known:
        reading.error("missing-key", node, "a rule lacks its name; add name: and a word that tells what it does")
    when = read_conditions(reading, known.get("when"), "when")
    return Rule(
        name=(reading.name(known["name"], "rule name") if "name" in known else None) or "",
        enabled=_flag(reading, known, "enabled", True),
        tls_policy=_word(reading, known, "tls_policy", TLS_POLICIES) or "Optional",
        scan_enabled=_flag(reading, known, "scan_enabled", False),
        recipients=_recipients(reading, known.get("recipients")),
        when=when,
        unless=read_conditions(reading, known.get("unless"), "unless"),
        actions=_actions(reading, known.get("actions"), capturable(when)),
        on_unknown=_word(reading, known, "on_unknown", ON_UNKNOWN),
        on_failure=_word(reading, known, "on_failure", ON_FAILURE) or "continue",
        ordered=_flag(reading, known, "ordered", False),
    )


def _flag(reading: Reading, known: dict[str, Node], key: str, default: bool) -> bool:
    flag = reading.flag(known[key], key) if key in known else None
    return default if flag is None else flag


def _word(reading: Reading, known: dict[str, Node], key: str, choices: tuple[str, ...]) -> str | None:
    return reading.word(known[key], key, choices) if key in known else None


def _recipients(reading: Reading, node: Node | None) -> tuple[str, ...]:
    """Lower case, each once; the order of the file (SES sorts them, which changes nothing)."""
    if isinstance(node, Scalar) and node.value is not None:
        reading.wrong_type(node, "recipients", f"a list; write recipients: [{node.text}]")
        return ()
    items = reading.items(node, "recipients", "recipients: [support@example.com]")
    if node is not None and len(items) > reading.limits.recipients:
        limit = reading.limits.recipients
        reading.warn("ses-limit", node, f"{len(items)} recipients in a rule; SES allows {limit}")
    read = [read_recipient(reading, item, "recipient") for item in items]
    return tuple(dict.fromkeys(pattern for pattern in read if pattern is not None))


def _actions(reading: Reading, node: Node | None, names: list[str]) -> tuple[ActionSpec, ...]:
    """`names` are those that `{match.NAME}` may use."""
    items = reading.items(node, "actions", "actions: [{disk: {path: ./mail}}]")
    if len(items) > reading.limits.actions and node is not None:
        limit = reading.limits.actions
        reading.warn("ses-limit", node, f"{len(items)} actions in a rule; SES allows {limit}")
    read = []
    for number, item in enumerate(items, 1):
        spec = read_action(reading, item)
        if spec is None:
            continue
        if spec.type == "stop" and number < len(items):
            what = "stop is not the last action of its rule; nothing behind it would run, so move it to the end"
            reading.error("stop-not-last", item, what)
        for name in sorted(names_used([spec]).difference(names)):
            expected = nearest(name, names) or f"; write (?P<{name}>...) in the pattern of one"
            what = f"{{match.{name}}}: no `matches` condition in this rule's `when` has a group of that name{expected}"
            reading.error("bad-template", item, what)
        read.append(spec)
    return tuple(read)
