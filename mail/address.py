"""Mailboxes and paths by RFC 5321's grammar.

*Standards.* RFC 5321 §4.1.2 and §4.1.3 (address literals), RFC 6531 (internationalised), RFC 5891 (IDNA).
*Trust.* Every byte comes from a stranger. Nothing is guessed: what the grammar does not allow is `Malformed`.
*Failure.* `Malformed`, whose text is fixed prose and never repeats the input; its subclass `NeedsSmtputf8` tells an address
that would be valid under SMTPUTF8.
"""

import ipaddress
import re
from functools import lru_cache

import idna

from mail.errors import Malformed
from mail.values import Value

LOCAL_PART_OCTETS = 64  # RFC 5321 §4.5.3.1.1
DOMAIN_OCTETS = 255  # RFC 5321 §4.5.3.1.2

# Beyond ASCII everything but the C1 controls, on which terminals act.
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_ATOM = rf"[{_ATEXT}]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*\Z")
_UTEXT = r"\u00a0-\U0010ffff" + _ATEXT
_UTF8_DOT_STRING = re.compile(rf"[{_UTEXT}]+(?:\.[{_UTEXT}]+)*\Z")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~\u00a0-\U0010ffff]|\\[ -~])*)"\Z')
_PLAIN_DOMAIN = re.compile(rf"{_DOMAIN}\Z")
_PLAIN_MAILBOX = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_DOMAIN})\Z")
_SOURCE_ROUTE = re.compile(rf"@{_DOMAIN}(?:,@{_DOMAIN})*:")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_QUOTES = re.compile(r'["\\]')


class NeedsSmtputf8(Malformed):
    """The address is internationalised and the transaction did not ask for SMTPUTF8 (RFC 6531 §3.5: 553 5.6.7)."""


class Mailbox(Value, frozen=True, kw_only=True):
    """Local-part and domain (RFC 5321 §4.1.2).

    `local_part` is the content: quotes and quoted-pairs are removed, so two spellings of one mailbox are equal.
    `domain` is a lower-case A-label or an address literal with its brackets; "" only for the bare `Postmaster`.
    """

    local_part: str
    domain: str

    def __str__(self) -> str:
        return _written(self.local_part, self.domain)

    @property
    def base(self) -> str:
        """The local-part without its label: `user` of `user+label` (SES: recipient conditions)."""
        return self.local_part.partition("+")[0]

    @property
    def label(self) -> str | None:
        """What stands behind the first `+`, or None (SES: recipient conditions)."""
        base, plus, label = self.local_part.partition("+")
        return label if plus and base else None


@lru_cache(maxsize=1024)  # a message's two addresses are written half a dozen times
def _written(local: str, domain: str) -> str:
    if not _UTF8_DOT_STRING.match(local):
        local = '"' + _NEEDS_QUOTES.sub(r"\\\g<0>", local) + '"'
    return f"{local}@{domain}" if domain else local


def parse_domain(text: str) -> str:
    """A domain as its lower-case A-label; U-labels are converted (RFC 5891), one trailing dot is refused."""
    if _PLAIN_DOMAIN.match(text):
        if len(text) > DOMAIN_OCTETS:
            raise Malformed("domain too long")
        return text.lower()
    if text.isascii():
        raise Malformed("not a domain")
    try:
        encoded = idna.encode(text, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise Malformed("not an internationalised domain") from None
    if not _PLAIN_DOMAIN.match(encoded) or len(encoded) > DOMAIN_OCTETS:
        raise Malformed("not a domain")
    return encoded


def domain_spellings(domain: str) -> tuple[str, ...]:
    """An A-label, and its U-label where it has one: header fields may say either (RFC 6532)."""
    try:
        spoken = idna.decode(domain)
    except (idna.IDNAError, UnicodeError):
        return (domain,)
    return (domain,) if spoken == domain else (domain, spoken)


def parse_address_literal(text: str) -> str:
    """`[192.0.2.1]` or `[IPv6:2001:db8::1]`, in canonical form (RFC 5321 §4.1.3); general literals are refused."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else ""
    try:
        if inner[:5].lower() == "ipv6:":
            if "%" in inner:
                raise Malformed("address literal has a zone")
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise Malformed("not an address literal") from None


def parse_mailbox(text: str, *, smtputf8: bool = True) -> Mailbox:
    """One mailbox, without angle brackets. Raises `Malformed`, or `NeedsSmtputf8` where only `smtputf8` is missing."""
    plain = _PLAIN_MAILBOX.match(text)
    if plain:
        local, domain = plain.groups()
        if len(local) > LOCAL_PART_OCTETS or len(domain) > DOMAIN_OCTETS:
            raise Malformed("address too long")
        return Mailbox(local_part=local, domain=domain.lower())
    # A quoted local-part may hold an "@", so the last one divides (a first-@ split would evade SPF).
    local, at, domain = text.rpartition("@")
    if not at:
        raise Malformed("address has no domain")
    local = _local_part(local)
    domain = parse_address_literal(domain) if domain.startswith("[") else parse_domain(domain)
    if not smtputf8 and not text.isascii():
        raise NeedsSmtputf8("address needs SMTPUTF8")
    return Mailbox(local_part=local, domain=domain)


def _local_part(text: str) -> str:
    try:
        octets = len(text.encode())
    except UnicodeEncodeError:
        raise Malformed("address is not valid Unicode") from None
    if octets > LOCAL_PART_OCTETS:
        raise Malformed("local-part too long")
    if _DOT_STRING.match(text):
        return text
    quoted = _QUOTED.match(text)
    if quoted:
        return _ESCAPED.sub(r"\1", quoted.group(1))
    if _UTF8_DOT_STRING.match(text):
        return text
    raise Malformed("not a local-part")


def parse_path(text: str, *, smtputf8: bool = True) -> Mailbox | None:
    """`<mailbox>`, or `<>` as None. A source route is accepted and ignored (RFC 5321 §4.1.1.3, appendix C)."""
    if text == "<>":
        return None
    if not (text.startswith("<") and text.endswith(">")):
        raise Malformed("path lacks its angle brackets")
    inner = text[1:-1]
    if inner.startswith("@"):
        route = _SOURCE_ROUTE.match(inner)
        if not route:
            raise Malformed("not a source route")
        inner = inner[route.end() :]
    return parse_mailbox(inner, smtputf8=smtputf8)
