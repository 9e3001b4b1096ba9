"""Messages and their ledger: the statements behind accept, record, message, body and ledger."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mail.errors import Misuse
from mail.outcome import Result
from spool import history, jobs
from spool.ports import Accepted, JobKind, JobState, LedgerRow, MessageState, NewJob, NotFound, Recorded, StoredMessage
from spool.schema import micros, moment, storable
from spool.units import Change

IN_DATABASE_OCTETS = 128 * 1024  # above, a file is cheaper (measured: 256 KB take half the time, 2 MB a seventh)

_CONTENT = "INSERT INTO content (seq, received_at, receipt, header, rest, octets, digests) VALUES (?, ?, ?, ?, ?, ?, ?)"
_ANSWER = (
    "INSERT INTO answer (digest, records, used) VALUES (?, ?, ?)"
    " ON CONFLICT (digest) DO UPDATE SET used = max(used, excluded.used)"
)
_LEDGER_COLUMNS = (
    "message_id, evaluation, rule, step, recipient, action, position, result, at, attempts, detail, control, data"
)
_LEDGER = (
    f"INSERT INTO ledger ({_LEDGER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    " ON CONFLICT DO UPDATE SET action = excluded.action, position = excluded.position, result = excluded.result,"
    " at = excluded.at, attempts = excluded.attempts, detail = excluded.detail, control = excluded.control, data = excluded.data"
)


def used_day(at: datetime) -> int:
    """The day, counted from 1970, under which an answer is noted as used: fine enough for retention, and rarely rewritten."""
    return micros(at) // 86_400_000_000


def insert(connection: sqlite3.Connection, unit: Accepted, fresh: Mapping[str, tuple[str, ...]]) -> None:
    """The message's rows, and the DNS answers that may not be in the database yet. `Misuse`: the id exists."""
    row = history.row_values(unit.history)
    if unit.history.id != unit.message_id:
        raise Misuse("a message's history row bears the message's id")
    try:
        seq = connection.execute(history.INSERT, (*row, unit.state.value, 0, unit.rule_book)).lastrowid
    except sqlite3.IntegrityError as error:
        raise Misuse(f"the id {unit.message_id} exists already") from error
    octets = len(unit.raw) if unit.keep_body else 0
    view = memoryview(unit.raw) if isinstance(unit.raw, bytes) else unit.raw
    rest = view[unit.header_octets :] if 0 < octets <= IN_DATABASE_OCTETS else None
    parts = (unit.receipt, view[: unit.header_octets], rest)
    connection.execute(_CONTENT, (seq, micros(unit.received_at), *parts, octets, " ".join(unit.answers)))
    if fresh:
        day = used_day(unit.history.at)
        rows = [(digest, json.dumps(records, ensure_ascii=True), day) for digest, records in fresh.items()]
        connection.executemany(_ANSWER, rows)


def record(connection: sqlite3.Connection, unit: Recorded, ids: jobs.JobIds) -> Change[None]:
    if unit.ledger:
        connection.executemany(_LEDGER, [_ledger_values(row) for row in unit.ledger])
    ready = leased = 0
    if unit.job is not None:
        ready += jobs.change(connection, unit.job)
        # A lease whose next attempt is put down stays one.
        leased -= unit.job.was is JobState.LEASED and unit.job.state is not JobState.LEASED
    for new in unit.new_jobs:
        jobs.insert(connection, ids.take(), new, leased=False)
        ready += not new.last
    if unit.evaluation is not None:
        connection.execute("UPDATE history SET evaluation = ? WHERE id = ?", (unit.evaluation, unit.message_id))
    if unit.state is not None:
        found = connection.execute(
            "UPDATE history SET state = ? WHERE id = ?", (unit.state.value, unit.message_id)
        ).rowcount
    else:
        found = len(connection.execute("SELECT 1 FROM history WHERE id = ?", (unit.message_id,)).fetchall())
    if not found:
        raise NotFound(f"no message {unit.message_id}")
    job = unit.job
    ends_lease = job is None or (job.was is JobState.LEASED and job.state is not JobState.READY)
    return Change(result=None, ready=ready, leased=leased, moves_due=bool(unit.new_jobs) or not ends_lease)


