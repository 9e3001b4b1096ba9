"""What happened in one mail transaction, and the history rows that tell of it when no message came of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from inbound.admission import Sender
from inbound.large import LargeMessage
from mail.address import Mailbox
from mail.client import Client
from mail.reply import Reply
from rules.compiled import CompiledBook
from spool.ports import HistoryRow

SHOWN_RECIPIENTS = 1000


@dataclass(slots=True)
class Refusal:
    """The last refusal of a phase, and what refused; `detail` is for the operator only. `limit` is the setting it is due to."""

    phase: str
    reply: Reply
    by: str = ""
    detail: str = ""
    limit: str = ""

    @property
    def codes(self) -> str:
        """`450 4.7.1`."""
        return f"{self.reply.code} {self.reply.enhanced or ''}".rstrip()


@dataclass(slots=True, kw_only=True)
class Trail:
    """One transaction from MAIL on; `book` is pinned at MAIL and serves to its end (semantics.md §4)."""

    book: CompiledBook
    sender: Sender
    phase: str = "mail"
    wanting: tuple[str, ...] | None = None
    accepted: dict[Mailbox, None] = field(default_factory=dict)
    refused: dict[Mailbox, None] = field(default_factory=dict)
    refusal: Refusal | None = None  # of recipients
    ending: Refusal | None = None  # of the content
    large: LargeMessage | None = None  # its message, if it is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """Makes the rows of one session: `id` is the session's, with a counter for what produced no message."""

    session: str
    client: Client

    def row(
        self, number: int, at: datetime, refusal: Refusal | None, *, mail_from: Mailbox | None = None, phase: str = ""
    ) -> HistoryRow:
        return HistoryRow(
            id=f"{self.session}.{number}",
            session=self.session,
            at=at,
            client_ip=self.client.ip or "",
            helo=self.client.helo or "",
            mail_from=None if mail_from is None else str(mail_from),
            rcpt_to=(),
            phase=refusal.phase if refusal else phase,
            outcome=outcome_of(refusal),
            reply=str(refusal.reply) if refusal else "",
            by=refusal.by or refusal.limit if refusal else "",
            detail=refusal.detail if refusal else "",
        )


def outcome_of(refusal: Refusal | None) -> str:
    if refusal is None:
        return "aborted"
    return "deferred" if refusal.reply.is_transient else "refused"


def endings(trail: Trail, *, with_message: bool) -> Iterator[tuple[Refusal | None, tuple[Mailbox, ...]]]:
    """The rows a transaction leaves besides its message's: refused recipients together, and an end without a message."""
    if trail.refusal is not None:
        yield trail.refusal, tuple(trail.refused)[:SHOWN_RECIPIENTS]
        if not trail.accepted and trail.ending is None:
            return
    if not with_message:
        yield trail.ending, tuple(trail.accepted)[:SHOWN_RECIPIENTS]
