"""What the rest of the house asks of durable state. One contract, three stores: memory, SQLite, PostgreSQL.

Every change is a unit: it is applied whole or not at all, and the call returns after it is durable (fsync). A full disk is
`Full`; any other failure of the store is `Broken`, after which this spool answers nothing any more (semantics.md §6).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from mail.errors import Temporary
from mail.octets import Octets
from mail.outcome import Result
from mail.values import Value, field


class Full(Temporary):
    """No room for this unit; nothing of it was kept (SMTP: 452 4.3.1)."""


class Broken(Temporary):
    """The store failed (I/O error, failed fsync): the unit's fate is unknown and the shard is closed."""


class NotFound(Temporary):
    """No such message, job or rule book here (it may be on another shard)."""


class Locked(Temporary):
    """Another process holds this shard; the text names it where it is known."""


class JobKind(StrEnum):
    WALK = "walk"  # the message's walk through its rule set: one per evaluation
    STEP = "step"  # one step that retries on its own
    HOLD = "hold"  # a quarantine: due when it ends by itself; until then nothing of its message is deleted


class JobState(StrEnum):
    READY = "ready"
    LEASED = "leased"
    DEAD = "dead"  # given up; kept until redriven or cancelled
    PARKED = "parked"  # our own code failed, or an operator said so; kept until released


class MessageState(StrEnum):
    """The one table of message states (docs/operations.md)."""

    ACTIVE = "active"  # its walk is not finished
    RETRYING = "retrying"  # the walk is finished, some step still retries
    DONE = "done"
    DEAD = "dead"  # some step was given up
    UNHANDLED = "unhandled"  # nothing was stored, delivered, bounced or dropped on purpose
    SUPPRESSED = "suppressed"  # its only effect would have been a bounce that nobody may receive
    PARKED = "parked"
    QUARANTINED = "quarantined"  # held for some of its recipients; the job of the hold keeps it
    REJECTED = "rejected"  # refused after DATA with a 5xx; its other steps run all the same


KEPT_STATES = frozenset(
    {
        MessageState.ACTIVE,
        MessageState.RETRYING,
        MessageState.DEAD,
        MessageState.UNHANDLED,
        MessageState.SUPPRESSED,
        MessageState.PARKED,
    }
)


class Job(Value, frozen=True, kw_only=True):
    """One piece of work. `key` is its idempotency key; `destination` groups jobs that one dead target holds up.

    `attempts` counts leases, this one included. `expires_at` is when it is given up; None for a walk.
    """

    id: int
    kind: JobKind
    message_id: str
    key: str
    state: JobState
    attempts: int
    not_before: datetime
    expires_at: datetime | None = None
    destination: str = ""
    last: str = ""
    evaluation: int = 0


class Pause(Value, frozen=True, kw_only=True):
    """A destination that is left alone for a while, and why."""

    destination: str
    failures: int  # in a row
    last: str
    until: datetime

    def __str__(self) -> str:
        return (
            f"paused: {self.destination} failed {self.failures} times, last: {self.last}, "
            f"tries again at {self.until:%Y-%m-%dT%H:%M:%SZ}"
        )


class Wanted(Value, frozen=True, kw_only=True):
    """Which due jobs, by destination: none in `without`; of those in `paused` what has expired; with `only`, none but for that."""

    without: frozenset[str] = frozenset()
    paused: frozenset[str] = frozenset()
    only: str | None = None

    @property
    def is_any(self) -> bool:
        return not (self.without or self.paused or self.only is not None)


ANY = Wanted()


class NewJob(Value, frozen=True, kw_only=True):
    kind: JobKind
    message_id: str
    key: str
    not_before: datetime
    expires_at: datetime | None = None
    destination: str = ""
    evaluation: int = 0
    attempts: int = 0
    last: str = ""


class LedgerRow(Value, frozen=True, kw_only=True):
    """One step that was reached, and what came of it last. `(message_id, evaluation, rule, index, recipient)` is its key.

    `position` is the order in which the walk reached it, from 0; `control` is a function's disposition.
    """

    message_id: str
    evaluation: int
    rule: str
    index: int
    recipient: str
    action: str
    position: int
    result: Result
    at: datetime
    attempts: int = 1
    detail: str = ""
    control: str = "CONTINUE"
    data: Mapping[str, str] = field(default_factory=dict)


