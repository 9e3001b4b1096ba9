"""STRING: what is compared, and how (semantics.md §2; the kept form is `rules.schema_conditions`').

What is compared is text with keys. Addresses are equal by recipient syntax and domains by domain syntax, so a value such as
`.a.example` is one of the keys of what it takes; all other text has one key, itself in lower case.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from mail.address import Mailbox, parse_domain, parse_mailbox
from mail.address_list import parse_address_list
from mail.errors import Malformed
from mail.words import decode_words
from rules.facts import NOT_YET, Facts, Seen, Test, Text, shown
from rules.filters import PrefixTree
from rules.patterns import compile_pattern
from rules.recipients import domain_keys, mailbox_keys, pattern_key


class Known(NamedTuple):
    """The values there are, any of which may fit. `missing` says why there may be more of them; "" if these are all.

    `keys` are those of all texts where they were joined ahead, so that a long list costs each rule no more than a short one.
    """

    texts: list[Text]
    missing: str = ""
    is_temporary: bool = False
    keys: frozenset[str] | None = None


Source = Callable[[Facts, Mailbox | None], Known]
UNSENT = Known([], str(NOT_YET.saw))


class AddressLists:
    """A book's address lists, compiled once for all conditions that name them."""

    def __init__(self, lists: Mapping[str, tuple[str, ...]]) -> None:
        self._lists = lists
        self._keys: dict[str, frozenset[str]] = {}
        self._networks: dict[str, PrefixTree] = {}

    def keys(self, name: str) -> frozenset[str]:
        """The keys of the list's addresses and domains."""
        if name not in self._keys:
            entries = (entry for entry in self._lists[name] if "/" not in entry or "@" in entry)
            self._keys[name] = frozenset(pattern_key(entry) for entry in entries)
        return self._keys[name]

    def networks(self, name: str) -> PrefixTree:
        """The list's CIDRs."""
        if name not in self._networks:
            self._networks[name] = PrefixTree(
                [[entry for entry in self._lists[name] if "/" in entry and "@" not in entry]]
            )
        return self._networks[name]


def compile_string(value: Mapping[str, Any], lists: AddressLists, source: Source, *, syntax: str = "text") -> Test:
    """A STRING comparison. `syntax` is text, domain or address: how the values of equals are read."""
    fits = _comparison(value["op"], value["values"], lists, syntax)
    negated = value["op"] == "not_equals"

    def test(facts: Facts, mailbox: Mailbox | None) -> Seen:
        known = source(facts, mailbox)
        fitting = fits(known)
        if not fitting and known.missing:
            return Seen(None, known.missing, known.is_temporary)
        saw = shown([text.shown for text in known.texts]) if known.texts else None
        return Seen(fitting is not negated, saw)

    return test


def _comparison(operator: str, values: list[str], lists: AddressLists, syntax: str) -> Callable[[Known], bool]:
    if operator == "matches":
        patterns = [compile_pattern(value) for value in values]
        return _any_text(lambda text: any(is_found(text) for is_found in patterns))
    if operator in ("equals", "not_equals", "in_list"):
        if operator == "in_list":
            wanted = frozenset[str]().union(*(lists.keys(name) for name in values))
        else:
            wanted = frozenset(pattern_key(value) if syntax == "address" else value.lower() for value in values)
        return lambda known: (
            not wanted.isdisjoint(known.keys)
            if known.keys is not None
            else any(not wanted.isdisjoint(text.keys) for text in known.texts)
        )
    lower = tuple(value.lower() for value in values)
    if operator == "starts_with":
        return _any_text(lambda text: text.lower().startswith(lower))
    if operator == "ends_with":
        return _any_text(lambda text: text.lower().endswith(lower))
    if operator == "contains":
        return _any_text(lambda text: any(value in text.lower() for value in lower))
    raise ValueError(operator)


def _any_text(fits: Callable[[str], bool]) -> Callable[[Known], bool]:
    return lambda known: any(fits(text.shown) for text in known.texts)


def plain(text: str) -> Text:
    return Text(text, (text.lower(),))


def domain_text(text: str) -> Text:
    """A domain with its parents. An address literal equals itself; what is no domain (a strange HELO) equals nothing."""
    if text.startswith("["):
        return plain(text)
    try:
        return Text(text, domain_keys(parse_domain(text.removesuffix("."))))
    except Malformed:
        return Text(text, ())


@lru_cache(maxsize=4096)
def mailbox_text(mailbox: Mailbox | None) -> Text:
    """An envelope address; the null reverse-path is the empty text."""
    return Text("", ("",)) if mailbox is None else Text(str(mailbox), mailbox_keys(mailbox))


def address_text(text: str) -> Text:
    """A header's address, its domain as A-label; what is no address equals nothing, or `From: a.example` would be that domain."""
    try:
        return mailbox_text(parse_mailbox(text))
    except Malformed:
        return Text(text, ())


def reverse_path(facts: Facts, _: Mailbox | None) -> Known:
    return Known([mailbox_text(facts.reverse_path)])


def recipient(_: Facts, mailbox: Mailbox | None) -> Known:
    return UNSENT if mailbox is None else Known([mailbox_text(mailbox)])


def helo(facts: Facts, _: Mailbox | None) -> Known:
    return Known([]) if facts.client.helo is None else Known([domain_text(facts.client.helo)])


def reverse_dns(facts: Facts, _: Mailbox | None) -> Known:
    """The forward-confirmed name; at RCPT its absence says nothing yet, and without a client address there is nothing to ask."""
    if facts.client.name is not None:
        return Known([domain_text(facts.client.name)])
    if facts.client.ip is None:
        return Known([], "no client address")
    return Known([]) if facts.name_is_final else Known([], "not looked up yet", is_temporary=True)


def header_addresses(name: str) -> Source:
    """Every mailbox of every field of this name; display names are not compared, they prove nothing."""

    def source(facts: Facts, _: Mailbox | None) -> Known:
        if facts.header is None:
            return UNSENT
        if name not in facts.addresses:
            texts = [
                address_text(named.address)
                for field in facts.header.all(name)
                for named in parse_address_list(field.text)
            ]
            facts.addresses[name] = texts, frozenset(key for text in texts for key in text.keys)
        texts, keys = facts.addresses[name]
        return Known(texts, keys=keys)

    return source


def header_texts(name: str) -> Source:
    """The text of every field of this name, encoded-words decoded (RFC 2047)."""

    def source(facts: Facts, _: Mailbox | None) -> Known:
        if facts.header is None:
            return UNSENT
        return Known([plain(decode_words(field.text)) for field in facts.header.all(name)])

    return source


SOURCES: Mapping[str, Source] = {
    "mail_from": reverse_path,
    **{name: header_addresses(name.replace("_", "-")) for name in ("from", "sender", "reply_to", "to", "cc")},
    "subject": header_texts("Subject"),
    "helo": helo,
    "reverse_dns": reverse_dns,
    "recipient": recipient,
}
"""Where each condition on text finds it; `header` names its field itself."""
