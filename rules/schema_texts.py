"""Conditions on text: STRING in all its forms, and header (semantics.md §2). The kept forms: `rules.schema_conditions`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rules.schema_addresses import read_address, read_domain, read_recipient
from rules.schema_findings import nearest, one_of
from rules.schema_nodes import Mapping, Node, Scalar, shown
from rules.schema_reading import Reading

OPERATORS = ("equals", "not_equals", "starts_with", "ends_with", "contains", "matches", "in_list")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSchema:
    """`equals` reads what is compared as a whole, None where any text may stand; `null_path`: "" is the null reverse-path."""

    equals: Callable[[Reading, Node, str], str | None] | None = None
    null_path: bool = False


def read_string(reading: Reading, node: Node, what: str, schema: TextSchema) -> list[dict[str, Any]]:
    """The comparisons of a STRING, one for each operator."""
    if not isinstance(node, Mapping):
        values = _texts(reading, node, what, "equals", schema)
        return [{"op": "equals", "values": values}] if values else []
    read = []
    for operator, (_, value) in reading.entries(node, what, OPERATORS).items():
        values = _texts(reading, value, f"{what} {operator}", operator, schema)
        if values:
            read.append({"op": operator, "values": values})
    if not node.entries:
        reading.wrong_type(node, what, f"text, a list of texts or a comparison with {one_of(OPERATORS)}")
    return read


def _texts(reading: Reading, node: Node, what: str, operator: str, schema: TextSchema) -> list[str]:
    values = []
    for item in reading.one_or_more(node, what, "at least one text"):
        if operator == "in_list":
            value = read_list_name(reading, item, what)
        elif operator == "matches":
            value = _pattern(reading, item, what)
        elif operator in ("equals", "not_equals") and schema.null_path and _is_null_path(item):
            value = ""
        elif operator in ("equals", "not_equals") and schema.equals:
            value = schema.equals(reading, item, what)
        else:
            value = reading.text(item, what, empty=operator in ("equals", "not_equals"))
        if value is not None:
            values.append(value)
    return list(dict.fromkeys(values))


def _is_null_path(node: Node) -> bool:
    return isinstance(node, Scalar) and node.text in ("", "<>") and node.value is not None


def read_list_name(reading: Reading, node: Node, what: str) -> str | None:
    name = reading.text(node, what)
    if name is not None and name not in reading.lists:
        expected = nearest(name, reading.lists) or "; write it under address_lists"
        reading.error(
            "unknown-list", node, f"{what} names the address list {shown(name)}, which is not there{expected}"
        )
    return name


def _pattern(reading: Reading, node: Node, what: str) -> str | None:
    pattern = reading.text(node, what)
    wrong = None if pattern is None else reading.check_pattern(pattern)
    if wrong is not None:
        reading.error("bad-pattern", node, f"{what} is not an RE2 pattern: {wrong}")
    return pattern


def _address(reading: Reading, node: Node, what: str) -> str | None:
    text = reading.text(node, what)
    return None if text is None else read_address(reading, node, text, what)


def read_header(reading: Reading, node: Node) -> list[dict[str, Any]]:
    example = "a header's name and a comparison, as in {name: List-Id, exists: true} or {name: X-Tag, contains: urgent}"
    if not isinstance(node, Mapping):
        reading.wrong_type(node, "header", example)
        return []
    known = reading.entries(node, "header", ("name", "exists", *OPERATORS))
    name = reading.text(known["name"][1], "header name") if "name" in known else None
    if "name" not in known or len(known) < 2:
        reading.error(
            "missing-key", node, f"header lacks {'a comparison' if 'name' in known else 'name'}; expected {example}"
        )
        return []
    if name is not None and (not name.isascii() or not name.isprintable() or set(name) & {" ", ":"}):
        reading.error("bad-header-name", known["name"][1], f"header name {shown(name)} is not a header field's name")
    read: list[dict[str, Any]] = []
    for key, (_, value) in known.items():
        if key == "exists":
            flag = reading.flag(value, "header exists")
            read.append({"name": name, "exists": flag})
        elif key != "name":
            values = _texts(reading, value, f"header {key}", key, _ANY_TEXT)
            read += [{"name": name, "op": key, "values": values}] if values else []
    return read


def _helo(reading: Reading, node: Node, what: str) -> str | None:
    if isinstance(node, Scalar) and node.text.startswith("["):
        return node.text.lower()
    return read_domain(reading, node, what)


_ANY_TEXT = TextSchema()
_DOMAIN = TextSchema(equals=read_domain)
_MAILBOX = TextSchema(equals=_address)
TEXTS = {
    "authenticated_domain": _DOMAIN,
    "from_domain_aligned": _DOMAIN,
    "spf_domain": _DOMAIN,
    "dkim_domain": _DOMAIN,
    "helo": TextSchema(equals=_helo),
    "reverse_dns": _DOMAIN,
    "mail_from": TextSchema(equals=_address, null_path=True),
    "from": _MAILBOX,
    "sender": _MAILBOX,
    "reply_to": _MAILBOX,
    "to": _MAILBOX,
    "cc": _MAILBOX,
    "recipient": TextSchema(equals=read_recipient),
    "subject": _ANY_TEXT,
}
