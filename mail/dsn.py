"""A delivery status notification in SES's layout (SES: bounce action, captured messages; semantics.md §3).

*Standards.* RFC 3464 (delivery status), RFC 6522 (multipart/report), RFC 3834 (automatic responses: null reverse-path).
*Trust.* The returned header section is the stranger's; it is quoted as a part and can end no part, since the boundary is derived
from a digest over it. Texts from rules are checked when the rules are loaded.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from mail.delivery import DeliveryStatus
from mail.headers import header_field
from mail.trace_fields import rfc5322_date

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
TEXT = "This message could not be delivered."


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a DSN says. `sender` and `to` are bare addresses; `header` is the received message's header section with our fields.

    `key` is the idempotency key of the bounce: the same key gives the same bytes but for `now`, so a repeat can be recognised.
    """

    key: str
    hostname: str
    sender: str
    to: str
    arrived_at: datetime
    now: datetime
    statuses: tuple[DeliveryStatus, ...]
    header: bytes
    text: str = TEXT


def compose_dsn(notice: Notice) -> bytes:
    """The notification as wire bytes. It is sent with the null reverse-path."""
    digest = hashlib.sha256(notice.key.encode() + notice.header).hexdigest()
    boundary = f"----=_Part_{digest[:6]}_{digest[6:16]}.{digest[16:29]}"
    identifier = "-".join(
        (digest[:16], digest[16:24], digest[24:28], digest[28:32], digest[32:36], digest[36:48], "000000")
    )
    parts = (
        (_part("text/plain; charset=us-ascii", "7bit", "Notification"), f"{notice.text}\r\n".encode()),
        (_part("message/delivery-status", "7bit", "Delivery Status Notification"), _status_groups(notice)),
        (
            _part("text/rfc822-headers", "7bit" if notice.header.isascii() else "8bit", "Undelivered Message"),
            notice.header.removesuffix(b"\r\n\r\n").removesuffix(b"\r\n") + b"\r\n",
        ),
    )
    mark = f"--{boundary}".encode()
    head = b"".join(
        (
            header_field("Date", rfc5322_date(notice.now)),
            header_field("From", notice.sender),
            header_field("To", notice.to),
            header_field("Message-ID", f"<{identifier}@{notice.hostname}>"),
            header_field("Subject", "Delivery Status Notification (Failure)"),
            header_field("Auto-Submitted", "auto-replied"),
            header_field("MIME-Version", "1.0"),
            header_field("Content-Type", "multipart/report; ")[:-2],
            f'\r\n\tboundary="{boundary}"; report-type=delivery-status\r\n'.encode(),
        )
    )
    body = b"".join(mark + b"\r\n" + described + b"\r\n" + content + b"\r\n" for described, content in parts)
    return head + b"\r\n" + body + mark + b"--\r\n"


def _part(content_type: str, encoding: str, description: str) -> bytes:
    return (
        header_field("Content-Type", content_type)
        + header_field("Content-Transfer-Encoding", encoding)
        + header_field("Content-Description", description)
    )


def _status_groups(notice: Notice) -> bytes:
    arrived = notice.arrived_at
    groups = [
        header_field("Reporting-MTA", f"dns; {notice.hostname}")
        # SES writes RFC 822's two-digit year and the zone's name in this one field.
        + header_field(
            "Arrival-Date", f"{_DAYS[arrived.weekday()]}, {rfc5322_date(arrived)[5:11]} {arrived:%y %H:%M:%S} UTC"
        )
    ]
    groups += [
        header_field("Action", status.action)
        + header_field("Final-Recipient", f"rfc822; {status.recipient}")
        + header_field("Original-Recipient", f"rfc822; {status.recipient}")
        + header_field("Diagnostic-Code", f"smtp; {status.diagnostic}")
        + header_field("Status", status.status)
        for status in notice.statuses
    ]
    return b"\r\n".join(groups) + b"\r\n"
