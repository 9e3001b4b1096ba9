"""What a condition's value may be, and the one form in which it is kept (semantics.md §2).

Everything is JSON-able: dicts with text keys, lists, text, numbers, booleans. A nested condition is `{"name": ..., "value": ...}`,
never a `Condition`, so a book is the same before and after `decode_book`. The kept form of each `Condition.value`:

=================================================  ============================================================================
spf dkim dmarc arc spam virus                      `{"status": ["FAIL", ...]}` any of SES's words, upper case
spf dkim dmarc arc                                 `{"result": ["softfail", ...]}` any of RFC 8601's words, lower case
spam                                               `{"score": {"gte": 6.0}}` every key of gt gte lt lte must hold; floats
spam virus                                         `{"symbol": ["NAME", ...]}` any, as written; compare without case
arc                                                `{"trusted": true}` or false
dmarc_policy                                       `{"policy": ["reject", ...]}` any of none, quarantine, reject
authenticated_domain from_domain_aligned           STRING of domains
  spf_domain dkim_domain helo reverse_dns
mail_from from sender reply_to to cc recipient     STRING of addresses
subject                                            STRING
header                                             `{"name": "List-Id"}` and STRING's two keys, or `{"name": "X", "exists": true}`
size recipients_count attachments_count            `{"gt": 5000000}` keys gt gte lt lte, each must hold; integers (octets, count)
source_ip                                          `{"cidrs": ["192.0.2.0/24", "2001:db8::/32"]}` canonical, host bits cleared, any;
                                                   or `{"in_list": ["name", ...]}`: the CIDR entries of these address lists
dnsbl                                              `{"lists": ["zen.dnsbl.example", ...]}` any, lower case
tls                                                `true`, `false`, or `{"min": "TLSv1.2"}` (TLSv1, TLSv1.1, TLSv1.2, TLSv1.3)
attachment                                         one or more of `"name": ["*.exe", ...]` (glob, any), `"type": ["image/*", ...]`
                                                   (lower case, any), `"size": {"gt": 1}`: one attachment that meets all keys
auto_generated mailing_list line_too_long          `true` or `false`
  encrypted
all any                                            a list of nested conditions, at least one
not                                                one nested condition
=================================================  ============================================================================

STRING is `{"op": OP, "values": ["...", ...]}`, at least one value. OP is equals, not_equals, starts_with, ends_with, contains,
matches or in_list; any value that fits makes it true, except that `not_equals` is exactly the negation of `equals` (it equals none
of them, and no field of several does). The values of in_list are names in `RuleBook.address_lists`; those of matches are RE2
patterns as written, to be compiled without regard to case. Values of equals and not_equals: for domains `a.example` (exactly) or
`.a.example` (its subdomains), for addresses recipient syntax (`user@a.example` with its labels, `a.example`, `.a.example`), both
lower case with A-labels, and "" for the null reverse-path (`mail_from` only; `<>` is read as ""). Other values stay as written.

An item with several conditions, or a STRING with several operators, is kept as one `all`; a list with mappings in it, as one `any`.
An entry of an address list is an address, `a.example`, `.a.example`, or a CIDR (`192.0.2.0/24`, `192.0.2.1/32`).
"""

from __future__ import annotations

from typing import Any

from rules.model import Condition
from rules.schema_facts import FACTS, needs_check
from rules.schema_findings import nearest
from rules.schema_nodes import Mapping, Node, Scalar, Sequence, shown
from rules.schema_reading import Reading
from rules.schema_texts import TEXTS, read_header, read_string

MAX_NESTING = 12  # of all, any and not
CONDITION_WORDS = frozenset({*TEXTS, *FACTS, "header", "all", "any", "not"})


def read_conditions(reading: Reading, node: Node | None, what: str) -> tuple[Condition, ...]:
    """`when` or `unless`: a list of items, each a condition or several that must all hold."""
    items = reading.items(node, what, f"{what}: [{{dmarc: FAIL}}]")
    read = [_item(reading, item, what, 0) for item in items]
    return tuple(Condition(name=kept["name"], value=kept["value"]) for kept in read if kept is not None)


def _item(reading: Reading, node: Node, what: str, depth: int) -> dict[str, Any] | None:
    if not isinstance(node, Mapping) or not node.entries:
        reading.wrong_type(node, f"an item of {what}", "a condition, as in dmarc: FAIL")
        return None
    parts = []
    for key, value in node.entries.values():
        if key.text not in CONDITION_WORDS:
            near = nearest(key.text, CONDITION_WORDS) or f"; the conditions are {', '.join(sorted(CONDITION_WORDS))}"
            reading.error("unknown-condition", key, f"unknown condition {shown(key.text)} in {what}{near}")
            continue
        parts.append(_condition(reading, key, value, depth))
    kept = [part for part in parts if part is not None]
    if not kept:
        return None
    return kept[0] if len(kept) == 1 else {"name": "all", "value": kept}


def _condition(reading: Reading, key: Scalar, value: Node, depth: int) -> dict[str, Any] | None:
    name = key.text
    if depth > MAX_NESTING:
        reading.error("too-deep", key, f"conditions are nested deeper than {MAX_NESTING} levels")
        return None
    if name in ("all", "any"):
        if not isinstance(value, Sequence) or not value.items:
            reading.wrong_type(value, name, f"a list of conditions, as in {name}: [{{spf: PASS}}, {{dkim: PASS}}]")
            return None
        nested = [_item(reading, item, name, depth + 1) for item in value.items]
        return {"name": name, "value": [kept for kept in nested if kept is not None]}
    if name == "not":
        return _not(reading, value, depth)
    if isinstance(value, Sequence) and any(isinstance(item, Mapping) for item in value.items):
        parts = [_single(reading, name, item) for item in value.items]
        return {"name": "any", "value": [part for part in parts if part is not None]}
    return _single(reading, name, value)


def _not(reading: Reading, value: Node, depth: int) -> dict[str, Any] | None:
    if isinstance(value, Sequence):
        expected = "one condition, as in not: {dmarc: PASS}; for several write not: {any: [...]} or not: {all: [...]}"
        reading.wrong_type(value, "not", expected)
        return None
    nested = _item(reading, value, "not", depth + 1)
    return None if nested is None else {"name": "not", "value": nested}


def _single(reading: Reading, name: str, node: Node) -> dict[str, Any] | None:
    """One condition with a value that is a word, a list of words or a mapping."""
    if name in TEXTS:
        needs_check(reading, node, name)
        values = read_string(reading, node, name, TEXTS[name])
    elif name == "header":
        values = read_header(reading, node)
    else:
        value = FACTS[name](reading, node, name)
        values = [] if value is None else [value]
    if not values:
        return None
    if len(values) == 1:
        return {"name": name, "value": values[0]}
    return {"name": "all", "value": [{"name": name, "value": value} for value in values]}
