"""Values: frozen, slotted, keyword-only, as the house's other dataclasses are, and made by C code.

A message makes more than a hundred of them on its way through the house. A frozen dataclass sets its fields one by one through
`object.__setattr__`, which was a tenth of all that the gateway's processes did; `msgspec.Struct` is ten times cheaper to make and
thirty times to change. What is made once a session, a rule set or a process stays a dataclass.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import field

__all__ = ["Value", "changed", "field"]


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """To be derived from, with `frozen=True, kw_only=True` said again, which type checkers do not inherit."""


V = TypeVar("V", bound=Value)


def changed(value: V, **changes: Any) -> V:
    """The value with these fields instead, as `dataclasses.replace`. Raises TypeError for a field that it does not have."""
    return msgspec.structs.replace(value, **changes)
