"""The table of conditions (semantics.md §2): what each means, when it can be known, and what it asks of the checks.

A condition is compiled once for a book: patterns, address lists and networks are ready when mail comes. The answer is three-valued
and combines by Kleene's tables: one no decides `all`, one yes decides `any`, and unknown stays unknown only where it matters.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from mail.address import Mailbox
from rules import conditions_numbers as numbers
from rules import conditions_strings as strings
from rules import conditions_traits as traits
from rules import conditions_verdicts as verdicts
from rules.conditions_strings import AddressLists, compile_string
from rules.conditions_text import condition_text
from rules.facts import NOT_YET, Facts, Seen, Test
from rules.model import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionKind:
    """One row of the table. `compile` takes the kept value (`rules.schema_conditions`) and the book's address lists.

    `known_at_rcpt`: it needs no more than the client, MAIL and RCPT. `needs` names what must be looked up or recorded for it.
    `is_about_recipient`: it may differ between the recipients of one message, and so narrows the rule.
    """

    description: str
    compile: Callable[[Any, AddressLists], Test]
    known_at_rcpt: bool = False
    needs: frozenset[str] = frozenset()
    is_about_recipient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """A compiled condition with its YAML text, for the trace."""

    text: str
    test: Test
    needs: frozenset[str]
    is_about_recipient: bool


def compile_condition(condition: Condition, lists: AddressLists) -> Predicate:
    """Raises `KeyError` for a name that is not in the table: the loader lets none pass."""
    name, value = condition.name, condition.value
    text = condition_text(condition)
    if name in ("all", "any", "not"):
        parts = _parts(name, value, lists)
        return Predicate(
            text=text,
            test=_nested(name, parts),
            needs=frozenset[str]().union(*(part.needs for part in parts)),
            is_about_recipient=any(part.is_about_recipient for part in parts),
        )
    kind = CONDITIONS[name]
    return Predicate(
        text=text, test=kind.compile(value, lists), needs=kind.needs, is_about_recipient=kind.is_about_recipient
    )


def _parts(name: str, value: Any, lists: AddressLists) -> tuple[Predicate, ...]:
    nested = [value] if name == "not" else value
    return tuple(compile_condition(Condition(name=one["name"], value=one["value"]), lists) for one in nested)


def all_of(results: Iterable[bool | None]) -> bool | None:
    """Kleene's and: False if any is, else unknown if any is."""
    found = set(results)
    return False if False in found else None if None in found else True


def any_of(results: Iterable[bool | None]) -> bool | None:
    """Kleene's or: True if any is, else unknown if any is."""
    found = set(results)
    return True if True in found else None if None in found else False


def _nested(name: str, parts: tuple[Predicate, ...]) -> Test:
    def test(facts: Facts, mailbox: Mailbox | None) -> Seen:
        seen = [part.test(facts, mailbox) for part in parts]
        results = [one.result for one in seen]
        result = any_of(results) if name == "any" else all_of(results)
        if name == "not":
            result = None if result is None else not result
        saw = [
            {"condition": part.text, "saw": one.saw, "result": one.result}
            for part, one in zip(parts, seen, strict=True)
        ]
        return Seen(result, saw, result is None and any(one.is_temporary for one in seen if one.result is None))

    return test


def _verdict(method: str) -> Callable[[Any, AddressLists], Test]:
    return lambda value, _: verdicts.compile_verdict(method, value)


def _string(name: str, syntax: str = "text") -> Callable[[Any, AddressLists], Test]:
    return lambda value, lists: compile_string(value, lists, strings.SOURCES[name], syntax=syntax)


def _header(value: Mapping[str, Any], lists: AddressLists) -> Test:
    source = strings.header_texts(value["name"])
    if "op" in value:
        return compile_string(value, lists, source)

    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.header is None:
            return NOT_YET
        count = len(facts.header.all(value["name"]))
        return Seen((count > 0) is value["exists"], f"{count} fields" if count > 1 else f"{count or 'no'} field")

    return test


