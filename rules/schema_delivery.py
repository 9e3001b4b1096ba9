"""The fields of forward, deliver and quarantine: addresses, hosts and paths, each checked where the rules are read."""

from __future__ import annotations

import re
from collections.abc import Container

from mail.address import parse_mailbox
from mail.errors import Malformed
from rules.schema_nodes import Node, Scalar, Sequence, shown
from rules.schema_reading import Reading

ORIGINAL_SENDER = "srs"  # a target of forward: whom an SRS address of ours stands for
MOST_TARGETS = 100
MOST_KEEP_DAYS = 3650
DELIVER_TO = ("lmtp", "smtp", "maildir")

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?)(?::([0-9]{1,5}))?\Z")


def read_targets(reading: Reading, node: Node, what: str) -> list[str] | None:
    """One address or a list of them, each kept once; the word `srs` stands for an SRS address's own sender."""
    items = node.items if isinstance(node, Sequence) else [node]
    found = [_target(reading, item, what) for item in items]
    if not 0 < len(items) <= MOST_TARGETS:
        reading.error("too-many-values", node, f"{what} names {len(items)} addresses; expected 1 to {MOST_TARGETS}")
        return None
    return None if None in found else list(dict.fromkeys(each for each in found if each is not None))


def _target(reading: Reading, node: Node, what: str) -> str | None:
    text = reading.text(node, what)
    if text is None or text == ORIGINAL_SENDER or "${" in text:
        return text
    try:
        mailbox = parse_mailbox(text)
    except Malformed as error:
        expected = f"expected user@example.com, or {ORIGINAL_SENDER} for the sender that an SRS address stands for"
        reading.error("bad-address", node, f"{what} {shown(text)} is not an address ({error}); {expected}")
        return None
    return str(mailbox)


def read_host(reading: Reading, node: Node, what: str) -> str | None:
    """`HOST`, `HOST:PORT` or `[IPv6]:PORT`."""
    text = reading.text(node, what)
    if text is not None and not is_host(text):
        reading.error("bad-host", node, f"{what} {shown(text)} is no host; expected HOST:PORT, as in mail.internal:25")
        return None
    return text


def read_lmtp(reading: Reading, node: Node, what: str) -> str | None:
    """`unix:PATH` of a socket, or a host and port."""
    text = reading.text(node, what)
    if text is None or (text.startswith("unix:") and len(text) > len("unix:") and "\0" not in text) or is_host(text):
        return text
    expected = "expected unix:PATH or HOST:PORT, as in unix:/run/dovecot/lmtp"
    reading.error("bad-host", node, f"{what} {shown(text)} is no server; {expected}")
    return None


def read_keep(reading: Reading, node: Node, what: str) -> int | None:
    """Seconds."""
    return reading.duration(node, what, most_days=MOST_KEEP_DAYS)


def check_deliver(reading: Reading, key: Scalar, written: Container[str]) -> None:
    """One place to deliver to, and no more."""
    named = [name for name in DELIVER_TO if name in written]
    if len(named) != 1:
        what = f"deliver names {' and '.join(named) or 'no place'}; expected one of lmtp, smtp and maildir"
        reading.error("one-place", key, what)


def is_host(text: str) -> bool:
    found = _HOST.match(text)
    return found is not None and (found[1] is None or 0 < int(found[1]) <= 65535)
