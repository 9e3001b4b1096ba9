"""The values of settings that are more than a word or a number: each reader says what it expected and returns None then."""

import math
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from gatepost.settings import MOST_WORKERS
from mail.address import parse_domain
from mail.errors import Malformed
from mail.verdict import CHECKS
from rules.schema_nodes import Node, Scalar, Sequence, shown
from rules.schema_reading import Reading
from verdicts.daemon import parse_endpoint

MOST_DEADLINE_SECONDS = 120  # semantics.md §5
_URL = re.compile(r"https?://[^/\s?#@]+(?:/[^\s?#]*)?\Z")
_HOOK = re.compile(r"https?://[!-~]+\Z")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\s]+)):([0-9]{1,5})\Z")


def parse_address(text: str) -> tuple[str, int] | None:
    """`HOST:PORT` or `[IPv6]:PORT`; port 0 lets the system choose."""
    match = _ADDRESS.match(text)
    if not match or int(match.group(3)) > 65535:
        return None
    return match.group(1) or match.group(2), int(match.group(3))


def parse_domain_or_below(text: str) -> str:
    return "." * text.startswith(".") + parse_domain(text.removeprefix("."))


def written(node: Node) -> str:
    return shown(node.text) if isinstance(node, Scalar) else "no number"


def address_in(reading: Reading, node: Node, what: str) -> str | None:
    text = reading.text(node, what)
    if text is None:
        return None
    if parse_address(text) is None:
        reading.error(
            "bad-address", node, f"{what} is {shown(text)}; expected HOST:PORT, as in 127.0.0.1:2525 or [::]:25"
        )
        return None
    return text


def deadline_in(reading: Reading, node: Node, what: str) -> int | None:
    seconds = reading.duration(node, what, most_days=1)
    if seconds is not None and seconds > MOST_DEADLINE_SECONDS:
        reading.error("bad-duration", node, f"{what} is {written(node)}; expected {MOST_DEADLINE_SECONDS}s at most")
        return None
    return seconds


def number_in(reading: Reading, node: Node, what: str) -> float | None:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    reading.wrong_type(node, what, "a number")
    return None


def url_in(reading: Reading, node: Node, what: str, words: tuple[str, ...]) -> str | None:
    text = reading.text(node, what)
    if text is not None and text not in words and not _URL.match(text):
        expected = f"expected {', '.join((*words, 'a URL'))}, as in http://127.0.0.1:11333"
        reading.error("bad-url", node, f"{what} is {shown(text)}; {expected}")
        return None
    return text


def hook_in(reading: Reading, node: Node, what: str) -> str | None:
    """A URL that may hold a secret in its path or query: no error repeats it."""
    text = reading.text(node, what)
    if text is not None and not (_HOOK.match(text) and _has_host(text)):
        reading.error("bad-url", node, f"{what} is not a URL; expected one, as in https://hooks.example.com/gatepost")
        return None
    return text


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def endpoint_in(reading: Reading, node: Node, what: str) -> str | None:
    text = reading.text(node, what)
    if text is not None and parse_endpoint(text) is None:
        expected = "expected unix:/PATH or tcp:HOST:PORT, as in unix:/run/clamav/clamd.ctl"
        reading.error("bad-address", node, f"{what} is {shown(text)}; {expected}")
        return None
    return text


def parsed_in(
    reading: Reading, node: Node, what: str, code: str, parse: Callable[[str], Any], expected: str = ""
) -> str | None:
    """The text if `parse` takes it; what it makes of it, if that is text. `expected` stands for what it raises."""
    text = reading.text(node, what)
    if text is None:
        return None
    try:
        made = parse(text)
    except Malformed as error:
        reading.error(code, node, f"{what} is {shown(text)}; {expected or error}")
        return None
    return made if isinstance(made, str) else text


def checks_in(reading: Reading, node: Node, what: str) -> tuple[str, ...] | None:
    """In the table's order, however they are written; () for the word `none`, or an empty list."""
    items = node.items if isinstance(node, Sequence) else [node]
    if len(items) == 1 and isinstance(items[0], Scalar) and items[0].text.lower() == "none":
        return ()
    words = [reading.word(item, what, CHECKS) for item in items]
    if None in words:
        return None
    if "dmarc" in words and not {"spf", "dkim"} <= set(words):
        told = "name them too, or leave dmarc out"
        reading.error("half-dmarc", node, f"{what} names dmarc without spf and dkim, on both of which it rests; {told}")
        return None
    return tuple(check for check in CHECKS if check in words)


def workers_in(reading: Reading, node: Node, what: str) -> int | None:
    count = reading.count(node, what)
    if count is not None and count > MOST_WORKERS:
        reading.error("bad-number", node, f"{what} is {count}; expected {MOST_WORKERS} at most")
        return None
    return count
