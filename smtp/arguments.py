"""The arguments of the commands, read by grammar: what it does not allow is answered, never guessed.

*Standards.* RFC 5321 §4.1.1 and §4.1.2, RFC 1870 (SIZE), RFC 6152 (BODY), RFC 6531 (SMTPUTF8), RFC 3030 (BDAT), XCLIENT (Postfix).
*Trust.* Every octet is a stranger's. *Failure.* `Refusal`, which carries the reply.
"""

import re

from mail.address import Mailbox, NeedsSmtputf8, parse_domain, parse_path
from mail.client import Client, canonical_ip
from mail.errors import Malformed
from mail.reply import BAD_ADDRESS, BAD_PARAMETER, BAD_SENDER, MESSAGE_TOO_BIG, NEEDS_SMTPUTF8, SYNTAX_ERROR, Reply
from mail.values import Value, changed

# A quoted local-part may hold spaces and angle brackets; a space behind the colon is common in the wild.
_PATH = r' *(<(?:[^"<>]|"(?:[^"\\]|\\.)*")*>)((?: +[^ ]+)*) *\Z'
_MAIL = re.compile(r"FROM:" + _PATH, re.IGNORECASE)
_RCPT = re.compile(r"TO:" + _PATH, re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]{1,20}\Z")
_HELLO = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}\Z")
_BDAT = re.compile(r"([0-9]{1,20})( +LAST)? *\Z", re.IGNORECASE)
_XTEXT = re.compile(rb"\+([0-9A-F]{2})")
_UNKNOWN = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})
XCLIENT_NAMES = "NAME ADDR PORT PROTO HELO"


class Refusal(Exception):
    """The argument is answered with `reply`; `limit` is the setting that was exceeded, if it was one.

    `sender` is whom MAIL names: the history tells whose mail was too big.
    """

    def __init__(self, reply: Reply, limit: str = "", sender: Mailbox | None = None) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.limit = limit
        self.sender = sender


class MailArgument(Value, frozen=True, kw_only=True):
    reverse_path: Mailbox | None
    declared_size: int | None = None
    body: str = "7BIT"
    smtputf8: bool = False


def decode(argument: bytes) -> str:
    try:
        return argument.decode()
    except UnicodeDecodeError:
        raise Refusal(SYNTAX_ERROR) from None


def parse_hello(argument: bytes) -> str:
    """A domain or address literal. Underscores and single words are let pass: half the honest world says them."""
    text = decode(argument).strip(" ")
    if _HELLO.match(text):
        return text
    if text and not text.isascii():
        try:
            parse_domain(text)
        except Malformed:
            raise Refusal(SYNTAX_ERROR) from None
        return text
    raise Refusal(SYNTAX_ERROR)


def parse_mail(argument: bytes, *, extended: bool, limit: int) -> MailArgument:
    """`FROM:<path> parameters`; `limit` is the SIZE that we announce."""
    match = _MAIL.match(decode(argument))
    if not match:
        raise Refusal(SYNTAX_ERROR)
    try:
        parsed = _parameters(match.group(2), extended=extended, limit=limit) if match.group(2) else {}
    except Refusal as refusal:
        raise Refusal(refusal.reply, refusal.limit, _named(match.group(1))) from None
    smtputf8 = "SMTPUTF8" in parsed
    return MailArgument(
        reverse_path=_path(match.group(1), smtputf8=smtputf8, otherwise=BAD_SENDER),
        declared_size=int(parsed["SIZE"]) if "SIZE" in parsed else None,
        body=parsed.get("BODY", "7BIT"),
        smtputf8=smtputf8,
    )


