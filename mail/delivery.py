"""What became of one recipient, from the wire to the notice (RFC 3464 §2.3)."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """`action` is failed, delayed, delivered, relayed or expanded; `status` and `diagnostic` may never be empty."""

    recipient: str
    action: str
    status: str
    diagnostic: str
    attempted_at: datetime
    remote_mta: str | None = None