def re_evaluate(
    connection: sqlite3.Connection, message_id: str, rule_book: str, now: datetime, ids: jobs.JobIds
) -> Change[NewJob]:
    row = connection.execute(
        "SELECT h.seq, h.evaluation, c.octets FROM history h JOIN content c ON c.seq = h.seq WHERE h.id = ?",
        (message_id,),
    ).fetchone()
    if row is None or not row[2]:
        raise NotFound(f"no message {message_id}" if row is None else f"the body of {message_id} is gone")
    new = next_walk(message_id, row[1] + 1, now)
    connection.execute(
        "UPDATE history SET evaluation = ?, rule_book = ?, state = ? WHERE seq = ?",
        (new.evaluation, rule_book, MessageState.ACTIVE.value, row[0]),
    )
    jobs.insert(connection, ids.take(), new, leased=False)
    return Change(result=new, ready=1)


def next_walk(message_id: str, evaluation: int, now: datetime) -> NewJob:
    key = f"{message_id}/{evaluation}"
    return NewJob(kind=JobKind.WALK, message_id=message_id, key=key, not_before=now, evaluation=evaluation)


def select(connection: sqlite3.Connection, message_id: str) -> StoredMessage:
    row = connection.execute(
        "SELECT c.received_at, h.state, h.evaluation, h.rule_book, c.receipt, c.header, c.digests, c.octets"
        " FROM history h JOIN content c ON c.seq = h.seq WHERE h.id = ?",
        (message_id,),
    ).fetchone()
    if row is None:
        raise NotFound(f"no message {message_id}")
    received_at, state, evaluation, rule_book, receipt, header, digests, octets = row
    return StoredMessage(
        message_id=message_id,
        received_at=moment(received_at),
        state=MessageState(state),
        evaluation=evaluation,
        rule_book=rule_book,
        receipt=receipt,
        header=header,
        answers=_answers(connection, digests.split()),
        has_body=octets > 0,
    )


def select_body(connection: sqlite3.Connection, message_id: str) -> bytes | None:
    """The whole message; None when it stands in its own file. Raises `NotFound`."""
    row = connection.execute(
        "SELECT c.header, c.rest, c.octets FROM history h JOIN content c ON c.seq = h.seq WHERE h.id = ?", (message_id,)
    ).fetchone()
    if row is None or not row[2]:
        raise NotFound(f"no message {message_id}" if row is None else f"the body of {message_id} is gone")
    header, rest, _ = row
    return None if rest is None else b"".join((header, rest))


def kept_octets(connection: sqlite3.Connection) -> int:
    """Of all bodies together."""
    (octets,) = connection.execute("SELECT ifnull(sum(octets), 0) FROM content WHERE octets > 0").fetchone()
    return int(octets)


def stands_in_file(connection: sqlite3.Connection, message_id: str) -> bool:
    """Whether a message of this id is here, and its body a file of its own."""
    row = connection.execute(
        "SELECT c.octets > 0 AND c.rest IS NULL FROM history h JOIN content c ON c.seq = h.seq WHERE h.id = ?",
        (message_id,),
    ).fetchone()
    return row is not None and bool(row[0])


def select_ledger(connection: sqlite3.Connection, message_id: str) -> list[LedgerRow]:
    rows = connection.execute(
        f"SELECT {_LEDGER_COLUMNS} FROM ledger WHERE message_id = ? ORDER BY evaluation, position, rule, step, recipient",  # noqa: S608
        (message_id,),
    )
    return [_ledger_row(*row) for row in rows]


def _answers(connection: sqlite3.Connection, digests: list[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for digest in digests:
        row = connection.execute("SELECT records FROM answer WHERE digest = ?", (digest,)).fetchone()
        if row is not None:
            found[digest] = tuple(json.loads(row[0]))
    return found


def _ledger_values(row: LedgerRow) -> tuple[str | int, ...]:
    data = json.dumps(dict(row.data), ensure_ascii=True) if row.data else "{}"
    key = (row.message_id, row.evaluation, storable(row.rule), row.index, storable(row.recipient))
    fate = (row.result.value, micros(row.at), row.attempts, storable(row.detail), str(row.control), data)
    return (*key, row.action, row.position, *fate)


def _ledger_row(message_id: str, evaluation: int, rule: str, step: int, recipient: str, *fate: Any) -> LedgerRow:
    action, position, result, at, attempts, detail, control, data = fate
    return LedgerRow(
        message_id=message_id,
        evaluation=evaluation,
        rule=rule,
        index=step,
        recipient=recipient,
        action=action,
        position=position,
        result=Result(result),
        at=moment(at),
        attempts=attempts,
        detail=detail,
        control=control,
        data=json.loads(data),
    )
