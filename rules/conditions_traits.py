"""What kind of message it is, each trait with the field or fact that made it so.

*Standards.* RFC 3834 §2 and §5 (automatic), RFC 2919 and RFC 2369 (lists), RFC 1847 and RFC 8551 (encrypted).
*Trust.* Header fields are anybody's: a trait is a courtesy of the sender, and nothing here proves anything.
"""

from mail.address import Mailbox
from mail.headers import Field, HeaderView
from rules.facts import NOT_YET, Facts, Seen, Test

_AUTOMATIC_PRECEDENCE = ("bulk", "junk", "auto_reply")
_AUTOMATIC_FIELDS = ("X-Autoreply", "X-Autorespond", "X-Auto-Reply")
_LIST_FIELDS = (
    "List-Id",
    "List-Post",
    "List-Unsubscribe",
    "List-Subscribe",
    "List-Help",
    "List-Owner",
    "List-Archive",
    "Mailing-List",
)
_SIGNED_ONLY = ("signed-data", "certs-only", "compressed-data")
_PKCS7 = ("application/pkcs7-mime", "application/x-pkcs7-mime")
_SHOWN = 200


def why_auto_generated(header: HeaderView | None, reverse_path: Mailbox | None) -> str | None:
    """What says that no human sent this message; None where nothing does.

    The null reverse-path (RFC 3834 §2: nothing may be answered to it), Auto-Submitted other than no (RFC 3834 §5), a report
    (RFC 6522: DSN and MDN), Precedence bulk, junk or auto_reply, and the fields of responders older than RFC 3834.
    """
    if reverse_path is None:
        return "null reverse-path"
    if header is None:
        return None
    for field in header.all("Auto-Submitted"):
        if _word(field) != "no":
            return _line(field)
    for field in header.all("Content-Type"):
        if _word(field) == "multipart/report":
            return _line(field)
    return _precedence(header, _AUTOMATIC_PRECEDENCE) or _present(header, _AUTOMATIC_FIELDS)


def why_mailing_list(header: HeaderView) -> str | None:
    """A field that only lists and newsletters write: List-* (RFC 2919, RFC 2369), Mailing-List, or Precedence: list."""
    return _present(header, _LIST_FIELDS) or _precedence(header, ("list",))


def why_encrypted(header: HeaderView) -> str | None:
    """A Content-Type that hides the content: multipart/encrypted (RFC 1847: PGP/MIME) or enveloped S/MIME (RFC 8551 §3.2.2).

    Text that was encrypted by hand and pasted into the body is not seen.
    """
    for field in header.all("Content-Type"):
        kind = _word(field)
        if kind == "multipart/encrypted":
            return _line(field)
        if kind in _PKCS7 and not any(word in field.text.lower() for word in _SIGNED_ONLY):
            return _line(field)
    return None


def _word(field: Field) -> str:
    """The value without its parameters and comments, in lower case."""
    return field.text.partition(";")[0].partition("(")[0].strip().lower()


def _line(field: Field) -> str:
    return f"{field.name}: {field.text}"[:_SHOWN]


def _present(header: HeaderView, names: tuple[str, ...]) -> str | None:
    return next((_line(field) for name in names for field in header.all(name)), None)


def _precedence(header: HeaderView, words: tuple[str, ...]) -> str | None:
    return next((_line(field) for field in header.all("Precedence") if _word(field) in words), None)


def compile_auto_generated(value: bool, _: object) -> Test:
    def test(facts: Facts, _: Mailbox | None) -> Seen:
        why = why_auto_generated(facts.header, facts.reverse_path)
        if why is None and facts.header is None:
            return NOT_YET
        return Seen((why is not None) is value, why)

    return test


def compile_mailing_list(value: bool, _: object) -> Test:
    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.header is None:
            return NOT_YET
        why = why_mailing_list(facts.header)
        return Seen((why is not None) is value, why)

    return test


def compile_encrypted(value: bool, _: object) -> Test:
    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.header is None:
            return NOT_YET
        why = why_encrypted(facts.header)
        return Seen((why is not None) is value, why)

    return test
