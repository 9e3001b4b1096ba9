"""Authentication-Results: ours to write, and which fields of a message only we may have written.

*Standards.* RFC 8601 (form, §5: fields with our id that came with the message), RFC 2045 §5.1 (token), RFC 5322 §3.2.2 (comments);
SES: Authentication-Results, X-SES-Spam-Verdict, X-SES-Virus-Verdict, X-SES-RECEIPT.
*Trust.* Every value is hostile: a value is a token, a plain address or a quoted string, or it is left out. authres holds the
results and checks their form; it does not escape, so the lines are ours.
*Failure.* None for hostile text; `Misuse` for an authserv-id that is no token.
"""

import re

import authres

from mail.address import parse_domain
from mail.errors import Malformed, Misuse
from mail.headers import FOLD_AT, Field, HeaderView, header_field
from mail.message import Span
from mail.receipt import Receipt
from mail.trace_fields import received_spf_text
from mail.values import changed
from mail.verdict import AuthResult
from mail.words import decode_words

OURS_ONLY = frozenset({"x-ses-spam-verdict", "x-ses-virus-verdict", "x-ses-receipt"})
AUTHENTICATION_RESULTS = "authentication-results"
_SUSPECT = OURS_ONLY | {AUTHENTICATION_RESULTS, ""}  # names that a field of ours may bear; "" is no field
VALUE_LENGTH = 320

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+\Z")
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]*@[A-Za-z0-9.-]+\Z")
_PRINTABLE = re.compile(r"[ -~]*\Z")
_NOT_A_NAME = re.compile(rb"[^A-Za-z-]")
_LINE = re.compile(rb"[\r\n]+")
_WORD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~\u00a0-\U0010ffff-]+")  # a token, or an international one
_REST_OF_ID = re.compile(r"\s*(?:[0-9]+\s*)?(?:;|\Z)")

# What each method shows in RFC 8601's form; the rest is for our own explanation.
_SHOWN = {
    "spf": ("smtp.mailfrom", "smtp.helo"),
    "dkim": ("header.d", "header.i", "header.s", "header.a", "header.b"),
    "arc": ("header.d",),
    "dmarc": ("header.from", "policy.dmarc", "policy.arc"),
}


def authentication_results(receipt: Receipt, *, authserv_id: str, style: str = "ses") -> bytes:
    """The whole field with its final CRLF, one result a line; `style` is `ses` or `rfc8601`."""
    if not _TOKEN.match(authserv_id):
        raise Misuse("authserv-id is not a token")
    clauses = _ses_clauses(receipt) if style == "ses" else _rfc8601_clauses(receipt)
    first = header_field("Authentication-Results", f"{authserv_id};").removesuffix(b"\r\n")
    # RFC 8601 §2.2: where no check was made, the field says so.
    return b"".join((first, *(b"\r\n " + _line(clause) for clause in clauses or ["none"]), b"\r\n"))


def _folded(units: list[str]) -> list[str]:
    """The parts of one clause as lines of at most 77 characters where their own length allows it."""
    lines = [units[0]]
    for unit in units[1:]:
        if len(lines[-1]) + len(unit) + 1 < FOLD_AT:
            lines[-1] += " " + unit
        else:
            lines.append(" " + unit)
    return lines


def _line(clause: str) -> bytes:
    # header_field refuses a line break in a value; a clause is held to the same rule.
    return header_field("X", clause)[3:-2]


def _ses_clauses(receipt: Receipt) -> list[str]:
    """SES's form: jSPF's sentence, one dkim clause for each signature and none without, dmarc last, each with its semicolon.

    A DMARC failure that a trusted ARC sealer lifted, which SES does not know, is told by `policy.arc`.
    """
    verdicts = receipt.verdicts
    clauses = [f"spf={received_spf_text(receipt)}"] if verdicts.results("spf") else []
    for result in verdicts.results("dkim"):
        domain = result.properties.get("header.i", "").rpartition("@")[2] or result.properties.get("header.d", "")
        value = property_value("@" + domain) if domain else None
        clauses.append(f"dkim={result.result}{f' header.i={value}' if value else ''};")
    for result in verdicts.results("dmarc"):
        value = property_value(result.properties.get("header.from", ""))
        sealer = property_value(result.properties.get("policy.arc", ""))
        shown = f"{f' header.from={value}' if value else ''}{f' policy.arc={sealer}' if sealer else ''}"
        clauses.append(f"dmarc={result.result}{shown};")
    return clauses


def _rfc8601_clauses(receipt: Receipt) -> list[str]:
    verdicts = receipt.verdicts
    dkim = verdicts.dkim or (AuthResult(method="dkim", result="none"),)
    verdicts = changed(verdicts, dkim=dkim)
    results = [result for method in ("spf", "dkim", "arc", "dmarc") for result in verdicts.results(method)]
    clauses = [_clause(result) for result in results]
    for units in clauses[:-1]:
        units[-1] += ";"
    return [line for units in clauses for line in _folded(units)]


