"""Accepting one message: judge it, decide, commit once, and only then answer (house: one commit before any promise).

*Standards.* semantics.md §3, §5 and §6; RFC 5321 §6.1 (responsibility), §6.3 (loops).
*Trust.* The message is hostile; what is forged in its header is cut from what rules see, never from what is judged or kept.
*Failure.* A store that is full answers 452, a broken one 451; anything unforeseen is raised, and the server answers 451.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from inbound.admission import complete
from inbound.content_facts import digest_of, facts_of
from inbound.event import Event
from inbound.limits import header_refusal
from inbound.ports import Judge, Services
from mail.address import Mailbox
from mail.client import Client
from mail.envelope import Envelope, Recipient
from mail.errors import Temporary
from mail.headers import HeaderView
from mail.ids import message_id
from mail.message import Message, Span
from mail.octets import Octets
from mail.receipt import Receipt, encode_receipt
from mail.reply import (
    ACCEPTED,
    INSUFFICIENT_STORAGE,
    LOOP_DETECTED,
    SCANNER_UNAVAILABLE,
    TRY_AGAIN,
    UNSCANNED_REJECTED,
    Reply,
)
from mail.values import Value, changed
from mail.words import decode_outside_quotes, decode_words
from rules.compiled import CompiledBook
from rules.disposition import disposition
from rules.machine import Evaluation
from rules.step import Disposition
from spool.history import UNSCANNED
from spool.ports import Accepted, Full, HistoryRow, JobKind, MessageState, NewJob
from verdicts.arriving import ArrivingMessage

T = TypeVar("T")
log = logging.getLogger("gatepost.inbound")
_ENTROPY_OCTETS = 17
_SHOWN = 998
_RECEIVED_LIMIT = "smtp.received_limit"


class Delivery(Value, frozen=True, kw_only=True):
    """One message as the session hands it over. `number` counts the transactions of the session."""

    session: str
    number: int
    book: CompiledBook
    client: Client
    dnsbl: tuple[str, ...]
    envelope: Envelope
    raw: Octets
    arriving: ArrivingMessage | None = None


class Incoming(Value, frozen=True, kw_only=True):
    """What is known of a message before it is judged."""

    message_id: str
    received_at: datetime
    client: Client
    envelope: Envelope
    message: Message
    dnsbl: tuple[str, ...] = ()
    arriving: ArrivingMessage | None = None


class Examined(Value, frozen=True, kw_only=True):
    """A judged message. `refusal` is the reply that a failed scanner demands, `detail` says why, or why the message goes on
    without a scan that was wanted; `crashes` are ours to mend."""

    receipt: Receipt
    refusal: Reply | None = None
    detail: str = ""
    crashes: tuple[str, ...] = ()


async def take(delivery: Delivery, services: Services) -> Reply:
    """The reply to the end of DATA. When it is positive, the message is durable and its first job is with `on_accept`."""
    now = services.clock()
    envelope = _completed(delivery, services.settings.hostname)
    too_big = header_refusal(delivery.raw, services.settings)
    message = Message.of(b"" if too_big else delivery.raw)
    row = _row(delivery, envelope, message, now)
    if too_big is not None:
        return await _turned_away(row, too_big, services)
    if len(message.header.all("Received")) > services.settings.most_received_fields:
        services.counters.add("limited_total", limit=_RECEIVED_LIMIT)
        return await _turned_away(changed(row, by=_RECEIVED_LIMIT), LOOP_DETECTED, services)
    client = _with_protocol(delivery.client, envelope)
    examined = await examine(
        Incoming(
            message_id=message_id(now, services.spool.shard, services.entropy(_ENTROPY_OCTETS)),
            received_at=now,
            client=client,
            envelope=envelope,
            message=message,
            dnsbl=delivery.dnsbl,
            arriving=delivery.arriving,
        ),
        delivery.book,
        services.judge,
        services.forged_spans,
    )
    for crash in examined.crashes:
        log.error("session %s: a check crashed: %s", delivery.session, crash)
    row = changed(row, detail=examined.detail) if examined.detail else row
    if examined.detail.startswith(UNSCANNED):
        services.counters.add("unscanned_total")
    if examined.refusal is not None:
        return await _turned_away(row, examined.refusal, services)
    return await _decided(delivery, examined.receipt, row, services)


async def examine(
    incoming: Incoming, book: CompiledBook, judge: Judge, forged_spans: Callable[[HeaderView], tuple[Span, ...]]
) -> Examined:
    """Judge one message and write its receipt: the same for live mail and for a replayed file."""
    message = incoming.message
    needs = book.needs(incoming.envelope.mailboxes)
    digest, bodies = ("", None) if incoming.arriving is None else incoming.arriving.finish(message)
    judgement = await judge(
        message,
        incoming.envelope,
        incoming.client,
        received_at=incoming.received_at,
        needs=needs,
        dnsbl=incoming.dnsbl,
        bodies=bodies,
        message_id=incoming.message_id,
    )
    found, longest = await facts_of(message, needs)
    receipt = Receipt(
        message_id=incoming.message_id,
        received_at=incoming.received_at,
        client=incoming.client,
        envelope=incoming.envelope,
        size=len(message.raw),
        digest=digest or await digest_of(message),
        verdicts=judgement.verdicts,
        rule_set=book.digest,
        evidence=judgement.evidence,
        header=message.raw[: message.header.body_start],
        cut=forged_spans(message.header),
        attachments=found,
        longest_line=longest,
        dnsbl=incoming.dnsbl,
    )
    refusal = SCANNER_UNAVAILABLE if judgement.deferred else UNSCANNED_REJECTED if judgement.rejected else None
    detail = (
        judgement.deferred or judgement.rejected or (f"{UNSCANNED}{judgement.unscanned}" if judgement.unscanned else "")
    )
    return Examined(receipt=receipt, refusal=refusal, detail=detail, crashes=judgement.crashes)


async def _decided(delivery: Delivery, receipt: Receipt, row: HistoryRow, services: Services) -> Reply:
    start = Evaluation.start(delivery.book, receipt)
    decision = disposition(start)
    if decision.kind == "defer":
        return await _turned_away(changed(row, by=decision.rule), decision.reply or TRY_AGAIN, services)
    reply = decision.reply if decision.reply is not None else ACCEPTED.because(f"Ok {receipt.message_id}")
    unit = unit_of(receipt, delivery.raw, row, decision, reply)
    try:
        job = await services.spool.accept(unit, company=len(services.under_way))
    except Full:
        return await _turned_away(row, INSUFFICIENT_STORAGE, services)
    except Temporary as error:
        log.error("session %s: the spool failed: %s", delivery.session, error)
        return TRY_AGAIN
    if job is not None:
        services.on_accept(job, unit, start)
    services.on_event(event_of(unit.history, reply, receipt=receipt, book=delivery.book))
    return reply


def unit_of(receipt: Receipt, raw: Octets, row: HistoryRow, decision: Disposition, reply: Reply) -> Accepted:
    """The one commit. A rejected message is kept in full only where other steps of it still run (semantics.md §3)."""
    accepted = decision.kind == "accept"
    runs = accepted or decision.runs_on
    job = NewJob(
        kind=JobKind.WALK,
        message_id=receipt.message_id,
        key=f"{receipt.message_id}/0",
        not_before=receipt.received_at,
    )
    history = changed(
        row,
        id=receipt.message_id,
        by=decision.rule,
        phase="accepted" if accepted else "data",
        outcome="accepted" if accepted else "refused",
        reply=str(reply),
    )
    return Accepted(
        message_id=receipt.message_id,
        received_at=receipt.received_at,
        receipt=encode_receipt(receipt),
        header_octets=len(receipt.header),
        raw=raw,
        answers=receipt.evidence.answers,
        rule_book=receipt.rule_set,
        history=history,
        job=job if runs else None,
        state=MessageState.ACTIVE if accepted else MessageState.REJECTED,
        keep_body=runs,
    )


def _completed(delivery: Delivery, hostname: str) -> Envelope:
    """The envelope with `<Postmaster>` in full, each mailbox once."""
    recipients = delivery.envelope.recipients
    if all(recipient.mailbox.domain for recipient in recipients):
        return delivery.envelope
    whole: dict[Mailbox, Recipient] = {}
    for recipient in recipients:
        mailbox = complete(delivery.book, recipient.mailbox, hostname)
        whole.setdefault(mailbox, changed(recipient, mailbox=mailbox))
    return changed(delivery.envelope, recipients=tuple(whole.values()))


def _with_protocol(client: Client, envelope: Envelope) -> Client:
    if not envelope.smtputf8:
        return client
    return changed(client, protocol="UTF8SMTPS" if client.tls else "UTF8SMTP")  # RFC 6531 §4.3


def _row(delivery: Delivery, envelope: Envelope, message: Message, now: datetime) -> HistoryRow:
    return HistoryRow(
        id=f"{delivery.session}.{delivery.number}",
        session=delivery.session,
        at=now,
        client_ip=delivery.client.ip or "",
        helo=delivery.client.helo or "",
        mail_from=None if envelope.reverse_path is None else str(envelope.reverse_path),
        rcpt_to=tuple(map(str, envelope.mailboxes)),
        phase="data",
        outcome="refused",
        subject=decode_words(message.header.text("Subject") or "")[:_SHOWN],  # as people know and look for it
        header_from=decode_outside_quotes(message.header.text("From") or "")[:_SHOWN],
        size=len(delivery.raw),
    )


async def _turned_away(row: HistoryRow, reply: Reply, services: Services) -> Reply:
    """No message: a history row only."""
    await tell(changed(row, outcome="deferred" if reply.is_transient else "refused", reply=str(reply)), reply, services)
    return reply


async def tell(row: HistoryRow, reply: Reply | None, services: Services) -> None:
    """Log a row and its event. A spool that cannot take the row is noted, and changes nothing for the client."""
    try:
        await services.spool.log(row)
    except Temporary as error:
        log.error("history row %s is lost: %s", row.id, error)
    services.on_event(event_of(row, reply))


def event_of(
    row: HistoryRow, reply: Reply | None, *, receipt: Receipt | None = None, book: CompiledBook | None = None
) -> Event:
    return Event(
        at=row.at,
        session=row.session,
        client_ip=row.client_ip,
        mail_from=row.mail_from,
        rcpt_to=row.rcpt_to,
        phase=row.phase,
        outcome=row.outcome,
        reply=reply,
        by=row.by,
        message_id=None if receipt is None else receipt.message_id,
        receipt=receipt,
        book=book,
    )
