"""What becomes of a step when an operator cancels its job: nothing of it is tried any more, and its row says so."""

import sqlite3
from datetime import datetime

from mail.outcome import Result
from mail.values import changed
from spool.ports import Job, JobKind, LedgerRow
from spool.schema import micros

CANCELLED = "cancelled"
KEY = (
    "l.message_id || '/' || l.evaluation || '/' || l.rule || '/' || l.step "
    "|| CASE l.recipient WHEN '' THEN '' ELSE '/' || l.recipient END"
)
_OF_A_STEP = (Result.RETRYING, Result.FAILED, Result.DEAD)
_OF_A_WALK = (Result.FAILED,)  # the step that holds it; all others have jobs of their own or have ended


def key_of(row: LedgerRow) -> str:
    """The idempotency key of a row's step (semantics.md §4)."""
    key = f"{row.message_id}/{row.evaluation}/{row.rule}/{row.index}"
    return f"{key}/{row.recipient}" if row.recipient else key


def cancels(job: Job, row: LedgerRow) -> bool:
    """Whether the end of this job is that of the row's step."""
    if job.kind is JobKind.WALK:
        return row.evaluation == job.evaluation and row.result in _OF_A_WALK
    return job.kind is JobKind.STEP and key_of(row) == job.key and row.result in _OF_A_STEP


def cancelled(row: LedgerRow, now: datetime) -> LedgerRow:
    detail = f"{CANCELLED}; last: {row.detail}" if row.detail else CANCELLED
    return changed(row, result=Result.SKIPPED, at=now, detail=detail)


def cancel(connection: sqlite3.Connection, job: Job, now: datetime) -> None:
    """As `cancels` and `cancelled`."""
    if job.kind is JobKind.HOLD:
        return
    of_step = job.kind is JobKind.STEP
    results = _OF_A_STEP if of_step else _OF_A_WALK
    connection.execute(
        f"UPDATE ledger AS l SET result = ?, at = ?, detail = ? || iif(detail = '', '', '; last: ' || detail)"  # noqa: S608
        f" WHERE message_id = ? AND evaluation = ? AND result IN ({', '.join('?' * len(results))})"
        f" AND (? OR {KEY} = ?)",
        (
            Result.SKIPPED.value,
            micros(now),
            CANCELLED,
            job.message_id,
            job.evaluation,
            *(each.value for each in results),
            not of_step,
            job.key,
        ),
    )
