"""All that the spool knows of one transaction, for a person and as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gatepost.cli.layout import (
    bold,
    faint,
    mark,
    plural,
    size_text,
    span_text,
    table,
    time_text,
    visible,
    width,
    word,
    wrapped,
)
from gatepost.cli.story import addresses, labelled, verdict_rows
from gatepost.explanation import verdict_objects
from mail.client import Client
from mail.receipt import Receipt, decode_receipt
from mail.ses_json import timestamp
from spool.ports import ERASED, HistoryRow, Job, JobKind, JobQuery, LedgerRow, MessageState, NotFound, StoredMessage
from spool.reader import SpoolReader

DIGITS_OF_DIGEST = 12
INDENT = "    "


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One transaction; `message`, `receipt` and what follows them only where it produced a message."""

    row: HistoryRow
    message: StoredMessage | None = None
    receipt: Receipt | None = None
    ledger: tuple[LedgerRow, ...] = ()
    jobs: tuple[Job, ...] = ()


async def read_record(reader: SpoolReader, row: HistoryRow, state: MessageState | None) -> Record:
    if state is None:
        return Record(row=row)
    try:
        message = await reader.message(row.id)
    except NotFound:
        return Record(row=row)  # swept between the two looks
    return Record(
        row=row,
        message=message,
        receipt=decode_receipt(message.receipt, message.header or b"", message.answers),
        ledger=tuple(await reader.ledger(row.id)),
        jobs=tuple(await reader.jobs(JobQuery(message_id=row.id))),
    )


def record_object(record: Record) -> dict[str, Any]:
    """The line of `show --json`."""
    row, message, receipt = record.row, record.message, record.receipt
    assert message is not None
    assert receipt is not None
    client = receipt.client
    return {
        "id": row.id,
        "session": row.session,
        "received_at": timestamp(receipt.received_at),
        "state": message.state.value,
        "evaluation": message.evaluation,
        "rule_book": message.rule_book,
        "envelope": {
            "mail_from": str(receipt.envelope.reverse_path or ""),
            "rcpt_to": [str(mailbox) for mailbox in receipt.envelope.mailboxes],
            "client_ip": client.ip,
            "helo": client.helo,
            "guessed": [],
        },
        "client": {"name": client.name, "protocol": client.protocol, "tls": client.tls and client.tls.version},
        "subject": row.subject,
        "header_from": row.header_from,
        "size": receipt.size,
        "sha256": receipt.digest,
        "verdicts": verdict_objects(receipt.verdicts),
        "reply": row.reply,
        "detail": row.detail,
        "kept": {"headers": message.header is not None, "body": message.has_body},
        "steps": [step_object(each) for each in record.ledger],
        "jobs": [job_object(job) for job in record.jobs],
    }


def step_object(row: LedgerRow) -> dict[str, Any]:
    return {
        "evaluation": row.evaluation,
        "rule": row.rule,
        "index": row.index,
        "recipient": row.recipient or None,
        "action": row.action,
        "outcome": row.result.value,
        "detail": row.detail,
        "at": timestamp(row.at),
        "attempts": row.attempts,
        "control": row.control,
        "data": dict(row.data),
    }


def job_object(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind.value,
        "message_id": job.message_id,
        "key": job.key,
        "state": job.state.value,
        "attempts": job.attempts,
        "not_before": timestamp(job.not_before),
        "expires_at": None if job.expires_at is None else timestamp(job.expires_at),
        "destination": job.destination,
        "last": job.last,
        "evaluation": job.evaluation,
    }


def render_record(record: Record) -> str:
    row, message, receipt = record.row, record.message, record.receipt
    assert message is not None
    assert receipt is not None
    lines = [
        bold(visible(row.subject) or "(no subject)"),
        faint(row.id),
        "",
        labelled("From", visible(str(receipt.envelope.reverse_path or "<>")) + _header_from(row)),
        labelled("To", addresses(str(mailbox) for mailbox in receipt.envelope.mailboxes)),
        labelled("Client", _client(receipt.client)),
        labelled("Received", f"{time_text(receipt.received_at)}, {size_text(receipt.size)}{_kept(message)}"),
        *verdict_rows(verdict_objects(receipt.verdicts)),
        labelled("Reply", visible(row.reply)) if row.reply else "",
        labelled("State", f"{word(message.state.value)}{_under(message)}"),
        labelled("Detail", visible(row.detail)) if row.detail else "",
    ]
    blocks = ["\n".join(line for number, line in enumerate(lines) if line or number == 2)]
    blocks += [_steps(record.ledger), _jobs(record.jobs), _objects(record.ledger)]
    return "\n\n".join(block for block in blocks if block)


