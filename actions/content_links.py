"""URLs under which Gatepost serves a message, or one attachment of it, for a while: signed, so that nobody can make one up. Pure.

*Trust.* Whoever holds a URL may read what it names until it expires; it names one thing. The signature is HMAC-SHA256 over path and
expiry, compared in constant time.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from rules.step import Step

LIFETIME_SECONDS = 86_400
_LATEST = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLinks:
    """`base` has no slash at its end; `secret` gives the key of this state directory."""

    base: str
    secret: Callable[[], bytes]
    lifetime_seconds: int = LIFETIME_SECONDS

    def attachment(self, message_id: str, number: int, now: datetime) -> str:
        """Attachment `number` of a message, from 0, in the order of `actions.mime_content.attached`."""
        return self._signed(f"/attachments/{message_id}/{number}", now)

    def message(self, step: Step, now: datetime) -> str:
        """The whole message as this step sees it."""
        return self._signed(
            f"/messages/{step.message_id}/{step.evaluation}/{quote(step.rule, safe='')}/{step.index}", now
        )

    def refusal(self, path: str, expires: str, signature: str, now: datetime) -> str | None:
        """Why a URL is not served; None if it is. A forged one is told nothing of its expiry."""
        if not (expires.isascii() and expires.isdigit() and int(expires[:16]) < _LATEST):
            return "not signed"
        if not hmac.compare_digest(self._signature(path, expires).encode(), signature.encode("utf-8", "replace")):
            return "not signed"
        return "expired" if int(expires) <= now.timestamp() else None

    def _signed(self, path: str, now: datetime) -> str:
        expires = str(int((now + timedelta(seconds=self.lifetime_seconds)).timestamp()))
        return f"{self.base}{path}?expires={expires}&signature={self._signature(path, expires)}"

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self.secret(), f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
