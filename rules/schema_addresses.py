"""Recipients, domains, addresses and networks as rules write them, with the form in which they are kept.

*Standards.* SES: recipient conditions (§1.4 of its sheet), SES: IP address filters; RFC 5321 §4.1.2 by `mail.address`.
*Trust.* Text of a rules file or of a list beside it; every entry is checked, none is guessed.
*Failure.* `wrong_recipient` and `read_cidr` say what is wrong in a sentence for the file's author.
"""

from __future__ import annotations

import ipaddress
import re

from mail.address import Mailbox, parse_domain, parse_mailbox
from mail.errors import Malformed
from rules.load_syntax import wildcard
from rules.schema_nodes import Node, shown
from rules.schema_reading import Reading

_PLAIN_LOCAL = r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*"
_PLAIN_LABEL = r"[a-z0-9]+(?:-+[a-z0-9]+)*"
# Most recipients are of this form already, and too short for a label or local-part that is too long.
_PLAIN = re.compile(rf"(?=.{{3,64}}\Z){_PLAIN_LOCAL}@{_PLAIN_LABEL}(?:\.{_PLAIN_LABEL})+\Z")
_CIDR = re.compile(r"[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?\Z", re.ASCII)
_LOOKS_LIKE_NETWORK = re.compile(
    r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?:/.*)?\Z|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:/.*)?\Z", re.ASCII
)
_NO_NETWORK = "not an IP address or network"
_REASONS = {"not a local-part": ": look before the @", "not a domain": ": look behind the @"}
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def recipient_pattern(text: str) -> str:
    """`user@example.com`, `example.com` or `.example.com` in lower case with A-labels. Raises `Malformed` with a sentence."""
    if _PLAIN.match(text):
        return text
    hint = wildcard(text)
    if hint is None and "*" in text:
        hint = f"{shown(text)}: there are no wildcards; user@example.com takes its labels (user+...) as well"
    if hint is None and re.match(r"@[A-Za-z0-9.-]+\Z", text):
        hint = f"{shown(text)}: write {text[1:].lower()} for every address of the domain"
    if hint is None and "<" in text:
        hint = f"{shown(text)}: write the address alone, without a name and without < and >"
    if hint is not None:
        raise Malformed(hint)
    if "@" in text:
        mailbox = parse_mailbox(text)
        if mailbox.domain.startswith("["):
            raise Malformed(f"{shown(text)} has an address literal; expected a domain behind the @")
        return str(Mailbox(local_part=mailbox.local_part.lower(), domain=mailbox.domain))
    return domain_pattern(text)


def domain_pattern(text: str) -> str:
    """`example.com` or `.example.com` in lower case with A-labels. Raises `Malformed`."""
    return "." + parse_domain(text[1:]) if text.startswith(".") else parse_domain(text)


def domain_of(pattern: str) -> str:
    """The domain that a recipient pattern is about, `.example.com` for its subdomains."""
    return pattern.rpartition("@")[2]


def is_within(domain: str, domains: frozenset[str]) -> bool:
    """Whether everything of `domain` (`.example.com`: all its subdomains) belongs to `domains`."""
    if domain in domains:
        return True
    inner = domain.removeprefix(".")
    labels = inner.split(".")
    return any("." + ".".join(labels[start:]) in domains for start in range(1, len(labels)))


def read_recipient(reading: Reading, node: Node, what: str) -> str | None:
    """A recipient condition inside the book's domains."""
    text = reading.text(node, what)
    if text is None:
        return None
    pattern = read_address(reading, node, text, what)
    if pattern is None:
        return None
    domain = domain_of(pattern)
    if reading.domains and not is_within(domain, reading.domain_set):
        reading.error(
            "foreign-recipient", node, f"{what} {shown(text)} is outside domains{_domain_hint(reading, domain)}"
        )
        return None
    return pattern


def _domain_hint(reading: Reading, domain: str) -> str:
    listed = ", ".join(reading.domains[:5]) + (", ..." if len(reading.domains) > 5 else "")
    add = f"; add {domain} to domains, or use one of {listed}"
    parent = domain.removeprefix(".")
    if any(known == parent.partition(".")[2] for known in reading.domains):
        add = f"; a domain does not include its subdomains: add .{parent.partition('.')[2]} to domains"
    return add


def read_address(reading: Reading, node: Node, text: str, what: str) -> str | None:
    """An address or domain of anywhere, in recipient syntax."""
    expected = "expected user@example.com, example.com or .example.com"
    try:
        pattern = recipient_pattern(text)
    except Malformed as error:
        sentence = str(error)
        if not sentence.startswith('"'):
            sentence = (
                f"{shown(text)} is not an address or domain{_REASONS.get(sentence, f' ({sentence})')}; {expected}"
            )
        reading.error("bad-address", node, f"{what} {sentence}")
        return None
    # One label alone is a forgotten domain far more often than the name of a host.
    if "@" not in pattern and "." not in pattern.lstrip(".") and pattern not in reading.domain_set:
        write = f"; to look for a part of an address write {{contains: {pattern}}}"
        if what == "recipient":
            write = f"; did you mean {pattern}@{reading.domains[0].lstrip('.')}?" if reading.domains else ""
        reading.error(
            "bad-address", node, f"{what} {shown(text)} is neither an address nor a domain; {expected}{write}"
        )
        return None
    return pattern


def read_domain(reading: Reading, node: Node, what: str) -> str | None:
    text = reading.text(node, what)
    if text is None:
        return None
    if "@" in text or "*" in text:
        hint = wildcard(text) or f"{shown(text)} is not a domain; expected example.com or .example.com"
        reading.error("bad-domain", node, f"{what} {hint}")
        return None
    try:
        return domain_pattern(text)
    except Malformed as error:
        expected = "expected example.com, or .example.com for its subdomains"
        why = "" if str(error) == "not a domain" else f" ({error})"
        reading.error("bad-domain", node, f"{what} {shown(text)} is not a domain{why}; {expected}")
        return None


def cidr_of(text: str) -> str:
    """A network in canonical form, host bits cleared, one address as /32 or /128. Raises `Malformed` with a sentence.

    SES refuses brackets, zones, netmasks and IPv4-mapped addresses, and allows host bits (SES: IP address filters).
    """
    if text.startswith("["):
        raise Malformed("an address here has no brackets")
    if "%" in text:
        raise Malformed("a network has no zone")
    if not _CIDR.match(text):
        raise Malformed(_NO_NETWORK)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Malformed(_what_is_wrong(text)) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        raise Malformed("an IPv4-mapped address never arrives; write the IPv4 address")
    return str(network)


def _what_is_wrong(text: str) -> str:
    address, slash, prefix = text.partition("/")
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return _NO_NETWORK
    return f"an IPv{version} prefix is 0 to {32 if version == 4 else 128}, not {prefix}" if slash else "not a network"


def read_cidr(reading: Reading, node: Node, what: str) -> str | None:
    text = reading.text(node, what)
    if text is None:
        return None
    try:
        return cidr_of(text)
    except Malformed as error:
        expected = "expected a form such as 192.0.2.0/24, 192.0.2.1 or 2001:db8::/32"
        why = "" if str(error) == _NO_NETWORK else f" ({error})"
        reading.error("bad-cidr", node, f"{what} {shown(text)} is not a network{why}; {expected}")
        return None


def read_list_entry(reading: Reading, node: Node, what: str) -> str | None:
    """An entry of an address list: an address, a domain or a network."""
    text = reading.text(node, what)
    if text is None:
        return None
    if _LOOKS_LIKE_NETWORK.match(text):
        return read_cidr(reading, node, what)
    return read_address(reading, node, text, what)
