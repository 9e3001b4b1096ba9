"""webhook: the message to a URL in one of six forms, signed (Standard Webhooks specification; `actions.webhook_formats`).

*Standards.* RFC 9110 (status codes, Retry-After §10.2.3); Standard Webhooks (`webhook-id`, `webhook-timestamp`,
`webhook-signature: v1,…`).
*Trust.* The receiver is configured, its replies are not believed beyond their status and Retry-After.
*Failure.* 2xx is success, 403 and 410 end it, everything else, redirects too, is tried again.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from actions.content_links import ContentLinks
from actions.http_port import HttpClient, HttpReply, http_date
from actions.protocol import Context
from actions.webhook_formats import FORMATS
from mail.errors import Permanent
from mail.outcome import Outcome, Result

TIMEOUT_SECONDS = 30.0
_GIVEN_UP = frozenset({403, 410})
_DETAIL_OCTETS = 200
_IN_LOOP_OCTETS = 256 * 1024  # a larger message is decoded in a thread, beside the loop


class Webhook:
    """`links` None: nothing can be fetched from us, so every attachment is sent along."""

    def __init__(self, http: HttpClient, links: ContentLinks | None = None) -> None:
        self._http = http
        self._links = links

    def destination(self, parameters: Mapping[str, Any]) -> str:
        return host_and_port(str(parameters.get("url", "")))

    async def run(self, context: Context) -> Outcome:
        url = str(context.parameters["url"])
        if len(context.raw) > _IN_LOOP_OCTETS:
            content_type, body = await asyncio.to_thread(payload, context, self._links)
        else:
            content_type, body = payload(context, self._links)
        timestamp = str(int(context.now.timestamp()))
        secret = context.parameters.get("secret")
        # Ours stand last: a configured field cannot take the place of one that a receiver verifies.
        headers = {str(name).lower(): str(value) for name, value in context.parameters.get("headers", {}).items()}
        headers |= {"content-type": content_type, "webhook-id": context.step.key, "webhook-timestamp": timestamp}
        if secret:
            headers["webhook-signature"] = signature(str(secret), context.step.key, timestamp, body)
        reply = await self._http.post(url, headers, body, TIMEOUT_SECONDS)
        return judge_reply(reply, context.now)


def host_and_port(url: str) -> str:
    """`hooks.example:443`; never user, password, path or query. "" for what is no URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return ""
    return f"{parts.hostname}:{port}" if parts.hostname and port else ""


def payload(context: Context, links: ContentLinks | None) -> tuple[str, bytes]:
    """Content type and body. Raises `Permanent` for a format that there is not."""
    form = str(context.parameters.get("format", "ses")).lower()
    if form not in FORMATS:
        raise Permanent(f"webhook format {form} is not known")
    return FORMATS[form](context, links)


def signature(secret: str, identifier: str, timestamp: str, body: bytes) -> str:
    """`v1,BASE64` of HMAC-SHA256 over `identifier.timestamp.body`; `whsec_` marks a base64 secret, any other is its own bytes."""
    key = secret.encode()
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise Permanent("webhook secret is not base64 behind whsec_") from None
    mac = hmac.new(key, f"{identifier}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode("ascii")


def judge_reply(reply: HttpReply, now: datetime) -> Outcome:
    data = {"status": str(reply.status)}
    if 200 <= reply.status < 300:
        return Outcome(result=Result.DONE, detail=f"HTTP {reply.status}", data=data)
    detail = f"HTTP {reply.status}"
    if 300 <= reply.status < 400:
        detail += ", redirects are not followed"
    said = "".join(
        c if c.isprintable() else " " for c in reply.body[:_DETAIL_OCTETS].decode("utf-8", "replace")
    ).strip()
    if said:
        detail += f": {said}"
    if reply.status in _GIVEN_UP:
        return Outcome(result=Result.DEAD, detail=detail, data=data)
    wait = retry_after(reply.headers.get("retry-after", ""), now) if reply.status in (429, 503) else None
    return Outcome(result=Result.FAILED, detail=detail, data=data, retry_after_seconds=wait)


def retry_after(value: str, now: datetime) -> float | None:
    """Seconds from `Retry-After: 120` or an HTTP date; None for anything else."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    at = http_date(value)
    return None if at is None else max(0.0, (at - now).total_seconds())
