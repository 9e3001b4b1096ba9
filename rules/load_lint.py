"""What is allowed in a rules file and probably not meant. Warnings only, each from a fact about the rules as they stand.

Every check walks the rules once, or once from behind, and asks sets: nothing compares rule with rule. Recipients cover each
other as SES matches them (SES: recipient conditions): a domain its addresses, `.example.com` what is below it, `user` its labels,
and a rule without recipients everything, written "" here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rules.model import Rule, RuleBook
from rules.schema_actions import ACTIONS
from rules.schema_findings import Report, one_of
from rules.schema_nodes import TOP, Node, Scalar, Sequence
from rules.schema_nodes import Mapping as MapNode
from rules.schema_rules import PlacedRule, PlacedRuleSet

EVERYONE = ""
_FORGEABLE = frozenset({"from", "sender", "reply_to", "mail_from", "header", "helo"})
_AUTHENTICATING = frozenset(
    {"authenticated_domain", "from_domain_aligned", "spf_domain", "dkim_domain", "source_ip", "reverse_dns"}
)
_GUARDS = frozenset({"bounce", "drop"})
_NESTING = frozenset({"all", "any"})


def lint(report: Report, book: RuleBook, placed: tuple[PlacedRuleSet, ...], root: Node) -> None:
    """Of a book without errors. Postmaster and unhandled mail are asked of the active rule set only."""
    for rule_set in placed:
        rules = [rule for rule in rule_set.rules if rule.rule.enabled]
        _unreachable(report, book, rules)
        _starving(report, rules)
        _forgeable(report, rules)
        if rule_set.name == book.active:
            if not rules:
                report.warn(
                    "empty-rule-set", rule_set.at, "the active rule set has no enabled rule: every recipient is refused"
                )
                continue
            _unhandled(report, rules)
            _postmaster(report, book, rules, root)


def covering(pattern: str) -> Iterator[str]:
    """Every pattern that takes all that `pattern` takes, itself first and everyone last."""
    if pattern == EVERYONE:
        yield EVERYONE
        return
    yield pattern
    local, at, domain = pattern.rpartition("@")
    if at:
        base, plus, _ = local.partition("+")
        if plus and base:
            yield f"{base}@{domain}"
        yield domain
    labels = domain.removeprefix(".").split(".")
    for start in range(1, len(labels)):
        yield "." + ".".join(labels[start:])
    yield EVERYONE


def _patterns(rule: Rule) -> tuple[str, ...]:
    return rule.recipients or (EVERYONE,)


def _is_taken(pattern: str, taken: set[str] | Mapping[str, Any], domains: tuple[str, ...]) -> bool:
    if pattern == EVERYONE and EVERYONE not in taken and domains:
        return all(_is_taken(domain, taken, ()) for domain in domains)
    return any(cover in taken for cover in covering(pattern))


def _stop_scope(rule: Rule) -> str | None:
    """The scope of the rule's stop, None where there is none. It is the last action by the schema."""
    if rule.actions and rule.actions[-1].type == "stop":
        return str(rule.actions[-1].parameters["scope"])
    return None


def _always_stops(rule: Rule) -> bool:
    """Whether every recipient whom the rule takes ends here: a function can answer that the rule is over (STOP_RULE)."""
    asks = any(spec.parameters.get("invocation_type") == "RequestResponse" for spec in rule.actions)
    return bool(_stop_scope(rule)) and not (rule.when or rule.unless or asks or rule.tls_policy == "Require")


def _unreachable(report: Report, book: RuleBook, rules: list[PlacedRule]) -> None:
    stopped: dict[str, str] = {}
    for placed in rules:
        rule = placed.rule
        if stopped and all(_is_taken(pattern, stopped, book.domains) for pattern in _patterns(rule)):
            stopper = next((stopped[cover] for cover in covering(_patterns(rule)[0]) if cover in stopped), None)
            by = f"rule {stopper}" if stopper else "an earlier rule"
            what = f"rule {rule.name} is never reached: {by} stops for all of its recipients; move it up or remove it"
            report.warn("unreachable-rule", _place(placed, "name"), what)
        if _always_stops(rule):
            for pattern in _patterns(rule):
                stopped.setdefault(pattern, rule.name)


def _starving(report: Report, rules: list[PlacedRule]) -> None:
    later: set[str] = set()
    found = []
    for placed in reversed(rules):
        rule = placed.rule
        own = set(_patterns(rule))
        if _stop_scope(rule) == "RuleSet" and (later if _is_narrowed(rule) else _others(own, later)):
            found.append(placed)
        later |= own
    for placed in reversed(found):
        what = (
            f"the stop of rule {placed.rule.name} ends the rule set for every recipient of the message, also for those that only"
            " later rules take; write stop: {scope: Recipients}"
        )
        report.warn("starving-stop", _last_action(placed), what)


def _is_narrowed(rule: Rule) -> bool:
    return any(_mentions(condition, {"recipient"}) for condition in _conditions(rule))


def _others(own: set[str], later: set[str]) -> bool:
    """Whether later rules take recipients that a rule with these patterns does not take."""
    return EVERYONE not in own and not later <= own


def _conditions(rule: Rule) -> Iterator[Mapping[str, Any]]:
    for condition in (*rule.when, *rule.unless):
        yield {"name": condition.name, "value": condition.value}