def _parameters(text: str, *, extended: bool, limit: int) -> dict[str, str]:
    if not extended:
        raise Refusal(BAD_PARAMETER)  # after HELO there are none
    parsed: dict[str, str] = {}
    for word in text.split():
        keyword, equals, value = word.partition("=")
        keyword = keyword.upper()
        if keyword in parsed:
            raise Refusal(SYNTAX_ERROR)
        match keyword:
            case "SIZE":
                if not _DIGITS.match(value):
                    raise Refusal(SYNTAX_ERROR)
                if int(value) > limit:
                    raise Refusal(MESSAGE_TOO_BIG, "smtp.size_limit")
            case "BODY":
                value = value.upper()
                if value not in ("7BIT", "8BITMIME"):
                    raise Refusal(BAD_PARAMETER)  # BINARYMIME clashes with the newline rule
            case "SMTPUTF8":
                if equals:
                    raise Refusal(SYNTAX_ERROR)
            case _:
                # RET, ENVID, AUTH, REQUIRETLS: promises about hops that we do not make (semantics.md §7).
                raise Refusal(BAD_PARAMETER)
        parsed[keyword] = value
    return parsed


def parse_rcpt(argument: bytes, *, smtputf8: bool) -> Mailbox:
    """`TO:<path>`. `<Postmaster>` without a domain comes out with the domain "" (RFC 5321 §4.1.1.3)."""
    match = _RCPT.match(decode(argument))
    if not match:
        raise Refusal(SYNTAX_ERROR)
    path, parameters = match.groups()
    if parameters:
        raise Refusal(BAD_PARAMETER)
    if path.lower() == "<postmaster>":
        return Mailbox(local_part="postmaster", domain="")
    mailbox = _path(path, smtputf8=smtputf8, otherwise=BAD_ADDRESS)
    if mailbox is None:
        raise Refusal(BAD_ADDRESS)
    return mailbox


def _named(path: str) -> Mailbox | None:
    try:
        return parse_path(path, smtputf8=True)
    except Malformed:
        return None


def _path(text: str, *, smtputf8: bool, otherwise: Reply) -> Mailbox | None:
    try:
        return parse_path(text, smtputf8=smtputf8)
    except NeedsSmtputf8:
        raise Refusal(NEEDS_SMTPUTF8) from None
    except Malformed:
        raise Refusal(otherwise) from None


def parse_bdat(argument: bytes) -> tuple[int, bool]:
    """The octets of the chunk, and whether it is the last. An unreadable size closes: what follows could be anything."""
    match = _BDAT.match(argument.decode("latin-1"))
    if not match:
        raise Refusal(SYNTAX_ERROR.closing())
    return int(match.group(1)), match.group(2) is not None


def parse_xclient(argument: bytes, client: Client) -> Client:
    """The client as a trusted front end describes it; what it does not name stays, what it does not know is forgotten."""
    for word in decode(argument).split():
        name, equals, value = word.partition("=")
        known = "" if value.upper() in _UNKNOWN else decode(_XTEXT.sub(_octet, value.encode()))
        if not equals or (known and not (known.isprintable() and len(known) <= 255)):
            raise Refusal(SYNTAX_ERROR)
        try:
            client = _with_attribute(client, name.upper(), known)
        except ValueError:
            raise Refusal(SYNTAX_ERROR) from None
    return client


def _octet(encoded: re.Match[bytes]) -> bytes:
    return bytes.fromhex(encoded[1].decode("ascii"))


def _with_attribute(client: Client, name: str, value: str) -> Client:
    match name:
        case "ADDR":
            text = value[5:] if value[:5].lower() == "ipv6:" else value
            return changed(client, ip=canonical_ip(text) if text else None)
        case "PORT":
            return changed(client, port=_port(value) if value else None)
        case "NAME":
            return changed(client, name=value.lower() or None)
        case "HELO":
            return changed(client, helo=parse_hello(value.encode()) if value else None)
        case "PROTO":
            return changed(client, protocol="ESMTP" if value.upper() == "ESMTP" else "SMTP")
        case _:
            raise Refusal(BAD_PARAMETER)


def _port(text: str) -> int:
    if not _DIGITS.match(text) or not 0 < int(text) < 65536:
        raise ValueError(text)
    return int(text)
