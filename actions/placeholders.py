"""`${NAME}` in a step's parameters, resolved when the step runs and nowhere earlier (semantics.md §4).

What is stored, hashed and shown keeps the placeholder, so no secret reaches the spool or a trace.
"""

import re
from collections.abc import Mapping
from typing import Any

from mail.errors import Temporary

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def resolve(parameters: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The parameters with every placeholder replaced, once: a value is never read for placeholders again.

    Raises `Temporary` for a name that is not set: the operator sets it, and the next attempt finds it.
    """
    return {name: _resolve(value, environment) for name, value in parameters.items()}


def names_any(value: Any) -> bool:
    """Whether `${` stands anywhere in it, so that resolving it depends on the environment."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Mapping):
        return any(map(names_any, value.values()))
    return isinstance(value, list | tuple) and any(map(names_any, value))


def _resolve(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: _lookup(found[1], environment), value) if "${" in value else value
    if isinstance(value, Mapping):
        return {name: _resolve(inner, environment) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_resolve(inner, environment) for inner in value]
    return value


def _lookup(name: str, environment: Mapping[str, str]) -> str:
    try:
        return environment[name]
    except KeyError:
        raise Temporary(f"${{{name}}} is not set") from None