def render_refusal(row: HistoryRow) -> str:
    """A transaction that produced no message, or one that was erased."""
    when = labelled("When", f"{time_text(row.at)}, at {visible(row.phase)}")
    if row.detail == ERASED:
        return "\n".join(
            (f"{word(row.outcome)} {faint(row.id)}", when, labelled("Detail", f"{ERASED}, {size_text(row.size)}"))
        )
    lines = [
        f"{word(row.outcome)} {faint(row.id)}",
        labelled("From", visible(row.mail_from or "<>")) if row.phase not in ("connect", "ehlo") else "",
        labelled("To", addresses(row.rcpt_to)) if row.rcpt_to else "",
        labelled("Client", " ".join(part for part in (visible(row.client_ip), _helo(row.helo)) if part)),
        when,
        labelled("Reply", visible(row.reply)) if row.reply else "",
        labelled("By", visible(row.by)) if row.by else "",
        labelled("Subject", visible(row.subject)) if row.subject else "",
        labelled("Detail", visible(row.detail)) if row.detail else "",
    ]
    return "\n".join(line for line in lines if line)


def _header_from(row: HistoryRow) -> str:
    if not row.header_from or row.header_from == row.mail_from:
        return ""
    return faint(f" (From: {visible(row.header_from)})")


def _helo(helo: str | None) -> str:
    return f"{faint('helo')} {visible(helo)}" if helo else ""


def _client(client: Client) -> str:
    name = f"({visible(client.name)})" if client.name else ""
    tls = client.tls.version if client.tls else ""
    parts = (
        visible(client.ip or "unknown"),
        name,
        _helo(client.helo),
        faint(visible(f"{client.protocol} {tls}".strip())),
    )
    return " ".join(part for part in parts if part)


def _kept(message: StoredMessage) -> str:
    if message.has_body:
        return ""
    return faint(", body deleted" if message.header is not None else ", body and headers deleted")


def _under(message: StoredMessage) -> str:
    again = f", evaluation {message.evaluation}" if message.evaluation else ""
    rules = f"rules {message.rule_book[:DIGITS_OF_DIGEST]}" if message.rule_book else ""
    return faint(f" ({rules}{again})") if rules else ""


def _steps(ledger: Iterable[LedgerRow]) -> str:
    """The steps in the order in which the walk reached them, each with its detail on a line of its own where it is long."""
    rows = list(ledger)
    if not rows:
        return f"  {bold('Steps')}\n{INDENT}none has run"
    several = len({row.evaluation for row in rows}) > 1
    cells = [
        (
            *((str(row.evaluation),) if several else ()),
            visible(row.rule),
            visible(row.action) + (f" {faint(visible(row.recipient))}" if row.recipient else ""),
            word(row.result.value),
            faint(time_text(row.at) + (f", {plural(row.attempts, 'attempt')}" if row.attempts > 1 else "")),
        )
        for row in rows
    ]
    aligned = table(cells).split("\n")
    lines = [f"  {bold('Steps')}"]
    for row, line in zip(rows, aligned, strict=True):
        lines.append(INDENT + line)
        if row.detail:
            lines.append(wrapped(visible(row.detail), indent=INDENT * 2, columns=width()))
    return "\n".join(lines)


def _jobs(jobs: Iterable[Job]) -> str:
    listed = list(jobs)
    if not listed:
        return ""
    return f"  {bold('Jobs left')}\n" + "\n".join(INDENT + line for line in job_lines(listed).split("\n"))


def _objects(ledger: Iterable[LedgerRow]) -> str:
    """Where the message is kept for others: what a step stored, by path or key."""
    places = dict.fromkeys(
        visible(row.data.get("path") or row.data.get("object_key") or "")
        for row in ledger
        if row.data.get("object_key")
    )
    if not places:
        return ""
    return f"  {bold('Stored as')}\n" + "\n".join(INDENT + place for place in places)


def step_name(job: Job) -> str:
    """`support/1` of a step's key `ID/EVALUATION/support/1`; `walk` for a message's walk."""
    if job.kind is JobKind.WALK:
        return "walk"
    return job.key.removeprefix(f"{job.message_id}/{job.evaluation}/")


def job_lines(jobs: Iterable[Job], *, whose: bool = False) -> str:
    """Jobs as a table; `whose` adds the message."""
    cells = [
        (
            str(job.id),
            word(job.state.value),
            visible(step_name(job)),
            visible(job.destination) or "-",
            plural(job.attempts, "attempt"),
            *((visible(job.message_id),) if whose else ()),
            f"{_when(job)}{visible(job.last)}",
        )
        for job in jobs
    ]
    head = ("job", "state", "step", "to", "tried", *(("message",) if whose else ()), "next, and what happened last")
    return table(cells, head=head)


def _when(job: Job) -> str:
    if job.state.value != "ready":
        return ""
    patience = (
        "" if job.expires_at is None else f" for {span_text((job.expires_at - job.not_before).total_seconds())} more"
    )
    return f"{time_text(job.not_before)}{patience} " + (mark("·") + " " if job.last else "")
