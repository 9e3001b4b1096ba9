"""What a command may ask of whoever holds the shards, and the doing of it (semantics.md §6).

`apply` is the one place where an operator's word changes jobs: the server calls it behind the control socket, a command calls it
itself when no server runs and it has taken the shards' locks. A request is `Request` as JSON, the answer is `Answer` as JSON.

*Trust.* A request is data until `msgspec` has read it: `Malformed` otherwise.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from actions.hold import ended, released
from gatepost.audit_log import AuditLog, note_change
from mail.errors import Malformed
from mail.ids import is_message_id, shard_of
from spool.control import NoServer, ask
from spool.database import open_spool
from spool.ports import Job, JobKind, JobQuery, JobState, NotFound, Spool
from spool.reader import open_reader
from spool.rule_sets import open_rule_books

SOCKET = "control.sock"
RULE_BOOKS = "rules.db"
OBSERVE = {"operation": "observe"}  # answered by a list of `gatepost.observation.Observation`, one for each worker
IDS_AT_ONCE = 1000  # so that a request stays far below the longest line the socket takes

NO_JOB = "is no job (it may have ended)"
NO_MESSAGE = "is no message here"

_log = logging.getLogger("gatepost")

Operation = Literal[
    "retry", "release", "park", "cancel", "re_evaluate", "release_held", "delete_held", "erase", "scrub"
]

TAKES: dict[str, frozenset[JobState]] = {
    "retry": frozenset({JobState.DEAD, JobState.READY}),
    "release": frozenset({JobState.PARKED}),
    "park": frozenset({JobState.READY, JobState.DEAD}),
    "cancel": frozenset({JobState.READY, JobState.DEAD, JobState.PARKED}),
}
"""Which jobs an operation is for; no operation takes a job from the worker that runs it."""

_BECOMES: dict[str, JobState | None] = {
    "retry": JobState.READY,
    "release": JobState.READY,
    "park": JobState.PARKED,
    "cancel": None,
}
_INSTEAD = {
    JobState.LEASED: "is being worked on",
    JobState.PARKED: "is parked: release it",
    JobState.DEAD: "is dead: retry it",
    JobState.READY: "is not parked",
}


def takes(operation: str, job: Job) -> bool:
    """Whether an operation is for this job; a hold is none of work, and has commands of its own."""
    return job.state in TAKES[operation] and job.kind is not JobKind.HOLD


def _why_not(job: Job) -> str:
    return "is a hold: see gatepost quarantine" if job.kind is JobKind.HOLD else _INSTEAD[job.state]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`jobs` are changed; with `re_evaluate`, `messages` are walked anew under the active rule book instead.

    `release_held` and `delete_held` end the holds of `messages`, of one `rule` or of all. `erase` forgets the transactions named
    by `messages` (refused ones have other ids than messages), and `scrub` then overwrites what was deleted.
    """

    operation: Operation
    jobs: tuple[int, ...] = ()
    messages: tuple[str, ...] = ()
    rule: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """One job or message that stayed as it was, and why: the end of a sentence that begins with its id."""

    id: int | str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How many jobs (messages, with `re_evaluate`) changed; `rule_book` is the digest that messages are walked under now."""

    changed: int = 0
    skipped: tuple[Skipped, ...] = ()
    rule_book: str = ""

    @property
    def left(self) -> frozenset[int | str]:
        """The ids of what stayed as it was."""
        return frozenset(each.id for each in self.skipped)


async def apply(
    spools: Mapping[int, Spool], request: Mapping[str, Any], *, now: datetime, active: Callable[[], str | None]
) -> dict[str, Any]:
    """Do it on these shards, by number; returns `Answer` as JSON. Whoever runs jobs must look for due ones afterwards.

    `active` gives the digest of the active rule book. Raises `Malformed` for a request that is none, `NotFound` where there is no
    active rule book, and what the spool raises.
    """
    try:
        asked = msgspec.convert(request, Request)
    except msgspec.ValidationError as error:
        raise Malformed(f"not a request: {error}") from error
    if asked.operation == "re_evaluate":
        answer = await _re_evaluate(spools, asked.messages, now, active())
    elif asked.operation in ("release_held", "delete_held"):
        answer = await _end_holds(spools, asked, now)
    elif asked.operation == "erase":
        answer = await _erase(spools.values(), asked.messages)
    elif asked.operation == "scrub":
        answer = await _scrub(spools)
    else:
        answer = await _change(spools.values(), asked, now)
    built: dict[str, Any] = msgspec.to_builtins(answer)
    return built


async def _change(spools: Iterable[Spool], asked: Request, now: datetime) -> Answer:
    changed = 0
    skipped: list[Skipped] = []
    missing = dict.fromkeys(asked.jobs)
    for spool in spools:
        found = await spool.jobs(JobQuery(ids=asked.jobs, limit=len(asked.jobs))) if asked.jobs else []
        for job in found:
            missing.pop(job.id, None)
        fit = [job.id for job in found if takes(asked.operation, job)]
        skipped += [Skipped(id=job.id, why=_why_not(job)) for job in found if job.id not in fit]
        if fit:
            changed += await spool.change_jobs(fit, _BECOMES[asked.operation], now)
    skipped += [Skipped(id=job_id, why=NO_JOB) for job_id in missing]
    return Answer(changed=changed, skipped=tuple(skipped))


async def _end_holds(spools: Mapping[int, Spool], asked: Request, now: datetime) -> Answer:
    """Each hold is a unit of its own; the messages are the ones that changed."""
    changed = 0
    skipped: list[Skipped] = []
    for message_id in dict.fromkeys(asked.messages):
        spool = spools.get(shard_of(message_id)) if is_message_id(message_id) else None
        found = [] if spool is None else await spool.jobs(JobQuery(message_id=message_id, rule=asked.rule))
        holds = [job for job in found if job.kind is JobKind.HOLD and job.state is JobState.READY]
        for job in holds:
            assert spool is not None
            unit = released(spool, job, now) if asked.operation == "release_held" else ended(spool, job, "deleted")
            await spool.record(await unit)
        changed += bool(holds)
        if not holds:
            skipped.append(Skipped(id=message_id, why="is not held (any more)"))
    return Answer(changed=changed, skipped=tuple(skipped))


async def _erase(spools: Iterable[Spool], messages: tuple[str, ...]) -> Answer:
    done = [await spool.erase(messages) for spool in spools]
    erased = [each for part in done for each in part.erased]
    busy = [each for part in done for each in part.busy]
    missing = [each for each in dict.fromkeys(messages) if each not in {*erased, *busy}]
    _log.info("erased at an operator's word: %s", " ".join(erased) or "nothing")
    skipped = [Skipped(id=each, why="is being worked on") for each in busy]
    skipped += [Skipped(id=each, why=NO_MESSAGE) for each in missing]
    return Answer(changed=len(erased), skipped=tuple(skipped))


async def _scrub(spools: Mapping[int, Spool]) -> Answer:
    read = [shard for shard, spool in spools.items() if not await spool.scrub()]
    skipped = tuple(Skipped(id=f"shard {shard:02d}", why="is being read, and still has its log") for shard in read)
    return Answer(changed=len(spools) - len(read), skipped=skipped)


async def _re_evaluate(
    spools: Mapping[int, Spool], messages: tuple[str, ...], now: datetime, rule_book: str | None
) -> Answer:
    if rule_book is None:
        raise NotFound("no rule set is active")
    changed = 0
    skipped: list[Skipped] = []
    for message_id in dict.fromkeys(messages):
        spool = spools.get(shard_of(message_id)) if is_message_id(message_id) else None
        if spool is None:
            skipped.append(Skipped(id=message_id, why=NO_MESSAGE))
            continue
        why = await _walk_anew(spool, message_id, rule_book, now)
        if why:
            skipped.append(Skipped(id=message_id, why=why))
        else:
            changed += 1
    return Answer(changed=changed, skipped=tuple(skipped), rule_book=rule_book)


async def _walk_anew(spool: Spool, message_id: str, rule_book: str, now: datetime) -> str:
    """Why not; "" if the message's new walk is queued. Its earlier jobs go: what they would do, the new walk does."""
    earlier: list[Job] = await spool.jobs(JobQuery(message_id=message_id))
    if any(job.state is JobState.LEASED for job in earlier):
        return "is being worked on"
    try:
        await spool.re_evaluate(message_id, rule_book, now)
    except NotFound as error:
        return f"cannot be walked again: {error}"
    # Only now: a message must never be left without the job that its promise hangs on.
    if earlier:
        await spool.change_jobs([job.id for job in earlier], None, now)
    return ""


