"""The spam score by SpamAssassin's spamd (spamd/PROTOCOL: SYMBOLS, PING, HEADERS of SPAMC/1.5).

*Trust.* The message is hostile and is sent as it is; only numbers and symbols are read back.
*Failure.* `Permanent` for a message larger than our limit, `Temporary` for everything else that is not a verdict.
"""

import asyncio
import math
import re

from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Permanent, Temporary
from mail.octets import Octets
from mail.verdict import ScanResult, Status
from verdicts.daemon import Daemons, Endpoint, Timing, at_once, exchange, in_pieces

VERSION_SECONDS = 600.0
_HEAD_END = b"\r\n\r\n"
_STATUS_LINE = re.compile(rb"SPAMD/[0-9.]+ ([0-9]+) ([^\r\n]*)")
_LENGTH = re.compile(rb"^Content-length: *([0-9]{1,9}) *\r?$", re.MULTILINE | re.IGNORECASE)
_SPAM = re.compile(rb"^Spam: (True|False) ; (-?[0-9.]+) / (-?[0-9.]+) *\r?$", re.MULTILINE | re.IGNORECASE)
_VERSION = re.compile(rb"^X-Spam-Checker-Version: SpamAssassin ([^\s()]+)", re.MULTILINE)
_PROBE = b"\r\n"


class SpamdScorer:
    """`verdicts.ports.Scanner`. Used in one event loop; `size_limit` in octets. `threshold` None: spamd's required_score."""

    name = "spamd"

    def __init__(
        self, endpoint: Endpoint, *, size_limit: int, threshold: float | None = None, timing: Timing | None = None
    ) -> None:
        self._size_limit = size_limit
        self._threshold = threshold
        self._timing = timing or Timing()
        self._daemons = Daemons((endpoint,), self._ping, self._timing)
        self._version = ""
        self._asked_at = -VERSION_SECONDS
        self._asking: asyncio.Task[None] | None = None

    async def scan(self, raw: Octets, envelope: Envelope, client: Client, message_id: str = "") -> ScanResult:
        del envelope, client, message_id
        if len(raw) > self._size_limit:
            limit = f"spam.size_limit is {self._size_limit:,}"
            raise Permanent(f"not scanned: too large, {len(raw):,} octets where {limit}")
        return await self._daemons.ask(lambda endpoint: self._scan(endpoint, raw))

    async def _scan(self, endpoint: Endpoint, raw: Octets) -> ScanResult:
        asking = self._ask_version(endpoint)
        head, body = await self._asked(endpoint, "SYMBOLS", raw)
        if asking is not None:
            await asyncio.wait((asking,))
            # It may have been asked by a scan that found the daemon hung.
            again = self._ask_version(endpoint)
            if again not in (None, asking):
                await asyncio.wait((again,))
        found = _SPAM.search(head)
        score, required = (_number(found.group(2)), _number(found.group(3))) if found else (math.nan, math.nan)
        if found is None or not (math.isfinite(score) and math.isfinite(required)):
            raise Temporary(f"{endpoint} answered what is no verdict: {_shown(head)}")
        threshold = required if self._threshold is None else self._threshold
        is_spam = found.group(1).lower() == b"true" if self._threshold is None else score >= threshold
        return ScanResult(
            status=Status.FAIL if is_spam else Status.PASS,
            engine=self.name,
            version=self._version,
            score=score,
            threshold=threshold,
            symbols=tuple(symbol for symbol in body.decode("utf-8", "replace").strip().split(",") if symbol),
        )

    async def _asked(self, endpoint: Endpoint, method: str, raw: Octets) -> tuple[bytes, bytes]:
        """Head and body of the reply to a request about a message. Raises `Temporary` for what is not a whole reply."""
        request = in_pieces(raw, _request(method, len(raw)))
        # spamd reads by lines: of a message without a line end at its end (BDAT) it would wait for more until its own time limit.
        octets = (await exchange(endpoint, request, _is_whole, self._timing, closes=True)).octets
        head, body = _parted(octets)
        status = _STATUS_LINE.match(head)
        if status is not None and status.group(1) != b"0":
            raise Temporary(f"{endpoint} answered {_shown(status.group(0))}")
        if status is None or not _is_whole(octets):
            raise Temporary(f"{endpoint} closed the connection in the middle of an answer: {_shown(octets)}")
        return head, body

    def _ask_version(self, endpoint: Endpoint) -> "asyncio.Task[None] | None":
        """What a scan waits for that has no version yet: the question, asked beside it. Asked again rarely, and nobody waits."""
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= VERSION_SECONDS:
            self._asked_at = now
            self._asking = asyncio.create_task(self._learn_version(endpoint))
        return None if self._version else self._asking

    async def _learn_version(self, endpoint: Endpoint) -> None:
        """SpamAssassin's version, which it tells only in what it writes into a message; asked of an empty one."""
        try:
            async with asyncio.timeout(self._timing.connect):
                _, body = await self._asked(endpoint, "HEADERS", _PROBE)
        except (TimeoutError, Temporary):
            self._asked_at = -VERSION_SECONDS  # the next scan asks again
            return
        found = _VERSION.search(body)
        self._version = found.group(1).decode("ascii", "replace") if found else ""

    async def _ping(self, endpoint: Endpoint) -> None:
        reply = await exchange(endpoint, at_once(_request("PING", None)), lambda octets: b"\n" in octets, self._timing)
        if not re.match(rb"SPAMD/[0-9.]+ 0 PONG", reply.octets):
            raise Temporary(f"{endpoint} answered {_shown(reply.octets)} to a ping")


def _request(method: str, octets: int | None) -> bytes:
    lines = [f"{method} SPAMC/1.5"] if octets is None else [f"{method} SPAMC/1.5", f"Content-length: {octets}"]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _parted(octets: bytes) -> tuple[bytes, bytes]:
    head, _, body = octets.partition(_HEAD_END)
    length = _LENGTH.search(head)
    return head, body[: int(length.group(1))] if length else body


def _is_whole(octets: bytes) -> bool:
    head, separator, body = octets.partition(_HEAD_END)
    length = _LENGTH.search(head)
    return bool(separator) and length is not None and len(body) >= int(length.group(1))


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _shown(octets: bytes) -> str:
    return repr(octets[:200].decode("utf-8", "replace"))
