"""What judging needs of the world: DNS answers and scanners."""

import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from mail.client import Client
from mail.envelope import Envelope
from mail.octets import Octets
from mail.values import Value
from mail.verdict import ScanResult


class Lookup(StrEnum):
    """The three ways a DNS question ends. NXDOMAIN and an empty answer are both NONE."""

    RECORDS = "records"
    NONE = "none"
    TEMPORARY = "temporary"


class Answer(Value, frozen=True, kw_only=True):
    """One DNS answer. `records` are texts: TXT as its strings joined, A, AAAA, PTR and CNAME as they are, MX as
    `"10 host"`; names without final dot.

    TXT is decoded as latin-1, so that octets survive. `ttl` in seconds. Without records, `detail` says why: `NXDOMAIN` where
    the name does not exist (an empty answer says nothing), else the failure (`SERVFAIL`, `TIMEOUT`).
    """

    outcome: Lookup
    records: tuple[str, ...] = ()
    ttl: int = 60
    detail: str = ""

    @property
    def content(self) -> tuple[str, ...]:
        """What the evidence keeps: the records, or why there are none."""
        return self.records or ((self.detail,) if self.detail else ())

    @property
    def digest(self) -> str:
        """The name of outcome and content together."""
        return _digest(self.outcome, self.content)


@lru_cache(maxsize=8192)
def _digest(outcome: str, records: tuple[str, ...]) -> str:
    return hashlib.sha256(repr((outcome, records)).encode()).hexdigest()[:32]


class Resolver(Protocol):
    """DNS, three-valued, never raising for DNS reasons.

    `name` without final dot, any case; `type` is TXT, A, AAAA, MX, PTR or CNAME.
    """

    def lookup(self, name: str, type: str) -> Awaitable[Answer]: ...  # noqa: A002

    def cached(self, name: str, type: str) -> Answer | None:  # noqa: A002
        """The answer if it is known without waiting (cache, zone file, recording); None if `lookup` must be asked."""


class Scanner(Protocol):
    """A spam or virus engine. It answers a ScanResult; it never reads unscanned as clean. `message_id` is ours, for its log.

    Raises `Temporary` when it could not scan, `Permanent` when a later attempt would not help (the message is too large).
    """

    name: str

    async def scan(self, raw: Octets, envelope: Envelope, client: Client, message_id: str = "") -> ScanResult: ...


class HttpAnswer(Protocol):
    """`headers` by lower-case name; `body` may be cut at the client's limit."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def body(self) -> bytes: ...


class HttpPost(Protocol):
    """One POST over pooled connections, nothing followed. Raises `Temporary` when no reply came."""

    async def __call__(
        self, url: str, headers: Sequence[tuple[str, str]], body: Octets, timeout_seconds: float
    ) -> HttpAnswer: ...
