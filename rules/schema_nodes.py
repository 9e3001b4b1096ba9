"""What a rules file says, before anybody judges it: values with the place where they stand.

One tree for YAML and JSON. Places count from 1, columns in characters. A value keeps its source text, because `550`, `5.10` and
`0x1F` are numbers to YAML and codes, versions or names to the person who wrote them.
"""

from __future__ import annotations

import msgspec


class Scalar(msgspec.Struct, frozen=True, gc=False):
    """One word, number, truth value or null. `text` is as written, without quotes; `quoted` also for block scalars."""

    value: str | int | float | bool | None
    text: str
    quoted: bool
    line: int
    column: int


class Sequence(msgspec.Struct, frozen=True):
    items: list[Node]
    line: int
    column: int


class Mapping(msgspec.Struct, frozen=True):
    """Keys in the order of the file; a duplicate was reported when the tree was built, and its first value kept."""

    entries: dict[str, tuple[Scalar, Node]]
    line: int
    column: int

    def get(self, key: str) -> Node | None:
        entry = self.entries.get(key)
        return None if entry is None else entry[1]


Node = Scalar | Sequence | Mapping

TOP = Scalar(value=None, text="", quoted=False, line=1, column=1)


def kind(node: Node) -> str:
    """What the node is, in words for a message."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if node.quoted or isinstance(node.value, str):
        return f"the text {shown(node.text)}"
    if node.value is None:
        return "empty"
    return shown_plain(node.text)


def shown(text: str) -> str:
    """Text for a message: quoted, cut at 60 characters, nothing that a terminal would act on."""
    return f'"{shown_plain(text)}"'


def shown_plain(text: str) -> str:
    return printable(text if len(text) <= 60 else text[:57] + "...")


def printable(text: str) -> str:
    """The text with an escape for everything that a terminal would act on."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