async def request_change(
    data: Path,
    request: Request,
    now: datetime,
    *,
    timeout_seconds: float = 30.0,
    progress: Callable[[int], None] = lambda _: None,
) -> Answer:
    """Have it done: by the server of this state directory, or by ourselves under the shards' locks if none runs.

    `progress` is told how many of the jobs or messages have been asked for. Raises `Locked` while another command holds a shard.
    """
    total = Answer()
    for part in _parts(request):
        asked = msgspec.to_builtins(part)
        try:
            answer = msgspec.convert(await ask(data / SOCKET, asked, timeout_seconds=timeout_seconds), Answer)
        except NoServer:
            answer = msgspec.convert(await _apply_here(data, asked, now), Answer)
            note_change(AuditLog(data, lambda: now), asked, answer.changed, skipped=answer.left)
        total = Answer(
            changed=total.changed + answer.changed,
            skipped=total.skipped + answer.skipped,
            rule_book=answer.rule_book,
        )
        progress(total.changed + len(total.skipped))
    return total


def _parts(request: Request) -> Iterable[Request]:
    if request.operation == "scrub":
        yield request
    for start in range(0, max(len(request.jobs), len(request.messages)), IDS_AT_ONCE):
        some = slice(start, start + IDS_AT_ONCE)
        yield replace(request, jobs=request.jobs[some], messages=request.messages[some])


async def _apply_here(data: Path, request: dict[str, Any], now: datetime) -> dict[str, Any]:
    spools: dict[int, Spool] = {}
    try:
        for shard in open_reader(data).shards():
            spools[shard] = open_spool(data, shard)
        return await apply(spools, request, now=now, active=lambda: active_rule_book(data))
    finally:
        for spool in spools.values():
            await spool.close()


def active_rule_book(data: Path) -> str | None:
    """The digest of the active rule book of this state directory."""
    if not (data / RULE_BOOKS).exists():
        return None
    books = open_rule_books(data / RULE_BOOKS)
    try:
        version = books.active()
        return None if version is None else version.digest
    finally:
        books.close()