class HistoryRow(Value, frozen=True, kw_only=True):
    """One SMTP transaction, refused ones too (semantics.md §8: find).

    `id` is the message id, or the session's id with a counter for a transaction that produced no message. `phase` is where it
    ended: connect, ehlo, mail, rcpt, data or accepted. `outcome` is accepted, refused, deferred or aborted. `by` names the
    filter or rule.
    """

    id: str
    session: str
    at: datetime
    client_ip: str
    helo: str
    mail_from: str | None
    rcpt_to: tuple[str, ...]
    phase: str
    outcome: str
    reply: str = ""
    subject: str = ""
    header_from: str = ""
    size: int = 0
    by: str = ""
    detail: str = ""


class Accepted(Value, frozen=True, kw_only=True):
    """A message that we are about to promise. `raw` is the whole message; `header_octets` of it are the header section.

    Where it is what a call of `Arriving.finish` gave, that file becomes the message's, and is not copied.

    `receipt` is `mail.receipt.encode_receipt`'s JSON and `answers` its DNS answers by digest. `job` is None when nothing is left
    to do (a rejected message without other steps); `keep_body` is False then. `state` is the state the message starts in.
    """

    message_id: str
    received_at: datetime
    receipt: bytes
    header_octets: int
    raw: Octets
    answers: Mapping[str, tuple[str, ...]]
    rule_book: str
    history: HistoryRow
    job: NewJob | None
    state: MessageState = MessageState.ACTIVE
    keep_body: bool = True


class JobChange(Value, frozen=True, kw_only=True):
    """What becomes of a job that is `was`: removed when `state` is None, else put back with these values.

    `is_unmade`: the attempt that its lease was for was not made, and does not count.
    """

    id: int
    state: JobState | None = None
    not_before: datetime | None = None
    last: str = ""
    was: JobState = JobState.LEASED
    is_unmade: bool = False


class Recorded(Value, frozen=True, kw_only=True):
    """One outcome with everything that follows from it, as one unit. `evaluation` becomes the message's newest one."""

    message_id: str
    ledger: tuple[LedgerRow, ...] = ()
    job: JobChange | None = None
    new_jobs: tuple[NewJob, ...] = ()
    state: MessageState | None = None
    evaluation: int | None = None


