"""`gatepost quarantine`: the messages that rules hold, and an operator's word on them."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from gatepost.cli.common import (
    Exit,
    config_options,
    fail,
    json_option,
    print_json,
    print_warnings,
    settings_of,
)
from gatepost.cli.exits import FAILED, FINDINGS, USAGE
from gatepost.cli.layout import plural, table, time_text, visible
from gatepost.cli.lookup import message_id_of, reader_of, state_directory, transactions
from gatepost.cli.record import read_record, render_record
from gatepost.control import Request, request_change
from gatepost.corpus import LABELS
from gatepost.settings import Settings
from gatepost.teaching import teach
from mail.errors import GatepostError
from mail.ses_json import timestamp
from spool.ports import HistoryRow, Job, JobKind, JobQuery
from spool.reader import SpoolReader

MOST = 100_000

Command = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One hold: of a message, for the recipients that one rule took."""

    job: Job
    row: HistoryRow
    rule: str
    reason: str
    recipients: str


def selecting(command: Command) -> Command:
    """Which holds: of these messages, by this rule."""
    command = click.argument("ids", metavar="[MESSAGE]...", nargs=-1)(command)
    command = click.option("--rule", help="Held by this rule.")(command)
    return json_option(config_options(command))


@click.group()
def command() -> None:
    """List, show, release or delete messages that rules hold.

    A message is named by its id, or by 6 characters of it at least.
    """


@command.command("list")
@selecting
def list_held(ids: tuple[str, ...], rule: str | None, as_json: bool, config: Path | None, data: Path | None) -> None:
    """List what is held, the oldest first."""
    found = asyncio.run(_held(reader_of(config, data), ids, rule))
    if as_json:
        for each in found:
            print_json(_object(each))
    elif not found:
        click.echo("Nothing is held.")
    else:
        click.echo(_lines(found))


@command.command("show")
@selecting
def show_held(ids: tuple[str, ...], rule: str | None, as_json: bool, config: Path | None, data: Path | None) -> None:
    """Show what is held with all that is known of it."""
    asyncio.run(_show(reader_of(config, data), ids, rule, as_json=as_json))


async def _show(reader: SpoolReader, ids: tuple[str, ...], rule: str | None, *, as_json: bool) -> None:
    if not ids:
        raise fail("say which messages: their ids", USAGE)
    found = await _held(reader, ids, rule)
    if not found:
        raise fail("nothing of that is held")
    if as_json:
        for each in found:
            print_json(_object(each))
        return
    click.echo(_lines(found))
    for message_id in dict.fromkeys(each.job.message_id for each in found):
        [(row, state)] = await transactions(reader, message_id)
        click.echo("\n" + render_record(await read_record(reader, row, state)))


@command.command("release")
@selecting
@click.option("--train", type=click.Choice(["ham"]), help="Teach the spam engine `builtin` that these are ham.")
def release(**options: Any) -> None:
    """Go on with messages behind the rule that held them, for the recipients that were held.

    With --train ham the engine learns from each; a copy stays in `taught/ham` of the state directory.
    """
    _end("release_held", "released", **options)


@command.command("delete")
@selecting
@click.option("--train", type=click.Choice(["spam"]), help="Teach the spam engine `builtin` that these are spam.")
def delete(**options: Any) -> None:
    """Let messages go: nothing more happens with them, and retention takes them.

    With --train spam the engine learns from each; a copy stays in `taught/spam` of the state directory.
    """
    _end("delete_held", "deleted", **options)


def _end(
    operation: Literal["release_held", "delete_held"],
    done: str,
    *,
    ids: tuple[str, ...],
    rule: str | None,
    as_json: bool,
    config: Path | None,
    data: Path | None,
    train: str | None,
) -> None:
    if not ids:
        raise fail(f"say which messages are to be {done}: their ids", USAGE)
    directory, reader = state_directory(config, data), reader_of(config, data)
    messages = tuple(asyncio.run(_named(reader, ids)))
    # Read before they go: nothing else keeps their bytes.
    bodies = asyncio.run(_bodies(reader, messages)) if train is not None else {}
    request = Request(operation=operation, messages=messages, rule=rule)
    try:
        answer = asyncio.run(request_change(directory, request, datetime.now(UTC)))
    except GatepostError as error:
        raise fail(visible(str(error)), FAILED) from error
    skipped = {each.id for each in answer.skipped}
    taught = _taught(settings_of(config, data), [raw for each, raw in bodies.items() if each not in skipped], train)
    if as_json:
        print_json({"operation": operation, **msgspec.to_builtins(answer), **taught})
    else:
        click.echo(f"{plural(answer.changed, 'message')} {done}.")
        for label, count in taught.items():
            click.echo(f"{plural(count, 'message')} {label} as {train}.")
        for each in answer.skipped:
            click.echo(f"{visible(str(each.id))} {visible(each.why)}", err=True)
    if answer.skipped:
        raise Exit(FINDINGS)


async def _bodies(reader: SpoolReader, messages: tuple[str, ...]) -> dict[str, bytes]:
    """Raises what the reader does for a body that is gone, before anything is changed."""
    return {each: await reader.body(each) for each in messages}


def _taught(settings: Settings, bodies: Iterable[bytes], train: str | None) -> dict[str, int]:
    """How many were taught, nothing if none was to be."""
    if train is None:
        return {}
    if settings.spam_engine != "builtin":
        print_warnings([f"the setting spam.engine is {settings.spam_engine}; builtin uses what is taught"])
    return {"taught": sum(teach(settings, raw, is_spam=LABELS[train]) for raw in bodies)}


async def _named(reader: SpoolReader, ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([await message_id_of(reader, each) for each in ids]))


async def _held(reader: SpoolReader, ids: tuple[str, ...], rule: str | None) -> list[Held]:
    named: list[str | None] = [*await _named(reader, ids)] if ids else [None]
    found: list[Held] = []
    for message_id in named:
        query = JobQuery(message_id=message_id, rule=rule, action="quarantine", limit=MOST)
        found += [await _one(reader, job) for job in await reader.jobs(query) if job.kind is JobKind.HOLD]
    return found


async def _one(reader: SpoolReader, job: Job) -> Held:
    [(row, _)] = await transactions(reader, job.message_id)
    key = job.key.removeprefix(f"{job.message_id}/{job.evaluation}/")
    rule, _, index = key.rpartition("/")
    data = next(
        step.data
        for step in await reader.ledger(job.message_id)
        if (step.evaluation, step.rule, str(step.index), step.recipient) == (job.evaluation, rule, index, "")
    )
    return Held(job=job, row=row, rule=rule, reason=data.get("reason", ""), recipients=data.get("recipients", ""))


def _object(held: Held) -> dict[str, Any]:
    return {
        "id": held.job.message_id,
        "job": held.job.id,
        "mail_from": held.row.mail_from,
        "recipients": held.recipients.split(", ") if held.recipients else [],
        "subject": held.row.subject,
        "rule": held.rule,
        "reason": held.reason,
        "received_at": timestamp(held.row.at),
        "until": timestamp(held.job.not_before),
    }


def _lines(found: Iterable[Held]) -> str:
    cells = [
        (
            visible(each.job.message_id),
            visible(each.row.mail_from or "<>"),
            visible(each.recipients),
            visible(each.rule),
            visible(each.reason),
            time_text(each.job.not_before),
            visible(each.row.subject),
        )
        for each in found
    ]
    return table(cells, head=("message", "from", "held for", "rule", "reason", "until", "subject"))
