"""The in-memory twin of the spool: the same contract, nothing durable. For tests, and for a server that may forget.

`room_octets` is the size of its disk: an accept that does not fit is `Full`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mail.errors import Misuse
from mail.ids import first_id_at
from mail.octets import Octets, whole
from mail.values import changed
from spool import history
from spool.arriving import MemoryArriving
from spool.cancelling import cancelled, cancels, key_of
from spool.jobs import FRESH, as_job, state_after
from spool.messages import next_walk
from spool.ports import (
    ANY,
    KEPT_STATES,
    Accepted,
    Erased,
    Full,
    HistoryQuery,
    HistoryRow,
    Job,
    JobQuery,
    JobState,
    LedgerRow,
    Load,
    MessageState,
    NewJob,
    NotFound,
    Pause,
    Recorded,
    Retention,
    StoredMessage,
    Swept,
    Wanted,
)
from spool.sweep import Cutoffs

_LedgerKey = tuple[int, str, int, str]


@dataclass(slots=True)
class _Held:
    """One transaction; `message` and what follows it only for an accepted one."""

    row: HistoryRow
    message: StoredMessage | None = None
    raw: bytes | None = None
    ledger: dict[_LedgerKey, LedgerRow] = field(default_factory=dict)


class MemorySpool:
    def __init__(self, shard: int = 0, *, room_octets: int | None = None) -> None:
        self.shard = shard
        self._room_octets = room_octets
        self._held: dict[str, _Held] = {}
        self._jobs: dict[int, Job] = {}
        self._last_job = 0
        self._cap_reached = False

    def arriving(self) -> MemoryArriving:
        return MemoryArriving(None if self._room_octets is None else self._room_octets - self._octets())

    async def accept(self, unit: Accepted, *, company: int = 1) -> Job | None:  # noqa: ARG002 - it has no groups
        if unit.message_id in self._held:
            raise Misuse(f"the id {unit.message_id} exists already")
        if unit.history.id != unit.message_id:
            raise Misuse("a message's history row bears the message's id")
        if self._room_octets is not None and self._octets() + len(unit.raw) > self._room_octets:
            raise Full("the disk is full")
        message = StoredMessage(
            message_id=unit.message_id,
            received_at=unit.received_at,
            state=unit.state,
            evaluation=0,
            rule_book=unit.rule_book,
            receipt=unit.receipt,
            header=unit.raw[: unit.header_octets],
            answers=dict(unit.answers),
            has_body=unit.keep_body,
        )
        raw = whole(unit.raw) if unit.keep_body else None
        self._held[unit.message_id] = _Held(history.cleaned(unit.history), message, raw)
        return None if unit.job is None else self._queue(unit.job, leased=True)

    async def log(self, row: HistoryRow) -> None:
        self._held.setdefault(row.id, _Held(history.cleaned(row)))

    async def claim(self, now: datetime, limit: int, wanted: Wanted = ANY) -> list[Job]:
        due = [
            job
            for job in self._ready()
            if job.not_before <= now
            and job.destination not in wanted.without
            and (job.destination not in wanted.paused or (job.expires_at is not None and job.expires_at <= now))
            and wanted.only in (None, job.destination)
        ][:limit]
        for job in due:
            self._jobs[job.id] = changed(job, state=JobState.LEASED, attempts=job.attempts + 1)
        return [self._jobs[job.id] for job in due]

    async def pauses_are(self, pauses: Sequence[Pause]) -> None:
        """Nobody looks on from outside."""

    async def next_due(self) -> datetime | None:
        return next((job.not_before for job in self._ready()), None)

    async def record(self, unit: Recorded) -> None:
        held = self._message(unit.message_id)
        if unit.job is not None:
            job = self._jobs.get(unit.job.id)
            if job is None or job.state is not unit.job.was:
                raise NotFound(f"no {unit.job.was.value} job {unit.job.id}")
            if unit.job.state is None:
                del self._jobs[job.id]
            else:
                due = unit.job.not_before or job.not_before
                attempts = job.attempts - unit.job.is_unmade
                self._jobs[job.id] = changed(
                    job, state=unit.job.state, not_before=due, last=unit.job.last, attempts=attempts
                )
        for row in unit.ledger:
            held.ledger[row.evaluation, row.rule, row.index, row.recipient] = changed(row, data=dict(row.data))
        for new in unit.new_jobs:
            self._queue(new, leased=False)
        if unit.evaluation is not None:
            self._set(held, evaluation=unit.evaluation)
        if unit.state is not None:
            self._set(held, state=unit.state)

    async def message(self, message_id: str) -> StoredMessage:
        message = self._message(message_id).message
        assert message is not None
        return message

    async def content(self, message_id: str) -> Octets:
        return await self.body(message_id)

    async def body(self, message_id: str) -> bytes:
        raw = self._message(message_id).raw
        if raw is None:
            raise NotFound(f"the body of {message_id} is gone")
        return raw

    async def ledger(self, message_id: str) -> list[LedgerRow]:
        held = self._held.get(message_id)
        rows = [] if held is None else list(held.ledger.values())
        return sorted(rows, key=lambda row: (row.evaluation, row.position, row.rule, row.index, row.recipient))

    async def jobs(self, query: JobQuery) -> list[Job]:
        found = [job for _, job in sorted(self._jobs.items()) if self._answers_to(job, query)]
        return found[: query.limit]

    async def change_jobs(self, ids: Sequence[int], state: JobState | None, now: datetime) -> int:
        chosen = [self._jobs[each] for each in dict.fromkeys(ids) if each in self._jobs]
        chosen = [job for job in chosen if job.state is not JobState.LEASED]
        for job in chosen:
            if state is None:
                del self._jobs[job.id]
                rows = self._message(job.message_id).ledger
                rows |= {key: cancelled(row, now) for key, row in rows.items() if cancels(job, row)}
            elif state is JobState.READY:
                expires = None if job.expires_at is None else now + FRESH
                self._jobs[job.id] = changed(job, state=state, not_before=now, expires_at=expires)
            else:
                self._jobs[job.id] = changed(job, state=state)
        for message_id in {job.message_id for job in chosen}:
            held = self._message(message_id)
            if held.message is not None and held.message.state is not MessageState.REJECTED:
                left = [job for job in self._jobs.values() if job.message_id == message_id]
                self._set(held, state=state_after(left))
        return len(chosen)

    async def re_evaluate(self, message_id: str, rule_book: str, now: datetime) -> NewJob:
        held = self._message(message_id)
        if held.message is None or held.raw is None:
            raise NotFound(f"the body of {message_id} is gone")
        new = next_walk(message_id, held.message.evaluation + 1, now)
        held.message = changed(held.message, evaluation=new.evaluation, rule_book=rule_book, state=MessageState.ACTIVE)
        self._queue(new, leased=False)
        return new

    async def find(self, query: HistoryQuery) -> list[tuple[HistoryRow, MessageState | None]]:
        history.check_outcome(query.outcome)
        newest_first = sorted(self._held.values(), key=lambda held: held.row.at)[::-1]
        found = [(held.row, None if held.message is None else held.message.state, held.ledger) for held in newest_first]
        hits = [(row, state) for row, state, ledger in found if history.matches(query, row, state, ledger.values())]
        return hits[: query.limit]

    async def sweep(self, now: datetime, retention: Retention) -> Swept:
        cutoffs = Cutoffs.at(now, retention)
        busy = {job.message_id for job in self._jobs.values()}
        free = [held for each, held in self._held.items() if each not in busy and _is_over(held)]
        bodies = headers = messages = 0
        cap = retention.cap_octets
        for held in free:
            over_cap = cap is not None and self._octets() > cap and held.row.at < now
            if held.raw is not None and (held.row.at < cutoffs.bodies or over_cap):
                self._set(held, has_body=False)
                held.raw = None
                bodies += 1
        for held in free:
            if held.message is None or held.raw is not None or held.message.header is None:
                continue
            if held.row.at < cutoffs.headers:
                self._set(held, header=None)
                headers += 1
        for held in free:
            if held.raw is None and held.row.at < cutoffs.metadata:
                del self._held[held.row.id]
                messages += held.message is not None
        self._cap_reached = cap is not None and self._octets() > cap
        return Swept(bodies=bodies, headers=headers, messages=messages)

    async def erase(self, ids: Sequence[str]) -> Erased:
        here = [each for each in dict.fromkeys(ids) if each in self._held]
        leased = {job.message_id for job in self._jobs.values() if job.state is JobState.LEASED}
        for each in here:
            if each not in leased:
                self._held[each] = _Held(history.emptied(self._held[each].row))
                self._jobs = {number: job for number, job in self._jobs.items() if job.message_id != each}
        return Erased(
            erased=tuple(each for each in here if each not in leased),
            busy=tuple(each for each in here if each in leased),
        )

    async def scrub(self) -> bool:
        return True

    def load(self) -> Load:
        room = 2**40 if self._room_octets is None else self._room_octets
        return Load(
            ready_jobs=sum(not job.last for job in self._ready()),
            leased_jobs=sum(job.state is JobState.LEASED for job in self._jobs.values()),
            queued_units=0,
            queued_octets=0,
            oldest_wait_seconds=0.0,
            free_octets=room - self._octets(),
            total_octets=room,
            cap_reached=self._cap_reached,
        )

    async def close(self) -> None:
        """Nothing to let go."""

    def _message(self, message_id: str) -> _Held:
        held = self._held.get(message_id)
        if held is None or held.message is None:
            raise NotFound(f"no message {message_id}")
        return held

    def _set(self, held: _Held, **changes: object) -> None:
        assert held.message is not None
        held.message = changed(held.message, **changes)

    def _octets(self) -> int:
        return sum(len(held.raw) for held in self._held.values() if held.raw is not None)

    def _ready(self) -> list[Job]:
        ready = [job for job in self._jobs.values() if job.state is JobState.READY]
        return sorted(ready, key=lambda job: (job.not_before, job.id))

    def _queue(self, new: NewJob, *, leased: bool) -> Job:
        self._last_job += 1
        job = as_job(new, self._last_job << 8 | self.shard, leased=leased)
        self._jobs[job.id] = job
        return job

    def _answers_to(self, job: Job, query: JobQuery) -> bool:
        asked = {"message_id": query.message_id, "state": query.state, "destination": query.destination}
        if any(value is not None and getattr(job, name) != value for name, value in asked.items()):
            return False
        if (query.since is not None and job.message_id < first_id_at(query.since)) or (
            query.until is not None and job.message_id >= first_id_at(query.until)
        ):
            return False
        if (query.error is not None and query.error not in job.last) or (query.ids and job.id not in query.ids):
            return False
        if query.rule is None and query.action is None:
            return True
        held = self._held.get(job.message_id)
        rows: Mapping[_LedgerKey, LedgerRow] = {} if held is None else held.ledger
        return any(
            key_of(row) == job.key and query.rule in (None, row.rule) and query.action in (None, row.action)
            for row in rows.values()
        )


def _is_over(held: _Held) -> bool:
    return held.message is None or held.message.state not in KEPT_STATES
