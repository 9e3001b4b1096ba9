"""HTTP as an action needs it: one POST, one reply. The client is handed in by the composition root."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

REPLY_OCTETS = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """`headers` by lower-case name; `body` are the first `REPLY_OCTETS` at most."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class HttpClient(Protocol):
    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> HttpReply:
        """Follow no redirect, read at most `REPLY_OCTETS`, take `timeout_seconds` in all.

        Raises `Temporary` when no reply came, `Permanent` for a URL that is none or whose target may not be reached.
        """


def http_date(text: str) -> datetime | None:
    """A date of a header field (RFC 9110 §5.6.7); None for what is none, or says nothing of its zone."""
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # OverflowError: a year or a zone of more digits than a date has
        return None
    return None if when.tzinfo is None else when
