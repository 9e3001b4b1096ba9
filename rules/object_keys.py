"""Templates of object keys and of object metadata: text with placeholders from a closed list (SES: S3 action, object key prefix).

`{date:%Y/%m/%d}` takes the digits of the time of receipt in UTC, `{{` and `}}` are braces. `${NAME}` is the environment's and is
left alone: it has its value before a template is filled.

*Trust.* A template is the operator's, what fills it a stranger's: `actions.object_key` makes each value safe.
*Failure.* `Malformed`, with the nearest known word.
"""

import re
from dataclasses import dataclass

from mail.errors import Malformed
from rules.schema_findings import nearest, one_of

PLACEHOLDERS = {
    "message_id": "the message's id, which stands at the end where the template does not name it",
    "date": "when it was received, in UTC: {date:%Y/%m/%d}",
    "rule": "the rule's name",
    "recipient.address": "the recipient; one object for each recipient that the rule took",
    "recipient.local_part": "its local part",
    "recipient.base": "its local part without the label",
    "recipient.label": "what stands behind its first +",
    "recipient.domain": "its domain",
    "from.domain": "the domain of the From field",
    "spam": "the spam verdict as the rule sees it, as in PASS",
    "size": "the message's octets",
    "match.NAME": "what the group (?P<NAME>...) of a `matches` condition of the rule captured",
}
RECIPIENT, MATCH = "recipient.", "match."
DATE = "%Y-%m-%d"
_DATE_PARTS = frozenset("YmdHMSjGVu")
_DATE_TEXT = re.compile(r"(?:%[A-Za-z]|[A-Za-z0-9/_.=-])+\Z")
_MATCH = re.compile(r"match\.([A-Za-z_][A-Za-z0-9_]*)\Z")
_TOKEN = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One of `PLACEHOLDERS`; `form` is the date's."""

    name: str
    form: str = ""


Template = tuple[str | Placeholder, ...]


def parse_template(text: str) -> Template:
    """The pieces in order. Raises `Malformed`, which says what stands there and what may."""
    pieces: list[str | Placeholder] = []
    at = 0
    for token in _TOKEN.finditer(text):
        pieces.append(text[at : token.start()])
        at = token.end()
        word = token.group()
        if word in ("{", "}"):
            raise Malformed(f'a single {word}; write "{word}{word}" for the character itself')
        pieces.append(_placeholder(token.group(1)) if token.group(1) is not None else _literal(word))
    pieces.append(text[at:])
    return tuple(piece for piece in pieces if piece != "")


def literal_template(text: str) -> str:
    """The template that means this text as it stands."""
    return text.replace("{", "{{").replace("}", "}}")


def per_recipient(template: Template) -> bool:
    """Whether each recipient has an object of its own."""
    return any(isinstance(piece, Placeholder) and piece.name.startswith(RECIPIENT) for piece in template)


def names_in(template: Template) -> frozenset[str]:
    """The placeholders' names."""
    return frozenset(piece.name for piece in template if isinstance(piece, Placeholder))


def match_names(text: str) -> frozenset[str]:
    """The NAMEs of `{match.NAME}` in a text that is a template; none in one that is not."""
    if "{match." not in text:
        return frozenset()
    try:
        names = names_in(parse_template(text))
    except Malformed:
        return frozenset()
    return frozenset(found[1] for name in names if (found := _MATCH.match(name)))


def _literal(word: str) -> str:
    return word if word.startswith("$") else word[0]


def _placeholder(inner: str) -> Placeholder:
    name, colon, form = inner.partition(":")
    if name not in PLACEHOLDERS and not _MATCH.match(name):
        expected = nearest(name, PLACEHOLDERS) or f"; expected {one_of(PLACEHOLDERS)}"
        raise Malformed(f"unknown placeholder {{{inner}}}{expected}")
    if colon and name != "date":
        raise Malformed(f"{{{inner}}}: only date takes a form; write {{{name}}}")
    if name == "date":
        _check_date(form or DATE)
        return Placeholder(name, form or DATE)
    return Placeholder(name)


def _check_date(form: str) -> None:
    unknown = [f"%{letter}" for letter in re.findall("%(.)", form) if letter not in _DATE_PARTS]
    if unknown:
        known = one_of([f"%{letter}" for letter in sorted(_DATE_PARTS)])
        raise Malformed(f"{{date:{form}}} has {unknown[0]}; expected {known}")
    if not _DATE_TEXT.match(form) or {".", ".."} & set(form.split("/")):
        raise Malformed(f"{{date:{form}}} is no form of a date; expected one such as {{date:%Y/%m/%d}}")
