"""Other hosts' Authentication-Results, as they are in the real world: read as far as they make sense, never believed by that.

*Standards.* RFC 8601 §2.2 (form), RFC 8617 §4.1.1 (the same payload in ARC). What is accepted beyond them: no authserv-id
(Microsoft's), a final or doubled semicolon, empty values, keys without ptype (`action=none`), values that should have been quoted.
*Trust.* Hostile text; reading is linear in its length and bounded. A value keeps what it says, control characters included: whoever
writes it escapes it. `is_whole` says that nothing was passed over: only such a field may carry a decision.
*Failure.* None: what cannot be read is left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mail.headers import unfold
from mail.verdict import AuthResult

OCTETS = 64 * 1024
RESULTS = 100
PROPERTIES = 32  # of one result

_SPECIAL = re.compile(r'["();\\]')
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_ID = re.compile(rf"({_QUOTED}|[^\s=;\"]+)(?:\s+0*([0-9]{{1,4}}))?(?=\s|\Z)(?!\s*=)\s*", re.DOTALL)
_METHOD = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)(?:\s*/\s*([0-9]+))?\s*=\s*([A-Za-z][A-Za-z0-9_-]*)(?=\s|\Z)\s*")
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)(?:\s*\.\s*([A-Za-z0-9_-]+))?\s*=")
# White space may follow the "="; but `header.d= header.i=@x` is an empty value and another property.
_VALUE = re.compile(rf"(?:\s+(?!\S*=))?({_QUOTED}[^\s\"]*|[^\s\"]+)?(?=\s|\Z)\s*", re.DOTALL)
_JUNK = re.compile(r"\S+\s*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignResults:
    """What one field says. `authserv_id` is None where it has none, or one that is empty.

    `results` are in order; methods, results and property names in lower case, a key without ptype by its bare name.
    """

    authserv_id: str | None
    results: tuple[AuthResult, ...]
    is_whole: bool


def read_foreign_results(value: bytes) -> ForeignResults:
    """The results in the value of an Authentication-Results field, folded or not."""
    segments, is_whole = _segments(unfold(value[:OCTETS]))
    is_whole = is_whole and len(value) <= OCTETS
    authserv_id: str | None = None
    results: list[AuthResult] = []
    for number, segment in enumerate(segments):
        text = segment
        if number == 0 and (found := _ID.match(text)):
            authserv_id = _unquoted(found.group(1)) or None
            text = text[found.end() :]
            if int(found.group(2) or "1") != 1:
                return ForeignResults(authserv_id=authserv_id, results=(), is_whole=False)
            is_whole = is_whole and not text  # no semicolon behind the id
        if not text or text.lower() == "none":
            continue
        result, was_whole = _result(text)
        is_whole = is_whole and was_whole and len(results) < RESULTS
        if result is not None and len(results) < RESULTS:
            results.append(result)
    return ForeignResults(authserv_id=authserv_id, results=tuple(results), is_whole=is_whole)


def _segments(text: str) -> tuple[list[str], bool]:
    """The parts between semicolons without comments and outer white space, none empty; False if a comment or quote has no end.

    The rest of the text is then dropped: readers do not agree what it says.
    """
    segments: list[list[str]] = [[]]
    depth = start = position = 0
    is_quoted = False
    while (special := _SPECIAL.search(text, position)) is not None:
        mark, position = special.group(), special.end()
        if mark == "\\":
            # An escaped character, where characters can be escaped.
            position += is_quoted or depth > 0
        elif is_quoted:
            is_quoted = mark != '"'
        elif mark == "(":
            if not depth:
                segments[-1] += [text[start : special.start()], " "]
            depth += 1
        elif depth:
            depth -= mark == ")"
            start = position
        elif mark == '"':
            is_quoted = True
        elif mark == ";":
            segments[-1].append(text[start : special.start()])
            segments.append([])
            start = position
    is_whole = not is_quoted and not depth
    if is_whole:
        segments[-1].append(text[start:])
    joined = ("".join(parts).strip() for parts in segments)
    return [segment for segment in joined if segment], is_whole


def _result(text: str) -> tuple[AuthResult | None, bool]:
    """One method's result, and whether all of the text went into it."""
    method = _METHOD.match(text)
    if method is None or (method.group(2) or "1") != "1":
        return None, False
    properties: dict[str, str] = {}
    is_whole = True
    for name, value in _properties(text, method.end()):
        if name is None or name in properties or len(properties) == PROPERTIES:
            is_whole = False
        else:
            properties[name] = value
    reason = properties.pop("reason", "")
    word = method.group(3).lower()
    return AuthResult(method=method.group(1).lower(), result=word, reason=reason, properties=properties), is_whole


def _properties(text: str, position: int) -> Iterator[tuple[str | None, str]]:
    """Names and values in order; None with text that is neither."""
    while position < len(text):
        key = _KEY.match(text, position)
        value = _VALUE.match(text, key.end()) if key else None
        if key is None or value is None:
            junk = _JUNK.match(text, position)
            position = junk.end() if junk else len(text)
            yield None, ""
            continue
        position = value.end()
        name = f"{key.group(1)}.{key.group(2)}" if key.group(2) else key.group(1)
        yield name.lower(), _unquoted(value.group(1) or "")


def _unquoted(text: str) -> str:
    """The text of a quoted string; of `"a b"@c`, with quotes, which are a part of the address."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text
