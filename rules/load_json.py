"""JSON text as a tree with places: what `aws ses describe-receipt-rule-set` prints.

*Standards.* RFC 8259; strings by the standard library's scanner (surrogate pairs, no control characters).
*Trust.* As `rules.load_yaml`: depth and values are bounded, duplicate keys are errors.
*Failure.* One finding for the first syntax error, never an exception.
"""

from __future__ import annotations

import bisect
import re
from json import JSONDecodeError, JSONDecoder

from rules.load_yaml import MAX_DEPTH, plain_value
from rules.schema_findings import Finding, Report
from rules.schema_nodes import Mapping, Node, Scalar, Sequence, shown

_STRINGS = JSONDecoder()
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACE = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


class _Wrong(Exception):
    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


class _Reader:
    def __init__(self, text: str, report: Report) -> None:
        self._text = text
        self._report = report
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def document(self) -> Node | None:
        try:
            node, end = self._value(self._skip(0), 0)
            end = self._skip(end)
            if end != len(self._text):
                raise _Wrong(end, "something follows the end of the JSON value; remove it")
        except _Wrong as wrong:
            line, column = self._place(wrong.offset)
            found = Finding(
                severity="error", code="syntax", file=self._report.file, line=line, column=column, message=str(wrong)
            )
            self._report.add(found)
            return None
        return node

    def _place(self, offset: int) -> tuple[int, int]:
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def _skip(self, offset: int) -> int:
        found = _SPACE.match(self._text, offset)
        return found.end() if found else offset

    def _value(self, offset: int, depth: int) -> tuple[Node, int]:
        if depth > MAX_DEPTH:
            raise _Wrong(offset, f"nested deeper than {MAX_DEPTH} levels")
        first = self._text[offset : offset + 1]
        if first == "{":
            return self._mapping(offset, depth)
        if first == "[":
            return self._sequence(offset, depth)
        if first == '"':
            return self._string(offset)
        word = _WORD.match(self._text, offset)
        if not word:
            what = "the file ends in the middle" if not first else f"not JSON: unexpected {shown(first)}"
            raise _Wrong(offset, what)
        return Scalar(plain_value(word.group()), word.group(), False, *self._place(offset)), word.end()

    def _string(self, offset: int) -> tuple[Scalar, int]:
        try:
            text, end = _STRINGS.raw_decode(self._text, offset)
        except JSONDecodeError as error:
            raise _Wrong(error.pos, f"not JSON: {error.msg[0].lower()}{error.msg[1:]}") from None
        if not text.isascii() and _SURROGATE.search(text):
            raise _Wrong(offset, "not JSON: half of a surrogate pair in this text")
        return Scalar(text, text, True, *self._place(offset)), end

    def _sequence(self, offset: int, depth: int) -> tuple[Sequence, int]:
        items: list[Node] = []
        end = self._skip(offset + 1)
        if self._text[end : end + 1] == "]":
            return Sequence(items, *self._place(offset)), end + 1
        while True:
            node, end = self._value(end, depth + 1)
            items.append(node)
            end, closed = self._separator(self._skip(end), "]")
            if closed:
                return Sequence(items, *self._place(offset)), end

    def _mapping(self, offset: int, depth: int) -> tuple[Mapping, int]:
        entries: dict[str, tuple[Scalar, Node]] = {}
        end = self._skip(offset + 1)
        if self._text[end : end + 1] == "}":
            return Mapping(entries, *self._place(offset)), end + 1
        while True:
            if self._text[end : end + 1] != '"':
                raise _Wrong(end, "not JSON: a key in double quotes is expected here")
            key, end = self._string(end)
            end = self._skip(end)
            if self._text[end : end + 1] != ":":
                raise _Wrong(end, 'not JSON: a ":" is expected after the key')
            node, end = self._value(self._skip(end + 1), depth + 1)
            self._put(entries, key, node)
            end, closed = self._separator(self._skip(end), "}")
            if closed:
                return Mapping(entries, *self._place(offset)), end

    def _put(self, entries: dict[str, tuple[Scalar, Node]], key: Scalar, node: Node) -> None:
        if key.text in entries:
            first = entries[key.text][0].line
            what = f"duplicate key {shown(key.text)}; it stands in line {first} already, keep one of the two"
            self._report.error("duplicate-key", key, what)
        else:
            entries[key.text] = (key, node)

    def _separator(self, offset: int, closing: str) -> tuple[int, bool]:
        here = self._text[offset : offset + 1]
        if here == closing:
            return offset + 1, True
        if here != ",":
            raise _Wrong(offset, f'not JSON: a "," or a "{closing}" is expected here')
        return self._skip(offset + 1), False


def parse_json(text: str, report: Report) -> Node | None:
    """The one value of `text`, None if nothing could be made of it."""
    return _Reader(text, report).document()
