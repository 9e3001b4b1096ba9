"""Messages and attachments under signed URLs, from the spool (`actions.content_links` signs them).

*Trust.* What is served is hostile mail: it is always a download, never rendered, sniffed or run under our name.
*Failure.* 403 for a URL that is not ours or has expired, 404 for what retention has removed.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, unquote

from actions.content_links import ContentLinks
from actions.loading import Books, find, load
from actions.mime_content import attached
from actions.protocol import Prepend
from mail.octets import spliced, whole
from mail.outcome import DONE
from rules.machine import walk
from spool.ports import Job, JobKind, JobState, Messages, NotFound

_PATH = re.compile(
    r"/(?:attachments/([0-9a-v]{40})/([0-9]{1,4})|messages/([0-9a-v]{40})/([0-9]{1,6})/([^/]+)/([0-9]{1,4}))\Z"
)
_SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "cache-control": "private, no-store",
    "referrer-policy": "no-referrer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class ContentServer:
    """`spool_of` gives the spool that holds a message, None for a shard that is not here."""

    def __init__(
        self,
        links: ContentLinks,
        *,
        spool_of: Callable[[str], Messages | None],
        books: Books,
        prepend: Prepend,
        clock: Callable[[], datetime],
    ) -> None:
        self._links, self._spool_of = links, spool_of
        self._books, self._prepend, self._clock = books, prepend, clock

    async def get(self, path: str, query: Mapping[str, str]) -> Served:
        """`path` is as it stands in the URL, still quoted."""
        refusal = self._links.refusal(path, query.get("expires", ""), query.get("signature", ""), self._clock())
        if refusal is not None:
            return Served(status=403, body=f"{refusal}\n".encode())
        found = _PATH.match(path)
        if found is None:
            return Served(status=404)
        attachment_of, number, message_id, evaluation, rule, index = found.groups()
        try:
            if attachment_of:
                return await self._attachment(attachment_of, int(number))
            return await self._message(message_id, f"{message_id}/{int(evaluation)}/{unquote(rule)}/{int(index)}")
        except NotFound:
            return Served(status=404, body=b"no longer kept\n")

    def _spool(self, message_id: str) -> Messages:
        spool = self._spool_of(message_id)
        if spool is None:
            raise NotFound("no such message here")
        return spool

    async def _attachment(self, message_id: str, number: int) -> Served:
        parts = attached(await self._spool(message_id).body(message_id))
        if number >= len(parts):
            raise NotFound("no such attachment")
        part = parts[number]
        return _download(part.content, part.type, part.name or f"attachment-{number + 1}")

    async def _message(self, message_id: str, key: str) -> Served:
        spool = self._spool(message_id)
        evaluation = int(key.split("/")[1])
        job = Job(
            id=0,
            kind=JobKind.STEP,
            message_id=message_id,
            key=key,
            state=JobState.LEASED,
            attempts=1,
            not_before=self._clock(),
            evaluation=evaluation,
        )
        loaded = await load(spool, self._books, job, await find(spool, job))
        # The step may be under way at this moment, behind others whose outcomes are recorded with its own.
        reached = [trace.step for trace in loaded.evaluation.steps]
        ahead = [at.step for at in walk(loaded.evaluation, DONE) if at.step is not None]
        step = next((step for step in (*reached, *ahead) if step.key == key), None)
        if step is None:
            raise NotFound("no such step")
        content = spliced(self._prepend(loaded.receipt, step), loaded.raw, loaded.receipt.cut)
        return _download(await asyncio.to_thread(whole, content), "message/rfc822", f"{message_id}.eml")


def _download(body: bytes, kind: str, name: str) -> Served:
    disposition = f"attachment; filename*=UTF-8''{quote(name.encode('utf-8', 'replace'), safe='')}"
    return Served(status=200, body=body, headers={**_SAFE, "content-type": kind, "content-disposition": disposition})
