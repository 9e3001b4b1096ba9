"""Jobs: leasing them in order, changing them by an operator's word, and what their states say about their message."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from heapq import nsmallest

from mail.ids import first_id_at
from spool.cancelling import KEY, cancel
from spool.ports import Job, JobChange, JobKind, JobQuery, JobState, MessageState, NewJob, NotFound, Pause, Wanted
from spool.schema import micros, moment, storable
from spool.units import Change

FRESH = timedelta(hours=4)  # SES: retries last four hours; a redriven job gets them anew

_COLUMNS = "id, kind, message_id, key, state, attempts, not_before, expires_at, destination, last, evaluation"
_INSERT = f"INSERT INTO job ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608

_LEASE = (
    f"UPDATE job SET state = 'leased', attempts = attempts + 1 WHERE id = ? AND state = 'ready' RETURNING {_COLUMNS}"  # noqa: S608
)

_Row = tuple[int, str, str, str, str, int, int, int | None, str, str, int]


class JobIds:
    """Ids of one shard: a counter, and the shard in the last eight bits, so that an id is unique over all shards.

    The table remembers the highest id ever (AUTOINCREMENT), so one that an operator wrote down never means another job.
    """

    def __init__(self, connection: sqlite3.Connection, shard: int) -> None:
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'job'").fetchone()
        self._last = (row[0] if row else 0) >> 8
        self._shard = shard

    def take(self) -> int:
        self._last += 1
        return self._last << 8 | self._shard


def shard_of_job(job_id: int) -> int:
    return job_id & 0xFF


def insert(connection: sqlite3.Connection, job_id: int, new: NewJob, *, leased: bool) -> Job:
    """Queue a job, or give it straight to the caller as leased."""
    job = as_job(new, job_id, leased=leased)
    expires = None if job.expires_at is None else micros(job.expires_at)
    # Enum members go in as plain text: sqlite3 would look for an adapter for each subclass of str, at every call.
    row = (
        job.id,
        job.kind.value,
        job.message_id,
        storable(job.key),
        job.state.value,
        job.attempts,
        micros(job.not_before),
    )
    connection.execute(_INSERT, (*row, expires, storable(job.destination), job.last, job.evaluation))
    return job


_DUE = "SELECT not_before, id FROM job WHERE state = 'ready' AND not_before <= :now"
_BY_TIME = " ORDER BY not_before, id LIMIT :limit"
_OF_PLACE = f"{_DUE} AND destination = :place"
_OVER_OF_PLACE = f"{_OF_PLACE} AND expires_at <= :now ORDER BY expires_at, id LIMIT :limit"
# One step of the index for each destination, not one for each of its jobs.
_PLACES = (
    "WITH RECURSIVE place(name) AS (SELECT min(destination) FROM job WHERE state = 'ready' UNION ALL"
    " SELECT (SELECT min(destination) FROM job WHERE state = 'ready' AND destination > name) FROM place WHERE name IS NOT NULL)"
    " SELECT name FROM place WHERE name IS NOT NULL"
)


def claim(connection: sqlite3.Connection, now: datetime, limit: int, wanted: Wanted) -> Change[list[Job]]:
    """Lease due jobs, by due time and then by id. What has expired behind a pause comes in the order in which it did."""
    values = {"now": micros(now), "limit": limit}
    if wanted.is_any:
        due = connection.execute(_DUE + _BY_TIME, values).fetchall()
    else:
        due = nsmallest(limit, _due_of(connection, wanted, values))
    jobs = [_job(row) for each in due for row in connection.execute(_LEASE, (each[1],))]
    return Change(result=jobs, ready=-sum(not job.last for job in jobs), leased=len(jobs))


def _due_of(connection: sqlite3.Connection, wanted: Wanted, values: dict[str, int]) -> Iterator[tuple[int, int]]:
    """What is due at each destination that is wanted, as many of each as are asked for in all."""
    places = [(wanted.only,)] if wanted.only is not None else connection.execute(_PLACES).fetchall()
    without, paused = ({*map(storable, names)} for names in (wanted.without, wanted.paused))
    for (place,) in places:
        if place not in without:
            of_place = _OVER_OF_PLACE if place in paused else _OF_PLACE + _BY_TIME
            yield from connection.execute(of_place, {**values, "place": storable(place)})


def pauses_are(connection: sqlite3.Connection, pauses: Sequence[Pause]) -> Change[None]:
    connection.execute("DELETE FROM pause")
    connection.executemany(
        "INSERT INTO pause (destination, failures, last, until) VALUES (?, ?, ?, ?)",
        [(storable(each.destination), each.failures, storable(each.last), micros(each.until)) for each in pauses],
    )
    return Change(result=None, moves_due=False)


def select_pauses(connection: sqlite3.Connection) -> list[Pause]:
    rows = connection.execute("SELECT destination, failures, last, until FROM pause ORDER BY destination")
    return [
        Pause(destination=destination, failures=failures, last=last, until=moment(until))
        for destination, failures, last, until in rows
    ]


def change(connection: sqlite3.Connection, what: JobChange) -> int:
    """Put a job back or remove it; returns by how many the jobs that never failed grew. `NotFound`: it is not what it was."""
    lost = what.was is JobState.READY and (
        connection.execute("SELECT 1 FROM job WHERE id = ? AND state = 'ready' AND last = ''", (what.id,)).fetchone()
        is not None
    )
    if what.state is None:
        found = connection.execute("DELETE FROM job WHERE id = ? AND state = ?", (what.id, what.was.value)).rowcount
        waiting = 0
    else:
        found = connection.execute(
            "UPDATE job SET attempts = attempts - ?, state = ?, last = ?, not_before = ifnull(?, not_before)"
            " WHERE id = ? AND state = ?",
            (
                what.is_unmade,
                what.state.value,
                storable(what.last),
                None if what.not_before is None else micros(what.not_before),
                what.id,
                what.was.value,
            ),
        ).rowcount
        waiting = int(what.state is JobState.READY and not what.last)
    if not found:
        raise NotFound(f"no {what.was.value} job {what.id}")
    return waiting - int(lost)


def release(connection: sqlite3.Connection, ids: Sequence[int]) -> Change[None]:
    """Leases whose holder has gone: ready again, and the attempt that was not made does not count."""
    back: list[tuple[str]] = []
    for each in ids:
        back += connection.execute(
            "UPDATE job SET state = 'ready', attempts = attempts - 1 WHERE id = ? AND state = 'leased' RETURNING last",
            (each,),
        ).fetchall()
    return Change(result=None, ready=sum(not last for (last,) in back), leased=-len(back))


def void_leases(connection: sqlite3.Connection) -> None:
    """Whoever opens the shard holds it alone, so every lease and pause in it is a dead process's (semantics.md §6)."""
    connection.execute("UPDATE job SET state = 'ready' WHERE state = 'leased'")
    connection.execute("DELETE FROM pause")


