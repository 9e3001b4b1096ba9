"""What libyaml's syntax errors mean to somebody who writes mail rules (semantics.md §8).

libyaml says where it gave up and in what; the cause is read from the line itself. Each cause is tried in order, commonest
first.
"""

from __future__ import annotations

import re

from rules.schema_findings import Finding
from rules.schema_nodes import shown, shown_plain

Place = tuple[int, int]  # line and column, counted from 0 as libyaml counts

_WORD = re.compile(r"[^\s,\]\}]+")
_WILDCARD_DOMAIN = re.compile(r"\*@(\*\.)?([A-Za-z0-9.-]+)\Z")
_SECOND_COLON = re.compile(r":\s+[^,\[\]{}]+\Z")
_SUBDOMAINS = re.compile(r"\*\.([A-Za-z0-9.-]+)\Z")


def explain(text: str, file: str, problem: str, at: Place, begun: Place) -> Finding:
    """`problem` is libyaml's sentence, `at` where it stood, `begun` where the thing began that it was reading."""
    lines = text.split("\n")
    place, message = _cause(lines, problem, at, begun)
    return Finding(severity="error", code="syntax", file=file, line=place[0] + 1, column=place[1] + 1, message=message)


def _cause(lines: list[str], problem: str, at: Place, begun: Place) -> tuple[Place, str]:
    rest = _from(lines, at)
    if "alphabetic or numeric" in problem:
        return begun, _alias(_from(lines, begun))
    if rest.startswith("\t") or "tab character" in problem:
        return at, "a tab stands where YAML allows only spaces; indent with spaces"
    if _line(lines, begun).startswith("%"):
        return begun, _reserved(_line(lines, begun))
    if problem == "found character that cannot start any token":
        return at, _reserved(rest)
    if "mapping values are not allowed" in problem:
        return at, _colon(lines, at)
    if _from(lines, begun)[:1] in ("{", "[") or "flow" in problem or _is_brace_text(lines, at):
        return _flow(lines, at, begun)
    return _other(lines, problem, at, begun)


def _alias(word: str) -> str:
    written = _first_word(word)
    if not written.startswith("*"):
        return f'{shown(written)} begins with "{written[:1]}", which YAML reads as an anchor; write it in quotes'
    return wildcard(written) or f'{shown(written)} begins with "*", which YAML reads as an alias; write it in quotes'


def wildcard(written: str) -> str | None:
    """What to write for a recipient with a `*` in it, or None where it is not one."""
    everyone = _WILDCARD_DOMAIN.match(written)
    if everyone:
        domain = ("." if everyone.group(1) else "") + everyone.group(2).lower()
        return f"{shown(written)}: write {domain}: there are no wildcards"
    below = _SUBDOMAINS.match(written)
    if below:
        return f"{shown(written)}: write .{below.group(1).lower()} for its subdomains: there are no wildcards"
    if written == "*":
        return '"*": leave recipients out to take every recipient: there are no wildcards'
    return None


def _reserved(rest: str) -> str:
    word = _first_word(rest)
    if word.startswith("@") and "." in word:
        return f'{shown(word)} begins with "@", which YAML reserves; for every address of a domain write {shown_plain(word[1:])}'
    return f'{shown(word)} begins with "{shown_plain(word[:1])}", which YAML reserves; write it in quotes'


def _colon(lines: list[str], at: Place) -> str:
    line = _line(lines, at)
    before = line[: at[1]]
    if ":" not in before and at[0] > 0 and len(before) - len(before.lstrip()) > _indent(lines[at[0] - 1]):
        return "this line is indented further than the one above, which has a value already; check the indentation"
    return 'a ":" followed by a space inside a text ends it in YAML; write the whole text in quotes'


def _flow(lines: list[str], at: Place, begun: Place) -> tuple[Place, str]:
    opening = _from(lines, begun)[:1]
    line = _line(lines, at)
    if "{" in line[: at[1]] and not opening:
        opening = "{"
    if "${" in line[: at[1] + 1]:
        return at, 'text with "${...}" inside {...} or [...] needs quotes: "${NAME}"'
    if _is_brace_text(lines, at):
        return at, 'text that begins with "{" is a mapping to YAML; write the whole text in quotes'
    if _SECOND_COLON.search(line[: at[1]]) and line[at[1] : at[1] + 1] == ":":
        return at, 'a ":" followed by a space inside a text ends it in YAML; write the whole text in quotes'
    if opening in ("{", "["):
        closing = "}" if opening == "{" else "]"
        stands = "" if at[0] == begun[0] else f" (reading went wrong at line {at[0] + 1})"
        return begun, f'this "{opening}" is not closed by a "{closing}", or a "," is missing{stands}'
    return at, 'a "," or a closing bracket is missing'


def _other(lines: list[str], problem: str, at: Place, begun: Place) -> tuple[Place, str]:
    here = _from(lines, at)[:1]
    if problem == "found unexpected end of stream":
        quote = _from(lines, begun)[:1]
        return begun, f"this {quote} is never closed; add the closing quote"
    if problem == "found unknown escape character":
        return at, 'no such escape after "\\" in double quotes; write the text in single quotes'
    if here in ("]", "}"):
        return at, f'this "{here}" closes nothing; remove it'
    if re.search(r"""['"\]}]\s*\Z""", _line(lines, at)[: at[1]]):
        return at, "text follows a closing quote or bracket; put the whole value in quotes, a quote in it written twice"
    if "expected <document start>" in problem:
        return at, 'this does not go on from the lines above; expected keys at the left edge, as in "rule_sets:"'
    if "could not find expected ':'" in problem:
        return begun, 'this line is neither "key: value" nor a list item ("- ..."); is a ":" or an indentation missing?'
    if "block sequence entries" in problem:
        return at, 'a list cannot begin on the line of its key; write "- ..." on the next line, indented'
    if "expected key" in problem or "expected '-'" in problem:
        return at, "this line does not fit the indentation of the lines above; check the indentation"
    return at, f"not YAML: {problem}"


def _is_brace_text(lines: list[str], at: Place) -> bool:
    """Whether a `{...}` is followed by more text: `{date:%Y}/x`."""
    before, after = _line(lines, at)[: at[1]].rstrip(), _from(lines, at)
    return before.endswith("}") and bool(after.strip()) and after[:1] not in ",]}#"


def _line(lines: list[str], at: Place) -> str:
    return lines[at[0]] if at[0] < len(lines) else ""


def _from(lines: list[str], at: Place) -> str:
    return _line(lines, at)[at[1] :]


def _first_word(rest: str) -> str:
    found = _WORD.match(rest)
    return found.group() if found else rest[:20]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