class StoredMessage(Value, frozen=True, kw_only=True):
    """A message as the spool holds it; `header` and the body may be gone by retention (None)."""

    message_id: str
    received_at: datetime
    state: MessageState
    evaluation: int
    rule_book: str
    receipt: bytes
    header: bytes | None
    answers: Mapping[str, tuple[str, ...]]
    has_body: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs; every field that is not None must hold. `rule` and `action` are looked up in the ledger by key.

    `since` and `until` are of the message's receipt; `until` is not among them.
    """

    message_id: str | None = None
    state: JobState | None = None
    rule: str | None = None
    action: str | None = None
    destination: str | None = None
    error: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: tuple[int, ...] = ()
    limit: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Which transactions, newest first. Text fields match as case-insensitive substrings; times are aware UTC.

    `outcome` is refused, deferred, aborted, accepted (history's own words), or one of a message's states or step results
    (stored, bounced, failed, unhandled, ...: semantics.md §8).
    """

    mail_from: str | None = None
    rcpt_to: str | None = None
    ip: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    outcome: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long what is kept (semantics.md §6). Seconds; `cap_octets` None: no cap."""

    metadata_seconds: float = 90 * 86400
    headers_seconds: float = 7 * 86400
    full_seconds: float = 86400
    cap_octets: int | None = 10 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    bodies: int = 0
    headers: int = 0
    messages: int = 0


ERASED = "erased"
"""The detail of a history row that was emptied: no message belongs to it any more."""


class Erased(Value, frozen=True, kw_only=True):
    """What an erasure did: `erased` transactions, and `busy` ones that were left because a step of theirs is under way.

    `files` are the bodies that stood in files of their own.
    """

    erased: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class Load(Value, frozen=True, kw_only=True):
    """How the spool stands, for backpressure (semantics.md §6). `oldest_wait_seconds` is how long a unit has waited
    for the writer, company apart.

    `ready_jobs` are the ready jobs that have not failed yet (`last` is empty): retrying ones do not count. `cap_reached` is what
    the last sweep found: bodies that may not be deleted fill the cap, or the disk is so full that every accept is `Full`.
    """

    ready_jobs: int
    leased_jobs: int
    queued_units: int
    queued_octets: int
    oldest_wait_seconds: float
    free_octets: int
    total_octets: int
    cap_reached: bool


class Messages(Protocol):
    """What is kept of messages, to look at."""

    async def message(self, message_id: str) -> StoredMessage: ...

    async def content(self, message_id: str) -> Octets:
        """The message as it came, a large one to be read where it stands.

        Raises `NotFound` when retention has removed it, and `Full` where there is no descriptor for its file now.
        """

    async def body(self, message_id: str) -> bytes:
        """All of it in memory."""

    async def ledger(self, message_id: str) -> list[LedgerRow]:
        """Every step reached, by evaluation and position."""


class Arriving(Protocol):
    """A large message that is being received, kept where it takes no memory.

    `Full`: there is no room for it; `Broken`: the store failed. Either may come with a later piece than the one it befell.
    """

    async def write(self, piece: bytes) -> None:
        """The next octets. Waits where the disk is slower than whoever sends."""

    async def finish(self) -> Octets:
        """All of it, after the last piece; there was one. It can be read even when it is discarded."""

    async def discard(self) -> None:
        """Nothing of it stays, unless it was accepted meanwhile; again: nothing."""


class Spool(Messages, Protocol):
    """One shard's messages, jobs, ledger and history."""

    shard: int

    def arriving(self) -> Arriving:
        """Room for one large message that begins to come; `accept` or `discard` ends it. Raises `Full` or `Broken`."""

    async def accept(self, unit: Accepted, *, company: int = 1) -> Job | None:
        """Make the message durable and return its first job, already leased to the caller. Raises `Full` or `Broken`.

        `company`: how many accepts may come now, with this one; while the store is busy it may wait milliseconds for the others.
        A caller that is cancelled while it waits cancels nothing: the message is kept and its job becomes ready. An id that
        exists already is `Misuse`.
        """

    async def log(self, row: HistoryRow) -> None:
        """Keep a transaction that produced no message: durable within a second, not before this returns.

        The first row under an id stands.
        """

    async def claim(self, now: datetime, limit: int, wanted: Wanted = ANY) -> list[Job]:
        """Lease due jobs, oldest first. A lease lasts until recorded or reopened."""

    async def pauses_are(self, pauses: Sequence[Pause]) -> None:
        """The destinations that are paused now, for those who look on from outside; in place of what was told before."""

    async def next_due(self) -> datetime | None:
        """When the earliest ready job falls due; None if there is none."""

    async def record(self, unit: Recorded) -> None:
        """Keep an outcome. `NotFound`: no such message, or the job to change is not what it `was`; nothing of the unit was kept."""

    async def jobs(self, query: JobQuery) -> list[Job]:
        """The jobs that the query names, oldest id first. Ids are unique over all shards and never used twice."""

    async def change_jobs(self, ids: Sequence[int], state: JobState | None, now: datetime) -> int:
        """An operator's word: READY (due now, with a fresh four hours), PARKED, or None to cancel; returns how many changed.

        Leased jobs stay as they are. The messages' states follow (`jobs.state_after`); a rejected message stays rejected.
        """

    async def re_evaluate(self, message_id: str, rule_book: str, now: datetime) -> NewJob:
        """Raise the evaluation under another rule book and queue its walk (`--with active`). `NotFound`: its body is gone too."""

    async def find(self, query: HistoryQuery) -> list[tuple[HistoryRow, MessageState | None]]:
        """The transactions that match, newest first. `Malformed`: an outcome word that does not exist."""

    async def sweep(self, now: datetime, retention: Retention) -> Swept:
        """Delete what is older than its retention: bodies, then headers, then the rest; and bodies above the cap, oldest first.

        Nothing is deleted of a message in `KEPT_STATES` or with a job left.
        """

    async def erase(self, ids: Sequence[str]) -> Erased:
        """Forget persons: body, headers, receipt, ledger, jobs and addresses of these transactions; ids not here are passed over.

        A row of history stays for each, with its time, size and outcome, and `ERASED` as its detail. The message is `NotFound`.
        """

    async def scrub(self) -> bool:
        """Overwrite what earlier deletions left on the disk. False: somebody reads there; what they need is gone later."""

    def load(self) -> Load: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BookVersion:
    """One version of the rule book. `pinned` can be true of the active one only."""

    digest: str
    origin: str  # the file it came from, or "built-in"
    loaded_at: datetime
    active: bool
    pinned: bool


class RuleBooks(Protocol):
    """Versions of the rule book and the pointer to the active one, shared by all shards (semantics.md §4)."""

    def put(self, digest: str, content: bytes, origin: str, now: datetime) -> None:
        """Keep a version. Durable before it returns; the same content again changes nothing."""

    def content(self, digest: str) -> bytes:
        """Raises `NotFound`."""

    def active(self) -> BookVersion | None: ...

    def activate(self, digest: str, *, pinned: bool) -> None:
        """Point at a version that was put before, else `NotFound`. `pinned`: by command, so file changes do not activate."""

    def unpin(self) -> None: ...

    def versions(self) -> list[BookVersion]:
        """Newest first."""

    def forget(self, keep: frozenset[str]) -> int:
        """Delete versions that no shard refers to; never the active one."""

    def close(self) -> None: ...
