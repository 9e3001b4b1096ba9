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

_JOBS = (
    "SELECT CASE WHEN kind = 'hold' THEN 'held' WHEN state = 'ready' AND last <> '' THEN 'retrying' ELSE state END AS word,"
    " count(*), min(message_id) FROM job GROUP BY word"
)
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
    """Of one shard. Reads the table of jobs from end to end: a tenth of a second for a million."""
    jobs = dict.fromkeys(JOB_STATES, 0)
    oldest: datetime | None = None
    for word, count, first in connection.execute(_JOBS):
        jobs[word] = count
        if word == "retrying" and is_message_id(first):
            oldest = received_at_of(first)
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
