"""Which jobs a command line means: by number, by message, or by filters."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gatepost.cli.lookup import message_id_of
from gatepost.control import takes
from spool.ports import Job, JobQuery, JobState
from spool.reader import SpoolReader

EVERY = 1_000_000  # jobs that one command changes at most; the spool takes no more than a tenth of it by default
_JOB = re.compile(r"[1-9][0-9]{0,17}\Z")  # a number that SQLite holds; a message id begins with 0 for centuries


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The jobs meant by the command line. `messages` were named themselves; `is_bulk`: no job or message was named."""

    jobs: list[Job]
    messages: tuple[str, ...]
    missing: tuple[int, ...]
    is_bulk: bool


async def select(
    reader: SpoolReader,
    ids: Iterable[str],
    *,
    message: str | None = None,
    state: str | None = None,
    operation: str | None = None,
    older_than: float | None = None,
    newer_than: float | None = None,
    limit: int = EVERY,
    **texts: Any,
) -> Selection:
    """The jobs that ids and filters name together; of those that filters alone name, the ones that `operation` is for."""
    numbers = [int(each) for each in ids if _JOB.match(each)]
    named = [each for each in ids if not _JOB.match(each)]
    messages = [await message_id_of(reader, each) for each in named]
    query = JobQuery(
        message_id=None if message is None else await message_id_of(reader, message),
        state=None if state is None else JobState(state),
        until=None if older_than is None else datetime.now(UTC) - timedelta(seconds=older_than),
        since=None if newer_than is None else datetime.now(UTC) - timedelta(seconds=newer_than),
        limit=limit,
        **texts,
    )
    found: dict[int, Job] = {}
    if numbers:
        found |= {job.id: job for job in await reader.jobs(replace(query, ids=tuple(numbers)))}
    for each in messages:
        if query.message_id in (None, each):
            found |= {job.id: job for job in await reader.jobs(replace(query, message_id=each))}
    if not numbers and not messages:
        found = {job.id: job for job in await reader.jobs(query) if operation is None or takes(operation, job)}
    return Selection(
        jobs=list(found.values()),
        messages=tuple(messages),
        missing=tuple(each for each in numbers if each not in found),
        is_bulk=not numbers and not messages,
    )