def _kind(description: str, compile: Callable[[Any, AddressLists], Test], *needs: str) -> ConditionKind:  # noqa: A002 - its word
    return ConditionKind(description=description, compile=compile, needs=frozenset(needs))


def _early(description: str, compile: Callable[[Any, AddressLists], Test], *needs: str) -> ConditionKind:  # noqa: A002 - its word
    return ConditionKind(description=description, compile=compile, known_at_rcpt=True, needs=frozenset(needs))


def _addresses(name: str, field: str) -> ConditionKind:
    return _kind(f"any address of the {field} fields", _string(name, "address"))


def _no_own_test(_: Any, __: AddressLists) -> Test:
    raise KeyError("all, any and not are compiled from their parts")


CONDITIONS: Mapping[str, ConditionKind] = {
    "spf": _kind("the SPF verdict of the MAIL FROM identity", _verdict("spf")),
    "dkim": _kind("the DKIM verdict over all signatures; with result: that of any signature", _verdict("dkim")),
    "dmarc": _kind("the DMARC verdict of the From domain", _verdict("dmarc")),
    "arc": _kind("the ARC verdict, or whether a trusted sealer vouches", _verdict("arc")),
    "spam": _kind("the spam verdict, its score or a symbol; asks for the scan", _verdict("spam"), "spam"),
    "virus": _kind("the virus verdict or a symbol; asks for the scan", _verdict("virus"), "virus"),
    "dmarc_policy": _kind("the policy that the From domain's DMARC record asks for", verdicts.compile_dmarc_policy),
    **{
        name: _kind(description, partial(verdicts.compile_identity, name))
        for name, description in {
            "authenticated_domain": "any domain that really authenticated: aligned From, SPF's or a DKIM signature's",
            "from_domain_aligned": "the From domain, if DMARC passed",
            "spf_domain": "the MAIL FROM domain, if SPF passed",
            "dkim_domain": "the d= of any DKIM signature that passed",
        }.items()
    },
    "mail_from": _early("the reverse-path; the null one is empty text", _string("mail_from", "address")),
    "from": _addresses("from", "From"),
    "sender": _addresses("sender", "Sender"),
    "reply_to": _addresses("reply_to", "Reply-To"),
    "to": _addresses("to", "To"),
    "cc": _addresses("cc", "Cc"),
    "subject": _kind("the decoded Subject", _string("subject")),
    "helo": _early("what the client said in EHLO or HELO", _string("helo", "domain")),
    "recipient": ConditionKind(
        description="the envelope recipient; narrows the rule to those for which it holds",
        compile=_string("recipient", "address"),
        known_at_rcpt=True,
        is_about_recipient=True,
    ),
    "header": _kind("any field of this name, or whether there is one", _header),
    "size": _early("octets of the message; at RCPT those declared in MAIL", numbers.compile_size),
    "recipients_count": _kind("accepted envelope recipients", numbers.compile_recipients_count),
    "attachments_count": _kind("MIME parts that are attachments", numbers.compile_attachments_count, "attachments"),
    "source_ip": _early("the client's address in a network", numbers.compile_source_ip),
    "reverse_dns": _early("the client's forward-confirmed name", _string("reverse_dns", "domain"), "reverse_dns"),
    "dnsbl": _kind("DNS block lists that list the client", numbers.compile_dnsbl, "dnsbl"),
    "tls": _early("whether the message came over TLS, and in which version", numbers.compile_tls),
    "attachment": _kind("one attachment that meets all keys", numbers.compile_attachment, "attachments"),
    "auto_generated": _kind("sent by a machine: a bounce, a responder, bulk", traits.compile_auto_generated),
    "mailing_list": _kind("sent through a list or as a newsletter", traits.compile_mailing_list),
    "line_too_long": _kind("some line has more than 998 octets", numbers.compile_line_too_long, "longest_line"),
    "encrypted": _kind("the content is encrypted by PGP/MIME or S/MIME", traits.compile_encrypted),
    "all": _kind("every nested condition holds", _no_own_test),
    "any": _kind("some nested condition holds", _no_own_test),
    "not": _kind("the nested condition does not hold", _no_own_test),
}
