"""A delivery status notification in SES's layout (SES: bounce action, captured messages; semantics.md §3).

*Standards.* RFC 3464 (delivery status), RFC 6522 (multipart/report), RFC 3834 (automatic responses: null reverse-path).
*Trust.* The returned header section is the stranger's; it is quoted as a part and can end no part, since the boundary is derived
from a digest over it. Texts from rules are checked when the rules are loaded.
"""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime

from mail.delivery import DeliveryStatus
from mail.headers import header_field
from mail.trace_fields import rfc5322_date

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LINE_OCTETS = 998
TEXT = "This message could not be delivered."


Fields = tuple[tuple[str, str], ...]
"""Names and values, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a DSN says. `sender` and `to` are bare addresses; `header` is the received message's header section with our fields.

    `groups` are the fields of each recipient, one group at least; `fields` and `reporting_mta` (by default we) are the message's
    (RFC 3464 §2.2). `key` is the idempotency key of the bounce: the same key gives the same bytes but for `now`, so a repeat can be
    recognised.
    """

    key: str
    hostname: str
    sender: str
    to: str
    arrived_at: datetime
    now: datetime
    groups: tuple[Fields, ...]
    header: bytes
    text: str = TEXT
    reporting_mta: str = ""
    fields: Fields = ()


def status_fields(status: DeliveryStatus) -> Fields:
    """A recipient's group as SES writes it for its Bounce action."""
    return (
        ("Action", status.action),
        ("Final-Recipient", f"rfc822; {status.recipient}"),
        ("Original-Recipient", f"rfc822; {status.recipient}"),
        ("Diagnostic-Code", f"smtp; {status.diagnostic}"),
        ("Status", status.status),
    )


def short_date(at: datetime) -> str:
    """As SES writes it in a DSN: RFC 822's two-digit year and the zone's name."""
    return f"{_DAYS[at.weekday()]}, {rfc5322_date(at)[5:11]} {at:%y %H:%M:%S} UTC"


def identifier_of(notice: Notice) -> str:
    """The part of its Message-ID before the @, in the form of SES's sending ids."""
    digest = _digest(notice)
    return "-".join((digest[:16], digest[16:24], digest[24:28], digest[28:32], digest[32:36], digest[36:48], "000000"))


def compose_dsn(notice: Notice) -> bytes:
    """The notification as wire bytes. It is sent with the null reverse-path. Raises `Misuse` for a line break in a field."""
    digest = _digest(notice)
    boundary = f"----=_Part_{digest[:6]}_{digest[6:16]}.{digest[16:29]}"
    parts = (
        _text_part(notice.text),
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
            header_field("Message-ID", f"<{identifier_of(notice)}@{notice.hostname}>"),
            header_field("Subject", "Delivery Status Notification (Failure)"),
            header_field("Auto-Submitted", "auto-replied"),
            header_field("MIME-Version", "1.0"),
            header_field("Content-Type", "multipart/report; ")[:-2],
            f'\r\n\tboundary="{boundary}"; report-type=delivery-status\r\n'.encode(),
        )
    )
    body = b"".join(mark + b"\r\n" + described + b"\r\n" + content + b"\r\n" for described, content in parts)
    return head + b"\r\n" + body + mark + b"--\r\n"


def _digest(notice: Notice) -> str:
    """Over all that strangers and callers wrote, so that none of it can hold the boundary."""
    return hashlib.sha256(notice.key.encode() + notice.header + notice.text.encode("utf-8", "replace")).hexdigest()


def _text_part(text: str) -> tuple[bytes, bytes]:
    lines = text.splitlines()
    content = "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")
    if content.isascii() and b"\0" not in content and all(len(line) <= _LINE_OCTETS for line in lines):
        return _part("text/plain; charset=us-ascii", "7bit", "Notification"), content
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return _part("text/plain; charset=utf-8", "base64", "Notification"), encoded


def _part(content_type: str, encoding: str, description: str) -> bytes:
    return (
        header_field("Content-Type", content_type)
        + header_field("Content-Transfer-Encoding", encoding)
        + header_field("Content-Description", description)
    )


def _status_groups(notice: Notice) -> bytes:
    ours: Fields = (
        ("Reporting-MTA", notice.reporting_mta or f"dns; {notice.hostname}"),
        ("Arrival-Date", short_date(notice.arrived_at)),
    )
    groups = ((*ours, *notice.fields), *notice.groups)
    written = (b"".join(header_field(name, value) for name, value in group) for group in groups)
    return b"\r\n".join(written) + b"\r\n"
