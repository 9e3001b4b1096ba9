"""`gatepost wait`: until the actions of messages have ended."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gatepost.cli.common import Exit, config_options, fail, json_option, print_json
from gatepost.cli.exits import FAILED, OK, TIMEOUT, USAGE
from gatepost.cli.layout import span_text, table, visible, word
from gatepost.cli.lookup import Span, reader_of
from mail.ids import is_message_id
from spool.history import STEP_OUTCOMES
from spool.ports import JobKind, JobQuery, JobState, LedgerRow, MessageState, NotFound
from spool.reader import SpoolReader

SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.1  # seconds between two looks

UNDER_WAY = frozenset({MessageState.ACTIVE, MessageState.RETRYING})
FAILURES = frozenset({MessageState.DEAD, MessageState.PARKED, MessageState.UNHANDLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One message as it stood at the last look. `ended`: there is nothing to wait for any more; `good`: as it was wished."""

    id: str
    state: str = "unknown"
    detail: str = ""
    ended: bool = False
    good: bool = False


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--for",
    "goal",
    type=click.Choice(("stored", "done")),
    default="done",
    show_default=True,
    help="stored: until an action has stored it; done: until all actions have ended.",
)
@click.option("--timeout", type=Span(), default="10s", show_default=True, help="How long at most: 500ms, 10s, 5m.")
@json_option
@config_options
def command(
    ids: tuple[str, ...], goal: str, timeout: float, as_json: bool, config: Path | None, data: Path | None
) -> None:
    """Wait until the actions of messages have ended, and say how. An id that is not there yet is waited for too.

    Exits 0 when all are done, 3 when some failed (dead, parked, unhandled; not stored, with --for stored), 4 when the time is up.
    """
    wrong = [each for each in ids if not is_message_id(each)]
    if wrong:
        raise fail(f"{visible(wrong[0])} is no message id (40 characters, from the reply to DATA or from find)", USAGE)
    seen = asyncio.run(wait_for(reader_of(config, data), ids, goal, timeout))
    if as_json:
        for each in seen:
            print_json(seen_object(each))
    else:
        click.echo(table((each.id, word(each.state), visible(each.detail)) for each in seen))
    if any(each.ended and not each.good for each in seen):
        raise Exit(FAILED)
    if not all(each.ended for each in seen):
        waiting = sum(not each.ended for each in seen)
        span = f"{timeout * 1000:g} ms" if 0 < timeout < 1 else span_text(timeout)
        raise fail(f"{waiting} of {len(seen)} not {goal} after {span}", TIMEOUT)
    raise Exit(OK)


def seen_object(seen: Seen) -> dict[str, Any]:
    return {"id": seen.id, "state": seen.state, "ended": seen.ended, "ok": seen.good, "detail": seen.detail}


async def wait_for(reader: SpoolReader, ids: Iterable[str], goal: str, timeout_seconds: float) -> list[Seen]:
    """How each stood when all had ended or the time was up; each is looked at once at least, and not again once it has ended."""
    seen = {each: Seen(id=each) for each in ids}
    until = time.monotonic() + timeout_seconds
    pause = SHORTEST_PAUSE
    while True:
        for each in [each for each in seen.values() if not each.ended]:
            seen[each.id] = await look(reader, each.id, goal)
        left = until - time.monotonic()
        if left <= 0 or all(each.ended for each in seen.values()):
            return list(seen.values())
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def look(reader: SpoolReader, message_id: str, goal: str) -> Seen:
    try:
        message = await reader.message(message_id)
    except NotFound:
        return Seen(id=message_id, detail="no such message yet")
    ledger = [row for row in await reader.ledger(message_id) if row.evaluation == message.evaluation]
    if goal == "stored" and any(map(_stores, ledger)):
        return Seen(id=message_id, state=message.state.value, detail="stored", ended=True, good=True)
    if message.state in UNDER_WAY:
        return Seen(id=message_id, state=message.state.value, detail=_brief(ledger))
    # A hold is no work: somebody decides, some day.
    jobs = [job for job in await reader.jobs(JobQuery(message_id=message_id)) if job.kind is not JobKind.HOLD]
    # A dead step does not stop the others: what is ready or leased still moves by itself.
    ended = not any(job.state in (JobState.READY, JobState.LEASED) for job in jobs)
    good = ended and not jobs and goal == "done" and message.state not in FAILURES
    return Seen(id=message_id, state=message.state.value, detail=_brief(ledger), ended=ended, good=good)


def _stores(row: LedgerRow) -> bool:
    actions, results = STEP_OUTCOMES["stored"]
    return row.action in actions and row.result in results


def _brief(ledger: list[LedgerRow]) -> str:
    return ", ".join(f"{row.action} {row.result.value}" for row in ledger)
