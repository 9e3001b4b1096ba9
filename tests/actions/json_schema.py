"""The part of JSON Schema (draft 2020-12) that docs/schemas/ uses; a keyword that it does not know is an error, not ignored."""

from __future__ import annotations

import re
from typing import Any

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}
_KNOWN = {
    *("$schema", "$id", "title", "description", "$defs", "$ref", "type", "const", "enum", "pattern", "required"),
    *("properties", "additionalProperties", "items", "oneOf", "minimum", "format"),
}


def violations(schema: dict[str, Any], value: Any) -> list[str]:
    """Where the value is not what the schema says."""
    return list(_check(schema, value, schema, "$"))


def _is(kind: str, value: Any) -> bool:
    if kind == "integer":
        return type(value) is int
    if kind == "number":
        return type(value) in (int, float)
    return isinstance(value, _TYPES[kind])


def _check(schema: dict[str, Any], value: Any, root: dict[str, Any], at: str) -> Any:
    assert set(schema) <= _KNOWN, set(schema) - _KNOWN
    if "$ref" in schema:
        yield from _check(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root, at)
    kinds = schema.get("type", [])
    if kinds and not any(_is(kind, value) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{at} is {value!r}, not {kinds}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{at} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is {value!r}, not one of {schema['enum']}"
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        yield f"{at} is {value!r}, not {schema['pattern']}"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{at} is less than {schema['minimum']}"
    if "oneOf" in schema and sum(not list(_check(each, value, root, at)) for each in schema["oneOf"]) != 1:
        yield f"{at} is not exactly one of its forms"
    if isinstance(value, dict):
        yield from _check_object(schema, value, root, at)
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from _check(schema["items"], item, root, f"{at}[{number}]")


def _check_object(schema: dict[str, Any], value: dict[str, Any], root: dict[str, Any], at: str) -> Any:
    yield from (f"{at} lacks {name}" for name in schema.get("required", []) if name not in value)
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, inner in value.items():
        if name in properties:
            yield from _check(properties[name], inner, root, f"{at}.{name}")
        elif more is False:
            yield f"{at} has {name}, which it may not"
        elif isinstance(more, dict):
            yield from _check(more, inner, root, f"{at}.{name}")