def waiting(connection: sqlite3.Connection) -> int:
    """How many ready jobs have not failed yet. For the opening alone: it reads the table from end to end, which is a tenth of a
    second for half a million, and by the index of due jobs, which lacks `last`, twenty times that."""
    (count,) = connection.execute("SELECT count(*) FROM job NOT INDEXED WHERE state = 'ready' AND last = ''").fetchone()
    return int(count)


def next_due(connection: sqlite3.Connection) -> datetime | None:
    row = connection.execute(
        "SELECT not_before FROM job WHERE state = 'ready' ORDER BY not_before, id LIMIT 1"
    ).fetchone()
    return None if row is None else moment(row[0])


def select(connection: sqlite3.Connection, query: JobQuery) -> list[Job]:
    terms = ["1"]
    values: list[str | int] = []
    for column, value in (("message_id", query.message_id), ("state", query.state), ("destination", query.destination)):
        if value is not None:
            terms.append(f"{column} = ?")
            values.append(str(value))
    for comparison, moment_ in ((">=", query.since), ("<", query.until)):
        if moment_ is not None:
            terms.append(f"message_id {comparison} ?")
            values.append(first_id_at(moment_))
    if query.error is not None:
        terms.append("instr(last, ?) > 0")
        values.append(query.error)
    if query.ids:
        terms.append(f"id IN ({', '.join('?' * len(query.ids))})")
        values.extend(query.ids)
    if query.rule is not None or query.action is not None:
        terms.append(
            f"EXISTS (SELECT 1 FROM ledger l WHERE l.message_id = job.message_id AND {KEY} = job.key"  # noqa: S608
            " AND l.rule = ifnull(?, l.rule) AND l.action = ifnull(?, l.action))"
        )
        values.extend((query.rule, query.action))  # type: ignore[arg-type]
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM job WHERE {' AND '.join(terms)} ORDER BY id LIMIT ?",  # noqa: S608
        (*values, query.limit),
    )
    return [_job(row) for row in rows]


