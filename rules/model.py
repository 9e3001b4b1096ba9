"""Rule books as values: SES's own fields in snake_case, with Mail Manager's conditions (SES: ReceiptRule, semantics.md §1–§4).

A `RuleBook` is everything that a decision depends on, the address lists and the filters' files included, so its digest names
one behaviour. It is a plain JSON-able value; `rules.recipients`, `rules.filters` and `rules.conditions` compile it for use.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition by its name in the table of semantics.md §2; `value` is normalised and JSON-able."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSpec:
    """One action: `type` is its YAML word (`add_header`, `disk`), `parameters` its fields with defaults filled in.

    `${NAME}` in a parameter stays unresolved here; it is resolved when the action runs (semantics.md §4).
    """

    type: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One receipt rule (SES: ReceiptRule). Empty `recipients` means every address of the book's domains."""

    name: str
    enabled: bool = True
    tls_policy: str = "Optional"
    scan_enabled: bool = False
    recipients: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()
    unless: tuple[Condition, ...] = ()
    actions: tuple[ActionSpec, ...] = ()
    on_unknown: str | None = None  # skip, match, defer; None is the default of semantics.md §2
    on_failure: str = "continue"  # or stop: what a dead step does to the rest of the rule set
    ordered: bool = False  # a step that retries holds the walk

    def failure_policy(self, spec: ActionSpec) -> str:
        """What a dead step of this action does to the rest, `continue` or `stop`: the action's own word, else the rule's."""
        return str(spec.parameters.get("on_failure", self.on_failure))


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """Rules in the order in which they are walked."""

    name: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """An IP filter (SES: ReceiptFilter). `policy` is Allow or Block; `recipients` empty: for all of them."""

    name: str
    policy: str
    cidrs: tuple[str, ...]
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RuleBook:
    """A rules file, loaded. `active` names the rule set that is used.

    `domains`: `example.com` is that domain, `.example.com` its subdomains; empty means that every domain is ours, which is
    allowed on loopback listeners only (semantics.md §1). `bounce` is `vouched` or SES's `always` (semantics.md §3).
    """

    active: str
    domains: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    address_lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rule_sets: tuple[RuleSet, ...] = ()
    topics: Mapping[str, Any] = field(default_factory=dict)
    bounce: str = "vouched"
    on_unhandled: str = "keep"  # or reject

    @property
    def rule_set(self) -> RuleSet:
        return next(rule_set for rule_set in self.rule_sets if rule_set.name == self.active)

    @cached_property
    def content(self) -> bytes:
        """The canonical JSON of the book: what is stored, hashed and shown."""
        return msgspec.json.encode(msgspec.to_builtins(self), order="deterministic")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `content`, hex: the name of this version."""
        return hashlib.sha256(self.content).hexdigest()


_decoder = msgspec.json.Decoder(RuleBook)


def decode_book(content: bytes) -> RuleBook:
    """The book from its canonical JSON."""
    return _decoder.decode(content)
