"""The spam score by rspamd, over HTTP (rspamd: protocol, POST /checkv2).

rspamd gives an action; ours is the table `_STATUS`. `add header` and `rewrite subject` are how rspamd says spam that is not
refused, so they are FAIL as SES means it; what it would have come again (greylist, soft reject) is GRAY.

*Trust.* The envelope is hostile: what goes into a request's fields holds no control character. The reply is the operator's
rspamd's, but the message decides how long it is.
*Failure.* `Permanent` for a message larger than our limit or one that rspamd was told to skip, `Temporary` for everything else
that is not a verdict.
"""

import math
from collections.abc import Iterator

import msgspec

from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Permanent, Temporary
from mail.octets import Octets
from mail.verdict import ScanResult, Status
from verdicts.ports import HttpPost

REPLY_OCTETS = 4 * 1024 * 1024  # it lists the message's URLs: 245 KB were seen
# What rspamd reads as head of a request is bounded (80 KiB), and a request it refuses is a message that was not scanned.
_FIELD_OCTETS = 330
_RECIPIENTS = 100
_STATUS = {
    "no action": Status.PASS,
    "greylist": Status.GRAY,
    "soft reject": Status.GRAY,
    "add header": Status.FAIL,
    "rewrite subject": Status.FAIL,
    "quarantine": Status.FAIL,
    "discard": Status.FAIL,
    "reject": Status.FAIL,
}


class _Symbol(msgspec.Struct):
    score: float = 0.0


class _Checked(msgspec.Struct):
    """The reply to /checkv2, as much of it as we use."""

    action: str
    score: float
    required_score: float
    is_skipped: bool = False
    symbols: dict[str, _Symbol] = {}


_decoder = msgspec.json.Decoder(_Checked)


class RspamdScorer:
    """`verdicts.ports.Scanner`. `url` is rspamd's normal worker, as http://127.0.0.1:11333; `size_limit` in octets.

    `threshold` None: rspamd's action decides; else the score does, and an action `reject` (GTUBE, a forced action).
    """

    name = "rspamd"

    def __init__(
        self, url: str, post: HttpPost, *, size_limit: int, deadline_seconds: float, threshold: float | None = None
    ) -> None:
        self._url = url.rstrip("/").removesuffix("/checkv2") + "/checkv2"
        self._post = post
        self._size_limit = size_limit
        self._deadline_seconds = deadline_seconds
        self._threshold = threshold

    async def scan(self, raw: Octets, envelope: Envelope, client: Client, message_id: str = "") -> ScanResult:
        if len(raw) > self._size_limit:
            limit = f"spam.size_limit is {self._size_limit:,}"
            raise Permanent(f"not scanned: too large, {len(raw):,} octets where {limit}")
        answer = await self._post(self._url, list(_fields(envelope, client, message_id)), raw, self._deadline_seconds)
        if answer.status != 200:
            raise Temporary(f"rspamd answered HTTP {answer.status}")
        try:
            checked = _decoder.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Temporary(f"rspamd answered what is no verdict: {error}") from None
        return self._judged(checked, answer.headers.get("server", ""))

    def _judged(self, checked: _Checked, server: str) -> ScanResult:
        status = _STATUS.get(checked.action)
        if status is None or not (math.isfinite(checked.score) and math.isfinite(checked.required_score)):
            raise Temporary(f"rspamd answered an unknown action: {checked.action[:100]!r}, score {checked.score}")
        if checked.is_skipped and checked.action != "reject":
            raise Permanent("not scanned: rspamd was told to skip this message")
        if self._threshold is not None and checked.action != "reject":
            over = checked.score >= self._threshold
            status = Status.FAIL if over else Status.PASS if status is Status.FAIL else status
        weights = {name: symbol.score for name, symbol in checked.symbols.items()}
        return ScanResult(
            status=status,
            engine=self.name,
            version=server.removeprefix("rspamd/"),
            reason=f"action {checked.action}",
            score=checked.score,
            threshold=checked.required_score if self._threshold is None else self._threshold,
            # The heaviest first: evidence has room for so many.
            symbols=tuple(sorted(weights, key=lambda name: (-abs(weights[name]), name))),
        )


def _fields(envelope: Envelope, client: Client, message_id: str) -> Iterator[tuple[str, str]]:
    """What the edge knows of the transaction, in rspamd's words."""
    yield "Content-Type", "application/octet-stream"
    yield "From", _safe(f"<{envelope.reverse_path or ''}>")
    for mailbox in envelope.mailboxes[:_RECIPIENTS]:
        yield "Rcpt", _safe(f"<{mailbox}>")
    if message_id:
        yield "Queue-Id", message_id
    if client.ip is not None:
        yield "IP", client.ip
        yield "Hostname", _safe(client.name or "unknown")
    if client.helo is not None:
        yield "Helo", _safe(client.helo)


def _safe(text: str) -> str:
    """Text for one field: a control character would end it, or the request."""
    shown = "".join(character if character.isprintable() else "?" for character in text[:_FIELD_OCTETS])
    return shown.encode()[:_FIELD_OCTETS].decode("utf-8", "ignore")