def _clause(result: AuthResult) -> list[str]:
    shown = [
        authres.AuthenticationResultProperty(*name.split("."), value)
        for name in _SHOWN[result.method]
        if (value := result.properties.get(name)) and property_value(value) is not None
    ]
    held = authres.AuthenticationResult(result.method, result=result.result, properties=shown)
    values = [f"{one.type}.{one.name}={property_value(one.value)}" for one in held.properties]
    return [f"{held.method}={held.result}", *values]


def property_value(text: str) -> str | None:
    """A value as RFC 8601 §2.2 allows it: token, address or quoted string; None for what none of them can carry."""
    if not text or len(text) > VALUE_LENGTH:
        return None
    if _TOKEN.match(text) or _ADDRESS.match(text):
        return text
    if _PRINTABLE.match(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return None


def forged_spans(header: HeaderView, authserv_id: str) -> tuple[Span, ...]:
    """The spans of fields that only we may write (semantics.md §5), in order. In doubt a field is cut.

    Doubt is a malformed field that some reader could take for one of ours, and a field that hides such a line behind a bare
    CR or LF. Text before the first field that begins with white space is cut too: below our own fields it would go on with
    the last of them.
    """
    if not header.has_bare_line_ends and not header.has_any(_SUSPECT):
        return ()  # each field is what its name says
    wanted = _folded_id(authserv_id)
    return tuple((field.start, field.end) for field in header.fields if _is_ours(field, wanted))


def _is_ours(field: Field, authserv_id: str) -> bool:
    name = field.name.lower()
    if name in OURS_ONLY or field.raw.startswith((b" ", b"\t")):
        return True
    if name == AUTHENTICATION_RESULTS:
        return _names_us(field.value, authserv_id)
    if name and b"\n" not in field.raw.replace(b"\r\n", b"") and b"\r" not in field.raw.replace(b"\r\n", b""):
        return False
    # A name over several lines, as a reader sees it who unfolds first.
    if _seen_name(field.raw) in OURS_ONLY:
        return True
    # No field to us, or one with bare line ends: what would a reader see who reads every line by itself?
    for line in _LINE.split(field.raw):
        label, colon, value = line.partition(b":")
        seen = _seen_name(label)
        if colon and (seen in OURS_ONLY or (seen == AUTHENTICATION_RESULTS and _names_us(value, authserv_id))):
            return True
    return False


def _seen_name(text: bytes) -> str:
    return _NOT_A_NAME.sub(b"", text.partition(b":")[0]).decode("ascii").lower()


def _names_us(value: bytes, authserv_id: str) -> bool:
    """Whether this Authentication-Results value carries our id, comments, quotes, case and version aside (RFC 8601 §2.2)."""
    text = value.decode("utf-8", "replace")
    found, rest = _leading_word(_skip_comments(text))
    if found is not None and _REST_OF_ID.match(_skip_comments(rest)):
        return _folded_id(found) == authserv_id
    # Malformed: cut it if our id stands anywhere in it once everything that may hide it is gone.
    return any(_bare(authserv_id) in _bare(seen) for seen in (text, _without_comments(text), decode_words(text)))


def _bare(text: str) -> str:
    return "".join(character for character in text if character.isalnum() or character in ".-_").lower()


def _leading_word(text: str) -> tuple[str | None, str]:
    """The token or quoted string that text begins with, and what follows it."""
    if text.startswith('"'):
        word: list[str] = []
        position = 1
        while position < len(text):
            character = text[position]
            if character == '"':
                return "".join(word), text[position + 1 :]
            if character == "\\":
                position += 1
            word.append(text[position : position + 1])
            position += 1
        return None, ""
    word_match = _WORD.match(text)
    return (word_match.group(), text[word_match.end() :]) if word_match else (None, text)


def _skip_comments(text: str) -> str:
    """Text behind leading white space and comments, which nest; "" if a comment does not end."""
    depth = position = 0
    while position < len(text):
        character = text[position]
        if character == "(":
            depth += 1
        elif character == ")" and depth:
            depth -= 1
        elif character == "\\" and depth:
            position += 1
        elif not depth and character not in " \t\r\n":
            return text[position:]
        position += 1
    return ""


def _without_comments(text: str) -> str:
    kept: list[str] = []
    depth = 0
    for character in text:
        depth += character == "("
        if not depth:
            kept.append(character)
        depth -= character == ")" and depth > 0
    return "".join(kept)


def _folded_id(text: str) -> str:
    """An id as ids are compared: case, a final dot and the spelling of an international name aside."""
    folded = text.strip().lower().removesuffix(".")
    try:
        return folded if folded.isascii() else parse_domain(folded)
    except Malformed:
        return folded
