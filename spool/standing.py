"""How much of what waits in one shard, or in all: what an operator is told first."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mail.ids import is_message_id, received_at_of
from spool.schema import INDEXED_STATES

JOB_STATES = ("ready", "retrying", "leased", "dead", "parked", "held")
"""A job that failed before and is ready again is `retrying`; a hold of a quarantine is `held`, whatever its state."""

MESSAGE_STATES = ("retrying", "dead", "unhandled", "suppressed", "parked")

_RETRYING = "kind <> 'hold' AND state = 'ready' AND last <> ''"
_IS = {
    "ready": "kind <> 'hold' AND state = 'ready' AND last = ''",
    "retrying": _RETRYING,
    "held": "kind = 'hold'",
    **{word: f"kind <> 'hold' AND state = '{word}'" for word in ("leased", "dead", "parked")},
}
_COUNTS = ", ".join(f"count(*) FILTER (WHERE {_IS[word]})" for word in JOB_STATES)
_JOBS = f"SELECT min(message_id) FILTER (WHERE {_RETRYING}), {_COUNTS} FROM job"  # noqa: S608 - constants
_MESSAGES = f"SELECT state, count(*) FROM history WHERE state IN ({INDEXED_STATES}) GROUP BY state"  # noqa: S608 - constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`jobs` by the words of `JOB_STATES`, `messages` by those of `MESSAGE_STATES`; every word has a number.

    `oldest_retry` is when the oldest message came that has a retrying job; None without any.
    """

    jobs: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(JOB_STATES, 0))
    messages: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(MESSAGE_STATES, 0))
    oldest_retry: datetime | None = None


def standing(connection: sqlite3.Connection) -> Standing:
    """Of one shard. Reads the table of jobs from end to end, once: some 0.4 s for a million."""
    first, *counts = connection.execute(_JOBS).fetchone()
    jobs = dict(zip(JOB_STATES, counts, strict=True))
    oldest = received_at_of(first) if first is not None and is_message_id(first) else None
    found = dict(connection.execute(_MESSAGES).fetchall())
    return Standing(jobs=jobs, messages={state: found.get(state, 0) for state in MESSAGE_STATES}, oldest_retry=oldest)


def added_up(parts: Iterable[Standing]) -> Standing:
    """The shards as one."""
    jobs, messages = Counter(dict.fromkeys(JOB_STATES, 0)), Counter(dict.fromkeys(MESSAGE_STATES, 0))
    oldest: list[datetime] = []
    for part in parts:
        jobs.update(part.jobs)
        messages.update(part.messages)
        oldest += [part.oldest_retry] if part.oldest_retry is not None else []
    return Standing(jobs=dict(jobs), messages=dict(messages), oldest_retry=min(oldest, default=None))
