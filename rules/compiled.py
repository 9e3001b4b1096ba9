"""A rule book made ready: the index, the filters, and every rule's conditions, built once for each digest."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from mail.address import Mailbox
from rules.captures import Capture, captured, captures_of
from rules.conditions import Predicate, compile_condition
from rules.conditions_decision import Decision, decide
from rules.conditions_strings import AddressLists
from rules.facts import Facts
from rules.filters import Address, FilterTree
from rules.model import ActionSpec, Filter, Rule, RuleBook
from rules.recipients import RecipientIndex
from rules.step import holds_the_walk
from rules.units import Unit, units_of

KEPT_BOOKS = 8  # the pinned ones of messages under way, and the active one


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What must be looked up, scanned or recorded before these recipients' rules can be asked."""

    spam: bool = False
    virus: bool = False
    attachments: bool = False
    longest_line: bool = False
    dnsbl: bool = False
    reverse_dns: bool = False


@dataclass(frozen=True, kw_only=True)
class CompiledRule:
    """One rule with its conditions compiled. `scanned`: it sees spam and virus verdicts (semantics.md §2)."""

    rule: Rule
    position: int
    when: tuple[Predicate, ...]
    unless: tuple[Predicate, ...]

    @cached_property
    def needs(self) -> frozenset[str]:
        asked = frozenset[str]().union(*(predicate.needs for predicate in (*self.when, *self.unless)))
        return asked | {"spam", "virus"} if self.rule.scan_enabled else asked

    @cached_property
    def scanned(self) -> bool:
        return not self.needs.isdisjoint(("spam", "virus"))

    @cached_property
    def can_change_course(self) -> bool:
        """Whether running this rule, or not, may change what later rules do for anybody."""
        return any(
            self.rule.failure_policy(spec) == "stop" or (spec.type != "bounce" and holds_the_walk(spec))
            for spec in self.rule.actions
        )

    @cached_property
    def captures(self) -> tuple[Capture, ...]:
        """What its templates want captured."""
        return captures_of(self.rule.when, self.rule.actions)

    def units(self, spec: ActionSpec, facts: Facts, recipients: tuple[Mailbox, ...]) -> tuple[Unit, ...]:
        """What of an action is a step of its own."""
        captures = self.captures
        return units_of(spec, recipients, (lambda mailbox: captured(captures, facts, mailbox)) if captures else None)

    def decide(self, facts: Facts, recipients: tuple[Mailbox, ...]) -> Decision:
        return decide(self.when, self.unless, facts, recipients)


class CompiledBook:
    """What the edges and the machine ask of a book. Immutable; safe to share."""

    def __init__(self, book: RuleBook) -> None:
        self.book = book
        rules = book.rule_set.rules
        lists = AddressLists(book.address_lists)
        self.rules = tuple(_compile_rule(rule, position, lists) for position, rule in enumerate(rules))
        self._index = RecipientIndex(rules, book.domains)
        self._filters = FilterTree(book.filters)

    @property
    def digest(self) -> str:
        return self.book.digest

    def wants(self, mailbox: Mailbox) -> tuple[Rule, ...]:
        """The enabled rules whose recipients match, in order; constant time (`rules.recipients`)."""
        return tuple(self.rules[position].rule for position in self._index.wants(mailbox))

    def wanting(self, mailboxes: Iterable[Mailbox]) -> dict[int, tuple[Mailbox, ...]]:
        """The positions of the rules that want any of these, in order, each with the mailboxes that it wants."""
        mailboxes = tuple(mailboxes)
        if len(mailboxes) == 1:
            return dict.fromkeys(self._index.wants(mailboxes[0]), mailboxes)
        wanted: dict[int, list[Mailbox]] = {}
        for mailbox in mailboxes:
            for position in self._index.wants(mailbox):
                wanted.setdefault(position, []).append(mailbox)
        return {position: tuple(wanted[position]) for position in sorted(wanted)}

    def is_ours(self, domain: str) -> bool:
        return self._index.is_ours(domain)

    @property
    def has_domains(self) -> bool:
        """False where every domain is ours, which only a loopback listener may offer (semantics.md §1)."""
        return bool(self.book.domains)

    @property
    def postmaster_domain(self) -> str | None:
        """Where `<Postmaster>` without a domain lives: the first of `domains` that is one (RFC 5321 §4.5.1), or None."""
        return next((domain for domain in self.book.domains if not domain.startswith(".")), None)

    def blocked_by(self, address: Address | None, mailbox: Mailbox) -> Filter | None:
        """The filter that refuses this recipient to this client; any Allow wins over every Block."""
        return self._filters.decide(address, mailbox)

    def is_allowed(self, address: Address | None, mailbox: Mailbox) -> bool:
        """Whether an Allow filter vouches for the client, against block lists of others too."""
        return self._filters.allows(address, mailbox)

    def needs(self, mailboxes: Iterable[Mailbox]) -> Needs:
        asked = frozenset[str]().union(*(self.rules[position].needs for position in self.wanting(mailboxes)))
        return _needs(asked)


@lru_cache(maxsize=64)  # every set of words that a condition may ask for
def _needs(asked: frozenset[str]) -> Needs:
    return Needs(**dict.fromkeys(asked, True))


def _compile_rule(rule: Rule, position: int, lists: AddressLists) -> CompiledRule:
    return CompiledRule(
        rule=rule,
        position=position,
        when=tuple(compile_condition(condition, lists) for condition in rule.when),
        unless=tuple(compile_condition(condition, lists) for condition in rule.unless),
    )


_compiled: OrderedDict[str, CompiledBook] = OrderedDict()


def compile_book(book: RuleBook) -> CompiledBook:
    """The compiled book; the last few are kept by digest. Raises `Malformed` for a pattern that RE2 refuses."""
    found = _compiled.get(book.digest)
    if found is None:
        found = _compiled[book.digest] = CompiledBook(book)
        while len(_compiled) > KEPT_BOOKS:
            _compiled.popitem(last=False)
    return found
