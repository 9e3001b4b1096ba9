"""A condition's kept value written as YAML again, on one line, as its owner would write it."""

import json
import re
from collections.abc import Mapping
from typing import Any

from rules.model import Condition

# Anything else, and what YAML would read as another type, is quoted.
_BARE = re.compile(r"[A-Za-z./_][A-Za-z0-9@.+/_-]*\Z|\d+(?:\.\d+){2,}(?:/\d+)?\Z")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off"))
_FIRST = ("name", "type")  # then the rest by name: a book read from its stored form has lost the order of its keys
_ANY_OF = ("status", "policy", "cidrs", "lists")


def condition_text(condition: Condition) -> str:
    """`dmarc: FAIL`, `subject: {contains: [invoice, bill]}`."""
    return _item(condition.name, condition.value)


def _item(name: str, value: Any) -> str:
    if name in ("all", "any"):
        return f"{name}: [{', '.join('{' + _item(one['name'], one['value']) + '}' for one in value)}]"
    if name == "not":
        return f"not: {{{_item(value['name'], value['value'])}}}"
    return f"{name}: {_flow(_as_written(value))}"


def _as_written(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    written = dict(value)
    if "op" in written:
        operator, operands = written.pop("op"), _one_or_list(written.pop("values"))
        if operator == "equals" and not written:
            return operands
        written[operator] = operands
    for key in _ANY_OF:
        if list(written) == [key]:
            return _one_or_list(written[key])
    return {key: _one_or_list(held) if isinstance(held, list) else held for key, held in written.items()}


def _rank(key: str) -> tuple[int, str]:
    return (_FIRST.index(key) if key in _FIRST else len(_FIRST)), key


def _one_or_list(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(value[key])}" for key in sorted(value, key=_rank)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(held) for held in value) + "]"
    if isinstance(value, str):
        is_bare = _BARE.match(value) and value.lower() not in _WORDS
        return value if is_bare else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)
