"""What is allowed in a rules file and probably not meant. Warnings only, each from a fact about the rules as they stand.

Every check walks the rules once, or once from behind, and asks sets: nothing compares rule with rule. Recipients cover each
other as SES matches them (SES: recipient conditions): a domain its addresses, `.example.com` what is below it, `user` its labels,
and a rule without recipients everything, written "" here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rules.load_lint_bypass import warn_of_bypasses
from rules.load_places import item, place, stop_scope
from rules.model import Rule, RuleBook
from rules.schema_actions import ACTIONS
from rules.schema_findings import Report, one_of
from rules.schema_nodes import TOP, Node, Scalar, Sequence
from rules.schema_nodes import Mapping as MapNode
from rules.schema_rules import PlacedRule, PlacedRuleSet

EVERYONE = ""
_NESTING = frozenset({"all", "any"})


def lint(report: Report, book: RuleBook, placed: tuple[PlacedRuleSet, ...], root: Node) -> None:
    """Of a book without errors. Postmaster and unhandled mail are asked of the active rule set only."""
    for rule_set in placed:
        rules = [rule for rule in rule_set.rules if rule.rule.enabled]
        _unreachable(report, book, rules)
        _starving(report, rules)
        warn_of_bypasses(report, rules)
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


def _always_stops(rule: Rule) -> bool:
    """Whether every recipient whom the rule takes ends here: a function can answer that the rule is over (STOP_RULE)."""
    asks = any(spec.parameters.get("invocation_type") == "RequestResponse" for spec in rule.actions)
    return bool(stop_scope(rule)) and not (rule.when or rule.unless or asks or rule.tls_policy == "Require")


def _unreachable(report: Report, book: RuleBook, rules: list[PlacedRule]) -> None:
    stopped: dict[str, str] = {}
    for placed in rules:
        rule = placed.rule
        if stopped and all(_is_taken(pattern, stopped, book.domains) for pattern in _patterns(rule)):
            stopper = next((stopped[cover] for cover in covering(_patterns(rule)[0]) if cover in stopped), None)
            by = f"rule {stopper}" if stopper else "an earlier rule"
            what = f"rule {rule.name} is never reached: {by} stops for all of its recipients; move it up or remove it"
            report.warn("unreachable-rule", place(placed, "name"), what)
        if _always_stops(rule):
            for pattern in _patterns(rule):
                stopped.setdefault(pattern, rule.name)


def _starving(report: Report, rules: list[PlacedRule]) -> None:
    later: set[str] = set()
    found = []
    for placed in reversed(rules):
        rule = placed.rule
        own = set(_patterns(rule))
        if stop_scope(rule) == "RuleSet" and (later if _is_narrowed(rule) else _others(own, later)):
            found.append(placed)
        later |= own
    for placed in reversed(found):
        what = (
            f"the stop of rule {placed.rule.name} ends the rule set for every recipient of the message, also for those that only"
            " later rules take; write stop: {scope: Recipients}"
        )
        report.warn("starving-stop", item(placed, "actions", -1), what)


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
    # A plug-in's action has an effect of its own (`actions.plugin`).
    return any(spec.type not in ACTIONS or ACTIONS[spec.type].handles for spec in rule.actions)


def _unhandled(report: Report, rules: list[PlacedRule]) -> None:
    sure = _Coverage(rules)
    told: set[str] = set()
    for placed in rules:
        for pattern in _patterns(placed.rule):
            covers = list(covering(pattern))
            if sure.handles(covers) or not told.isdisjoint(covers):
                continue
            told.add(pattern)
            who = "every recipient" if pattern == EVERYONE else pattern
            if sure.may_handle(covers):
                why = "unless a rule's conditions hold, nothing stores, delivers, bounces or drops it"
            else:
                why = "no rule stores, delivers, bounces or drops it"
            report.warn(
                "unhandled", place(placed, "recipients"), f"mail for {who} is accepted and ends unhandled: {why}"
            )
            break  # one line a rule says enough


class _Coverage:
    """Which patterns are handled. Without TLS a recipient is refused whom only rules want that require it, so those count then."""

    def __init__(self, rules: list[PlacedRule]) -> None:
        self._always: set[str] = set()
        self._with_tls: set[str] = set()
        self._sometimes: set[str] = set()
        self._wanted_plain: set[str] = set()
        for placed in rules:
            rule = placed.rule
            patterns = _patterns(rule)
            if rule.tls_policy != "Require":
                self._wanted_plain.update(patterns)
            if not _handles(rule):
                continue
            if rule.when or rule.unless:
                self._sometimes.update(patterns)
            elif rule.tls_policy == "Require":
                self._with_tls.update(patterns)
            else:
                self._always.update(patterns)

    def handles(self, covers: list[str]) -> bool:
        if not self._always.isdisjoint(covers):
            return True
        return not self._with_tls.isdisjoint(covers) and self._wanted_plain.isdisjoint(covers)

    def may_handle(self, covers: list[str]) -> bool:
        return not self._sometimes.isdisjoint(covers) or not self._with_tls.isdisjoint(covers)


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