def change_many(
    connection: sqlite3.Connection, ids: Sequence[int], state: JobState | None, now: datetime
) -> Change[int]:
    """An operator's word on these jobs, and the messages' states after it."""
    changed = ready = 0
    touched: dict[str, None] = {}
    for job_id in dict.fromkeys(ids):
        row = connection.execute(f"SELECT {_COLUMNS} FROM job WHERE id = ? AND state <> 'leased'", (job_id,)).fetchone()  # noqa: S608
        if row is None:
            continue
        job = _job(row)
        if state is None:
            connection.execute("DELETE FROM job WHERE id = ?", (job_id,))
            cancel(connection, job, now)
        elif state is JobState.READY:
            expires = None if job.expires_at is None else micros(now + FRESH)
            values = (micros(now), expires, job_id)
            connection.execute("UPDATE job SET state = 'ready', not_before = ?, expires_at = ? WHERE id = ?", values)
        else:
            connection.execute("UPDATE job SET state = ? WHERE id = ?", (state.value, job_id))
        changed += 1
        if not job.last:
            ready += (state is JobState.READY) - (job.state is JobState.READY)
        touched[job.message_id] = None
    for message_id in touched:
        left = connection.execute(f"SELECT {_COLUMNS} FROM job WHERE message_id = ?", (message_id,))  # noqa: S608
        connection.execute(
            "UPDATE history SET state = ? WHERE id = ? AND state <> 'rejected'",
            (state_after(map(_job, left)).value, message_id),
        )
    return Change(result=changed, ready=ready)


def as_job(new: NewJob, number: int, *, leased: bool) -> Job:
    """The job that this becomes under a number of its own."""
    return Job(
        id=number,
        kind=new.kind,
        message_id=new.message_id,
        key=new.key,
        state=JobState.LEASED if leased else JobState.READY,
        attempts=new.attempts + leased,
        not_before=new.not_before,
        expires_at=new.expires_at,
        destination=new.destination,
        last=storable(new.last),
        evaluation=new.evaluation,
    )


def state_after(left: Iterable[Job]) -> MessageState:
    """A message's state when an operator has changed its jobs: the gravest of what is left, done if nothing is."""
    jobs = list(left)
    found = {(job.kind, job.state) for job in jobs}
    states = {state for kind, state in found if kind is not JobKind.HOLD}
    if JobState.PARKED in states:
        return MessageState.PARKED
    if {(JobKind.WALK, JobState.READY), (JobKind.WALK, JobState.LEASED)} & found:
        return MessageState.ACTIVE
    if JobState.DEAD in states:
        return MessageState.DEAD
    if states:
        return MessageState.RETRYING
    return MessageState.QUARANTINED if jobs else MessageState.DONE


def _job(row: _Row) -> Job:
    number, kind, message_id, key, state, attempts, not_before, expires_at, destination, last, evaluation = row
    return Job(
        id=number,
        kind=JobKind(kind),
        message_id=message_id,
        key=key,
        state=JobState(state),
        attempts=attempts,
        not_before=moment(not_before),
        expires_at=None if expires_at is None else moment(expires_at),
        destination=destination,
        last=last,
        evaluation=evaluation,
    )
