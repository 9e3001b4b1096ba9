"""Names as DNS writes them."""

import re

_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")


def presentation(name: str) -> str | None:
    """A name in DNS presentation form, odd octets escaped; None if it cannot be one (RFC 1035 §2.3.4)."""
    labels = name.removesuffix(".").split(".")
    try:
        octets = [label.encode() for label in labels]
    except UnicodeEncodeError:
        return None
    if not all(0 < len(label) < 64 for label in octets) or sum(map(len, octets)) + len(octets) > 254:
        return None
    if all(_PLAIN.match(label) for label in labels):
        return ".".join(labels)
    return ".".join("".join(map(_escaped, label)) for label in octets)


def _escaped(octet: int) -> str:
    character = chr(octet)
    return character if _PLAIN.match(character) else f"\\{octet:03}"