def _mentions(condition: Mapping[str, Any], names: Iterable[str]) -> bool:
    if condition["name"] in _NESTING:
        return any(_mentions(nested, names) for nested in condition["value"])
    if condition["name"] == "not":
        return _mentions(condition["value"], names)
    return condition["name"] in names


def _handles(rule: Rule) -> bool:
    return any(ACTIONS[spec.type].handles for spec in rule.actions)


def _unhandled(report: Report, rules: list[PlacedRule]) -> None:
    always: set[str] = set()
    sometimes: set[str] = set()
    for placed in rules:
        rule = placed.rule
        if _handles(rule):
            is_sure = not (rule.when or rule.unless or rule.tls_policy == "Require")
            (always if is_sure else sometimes).update(_patterns(rule))
    told: set[str] = set()
    for placed in rules:
        for pattern in _patterns(placed.rule):
            if any(cover in always or cover in told for cover in covering(pattern)):
                continue
            told.add(pattern)
            who = "every recipient" if pattern == EVERYONE else pattern
            if any(cover in sometimes for cover in covering(pattern)):
                why = "unless a rule's conditions hold, nothing stores, delivers, bounces or drops it"
            else:
                why = "no rule stores, delivers, bounces or drops it"
            report.warn(
                "unhandled", _place(placed, "recipients"), f"mail for {who} is accepted and ends unhandled: {why}"
            )
            break  # one line a rule says enough


def _postmaster(report: Report, book: RuleBook, rules: list[PlacedRule], root: Node) -> None:
    taken = {pattern for placed in rules for pattern in _patterns(placed.rule)}
    node = root.get("domains") if isinstance(root, MapNode) else None
    at: dict[str, Node] = {}
    if isinstance(node, Sequence):
        at = {item.text.lower(): item for item in node.items if isinstance(item, Scalar)}
    for domain in book.domains:
        if domain.startswith("."):
            continue
        missing = [word for word in ("postmaster", "abuse") if not _is_taken(f"{word}@{domain}", taken, ())]
        if missing:
            addresses = one_of([f"{word}@{domain}" for word in missing])
            what = f"no rule takes {addresses}; RFC 2142 and RFC 5321 §4.5.1 expect somebody there"
            report.warn("no-postmaster", at.get(domain, node or TOP), what)


def _forgeable(report: Report, rules: list[PlacedRule]) -> None:
    """A bypass that anybody can claim: `unless: [{from: ...}]` on a refusing rule, or a stop before one."""
    guarded = False
    found = []
    for placed in reversed(rules):
        rule = placed.rule
        refuses = any(spec.type in _GUARDS for spec in rule.actions)
        if refuses:
            for position, condition in enumerate(rule.unless):
                name = _forged_by({"name": condition.name, "value": condition.value})
                if name:
                    found.append((_item(placed, "unless", position), name, f"get around rule {rule.name}"))
        elif guarded and _stop_scope(rule):
            found += _forgeable_stop(placed)
        guarded = guarded or refuses
    for at, name, deed in reversed(found):
        what = (
            f"anybody can forge {name} and {deed}; rest the exception on authenticated_domain, or add it to this item"
        )
        report.warn("forgeable-bypass", at, what)


def _forgeable_stop(placed: PlacedRule) -> list[tuple[Node, str, str]]:
    everything = {"name": "all", "value": list(_conditions_of_when(placed.rule))}
    name = _forged_by(everything) if everything["value"] else None
    if not name:
        return []
    return [(_place(placed, "when"), name, f"skip the rules behind {placed.rule.name}, which refuse mail")]


def _conditions_of_when(rule: Rule) -> Iterator[Mapping[str, Any]]:
    for condition in rule.when:
        yield {"name": condition.name, "value": condition.value}


def _forged_by(condition: Mapping[str, Any]) -> str | None:
    """The forgeable condition on which this one rests alone, None where something authenticated must hold as well."""
    name, value = condition["name"], condition["value"]
    if name == "all":
        if any(_authenticates(nested) for nested in value):
            return None
        return next((forged for forged in map(_forged_by, value) if forged), None)
    if name == "any":
        return next((forged for forged in map(_forged_by, value) if forged), None)
    if name in _FORGEABLE and value.get("op") not in (None, "not_equals") and value["values"] != [""]:
        return str(name)
    return None


def _authenticates(condition: Mapping[str, Any]) -> bool:
    name, value = condition["name"], condition["value"]
    if name in _AUTHENTICATING:
        return True
    if name in ("spf", "dkim", "dmarc", "arc"):
        return value.get("status") == ["PASS"] or value.get("result") == ["pass"] or value.get("trusted") is True
    if name == "any":
        return all(_authenticates(nested) for nested in value)
    return name == "all" and any(_authenticates(nested) for nested in value)


def _place(placed: PlacedRule, key: str) -> Node:
    return placed.at.get(key) or placed.at.get("name") or placed.at


def _last_action(placed: PlacedRule) -> Node:
    return _item(placed, "actions", -1)


def _item(placed: PlacedRule, key: str, position: int) -> Node:
    node = placed.at.get(key)
    return node.items[position] if isinstance(node, Sequence) else placed.at
