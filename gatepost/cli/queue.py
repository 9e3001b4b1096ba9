"""`gatepost queue`: the jobs that are still to be done, and an operator's word on them."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from gatepost.cli.common import Exit, config_options, fail, json_option, print_json
from gatepost.cli.exits import FAILED, FINDINGS, OK, USAGE
from gatepost.cli.layout import faint, plural, table, visible, word
from gatepost.cli.lookup import Span, reader_of, state_directory, transactions
from gatepost.cli.queue_selection import EVERY, Selection, select
from gatepost.cli.record import DIGITS_OF_DIGEST, job_lines, job_object, read_record, render_record, step_name
from gatepost.control import (
    IDS_AT_ONCE,
    NO_JOB,
    Answer,
    Operation,
    Request,
    Skipped,
    active_rule_book,
    request_change,
)
from mail.errors import GatepostError
from spool.ports import Job, JobState
from spool.reader import SpoolReader

Command = Callable[..., Any]

DONE_TO = {
    "retry": "retried",
    "release": "released",
    "park": "parked",
    "cancel": "cancelled",
    "re_evaluate": "walked anew",
}


def selecting(command: Command) -> Command:
    """The arguments and filters that every subcommand takes."""
    for option in (
        click.argument("ids", metavar="[JOB|MESSAGE]...", nargs=-1),
        click.option("--message", help="Of this message: its id, or 6 characters of it at least."),
        click.option("--rule", help="Of this rule."),
        click.option("--action", help="Of this action: webhook, disk, ..."),
        click.option("--destination", help="For this host."),
        click.option("--error", help="Whose last error holds this text."),
        click.option("--older-than", type=Span(), help="Of messages that came so long ago at least: 90s, 30m, 4h, 2d."),
        click.option("--newer-than", type=Span(), help="Of messages that came less long ago."),
        click.option("--state", type=click.Choice([state.value for state in JobState]), help="In this state."),
    ):
        command = option(command)
    return json_option(config_options(command))


def changing(command: Command) -> Command:
    command = click.option("--all", "everything", is_flag=True, help="All jobs that this is for.")(command)
    command = click.option("--yes", is_flag=True, help="Do not ask before changing more than was named.")(command)
    return selecting(command)


with_option = click.option(
    "--with",
    "rules",
    type=click.Choice(("pinned", "active")),
    default="pinned",
    show_default=True,
    help="active: walk the messages anew, under the rule set that is active now.",
)


@click.group()
def command() -> None:
    """List, retry, cancel, park or release the jobs that are still to be done.

    A job is named by its number, or by its message. Filters name many: those are shown first, and changed after a yes.
    """


@command.command("list")
@selecting
@click.option("--limit", type=click.IntRange(1, EVERY), default=100, show_default=True, help="At most so many.")
def list_jobs(
    ids: tuple[str, ...], limit: int, as_json: bool, config: Path | None, data: Path | None, **filters: Any
) -> None:
    """List jobs, oldest first; all of them, unless filters or ids say which."""
    selection = asyncio.run(select(reader_of(config, data), ids, limit=limit, **filters))
    if as_json:
        for job in selection.jobs:
            print_json(job_object(job))
    elif not selection.jobs:
        click.echo("No jobs." if selection.is_bulk and not any(filters.values()) else "No such jobs.")
    else:
        click.echo(job_lines(selection.jobs, whose=True))
        if len(selection.jobs) == limit:
            click.echo(faint(f"The oldest {limit:,} only; --limit shows more."), err=True)


@command.command("show")
@selecting
def show_jobs(ids: tuple[str, ...], as_json: bool, config: Path | None, data: Path | None, **filters: Any) -> None:
    """Show jobs with all that is known of their messages."""
    if not ids and not any(filters.values()):
        raise fail("say which jobs: their ids, a message, or filters", USAGE)
    asyncio.run(_show(reader_of(config, data), ids, filters, as_json=as_json))


async def _show(reader: SpoolReader, ids: tuple[str, ...], filters: dict[str, Any], *, as_json: bool) -> None:
    selection = await select(reader, ids, **filters)
    if selection.missing:
        raise fail(f"there is no job {selection.missing[0]} (it may have ended)")
    if as_json:
        for job in selection.jobs:
            print_json(job_object(job))
        return
    for message_id in dict.fromkeys(job.message_id for job in selection.jobs):
        [(row, state)] = await transactions(reader, message_id)
        click.echo(render_record(await read_record(reader, row, state)) + "\n")
    if not selection.jobs:
        click.echo("No such jobs.")


@command.command("retry")
@changing
@with_option
def retry(**options: Any) -> None:
    """Run dead or waiting jobs now, with four fresh hours."""
    _change("retry", **options)


@command.command("release")
@changing
@with_option
def release(**options: Any) -> None:
    """Let parked jobs run again."""
    _change("release", **options)


@command.command("park")
@changing
def park(**options: Any) -> None:
    """Hold jobs until they are released."""
    _change("park", **options)


@command.command("cancel")
@changing
def cancel(**options: Any) -> None:
    """Give jobs up for good. Their messages are kept as long as retention says."""
    _change("cancel", **options)


def _change(
    operation: Operation,
    *,
    ids: tuple[str, ...],
    everything: bool,
    yes: bool,
    as_json: bool,
    config: Path | None,
    data: Path | None,
    rules: str = "pinned",
    **filters: Any,
) -> None:
    if not ids and not everything and not any(filters.values()):
        raise fail(f"say what to {operation}: ids, filters, or --all", USAGE)
    directory = state_directory(config, data)
    reader = reader_of(config, data)
    selection = asyncio.run(select(reader, ids, operation=None if ids else operation, **filters))
    anew = rules == "active"
    if selection.is_bulk:
        if not selection.jobs:
            click.echo(f"No jobs to {operation}.", err=as_json)
            return
        _confirm(operation, selection.jobs, anew=anew, yes=yes)
    request = _request(operation, selection, anew=anew)
    if not request.jobs and not request.messages:
        raise fail(f"there is no job of that to {operation}; --with active walks a message anew that has none")
    try:
        if anew:
            _say_active(directory)
        total = len(request.jobs) or len(request.messages)
        answer = asyncio.run(request_change(directory, request, datetime.now(UTC), progress=_shows(total)))
    except GatepostError as error:
        raise fail(visible(str(error)), FAILED) from error
    if anew:
        gone = tuple(Skipped(id=each, why=NO_JOB) for each in selection.missing)
        answer = replace(answer, skipped=answer.skipped + gone)
    _report(request, answer, as_json=as_json)
    if answer.skipped:
        raise Exit(FINDINGS)


def _shows(total: int) -> Callable[[int], None]:
    """Tells how far a large change has come, on a terminal."""

    def show(done: int) -> None:
        if total > IDS_AT_ONCE and sys.stderr.isatty():
            click.echo(f"\r{done:,} of {total:,}", err=True, nl=done >= total)

    return show


def _request(operation: Operation, selection: Selection, *, anew: bool) -> Request:
    if anew:
        named = (*selection.messages, *(job.message_id for job in selection.jobs))
        return Request(operation="re_evaluate", messages=tuple(dict.fromkeys(named)))
    return Request(operation=operation, jobs=(*(job.id for job in selection.jobs), *selection.missing))


def _say_active(directory: Path) -> None:
    digest = active_rule_book(directory)
    if digest is not None:
        click.echo(f"Under the active rule set, {digest[:DIGITS_OF_DIGEST]}.", err=True)


def is_asked() -> bool:
    """Whether somebody sits at the other end who can say yes."""
    return sys.stdin.isatty()


def _confirm(operation: str, jobs: list[Job], *, anew: bool, yes: bool) -> None:
    """Say what is going to be done to jobs that were not named, and have it confirmed."""
    messages = {job.message_id for job in jobs}
    counts = Counter((job.state.value, step_name(job), job.destination) for job in jobs)
    rows = [
        (f"{count:,}", word(state), visible(step), visible(destination))
        for (state, step, destination), count in counts.most_common(10)
    ]
    what = f"{operation} {plural(len(jobs), 'job')} of {plural(len(messages), 'message')}"
    click.echo(f"This will {what}{', walking the messages anew' if anew else ''}:\n", err=True)
    click.echo(table((("", *row) for row in rows), gap="  "), err=True)
    if len(counts) > len(rows):
        click.echo(f"  and {len(counts) - len(rows):,} other kinds", err=True)
    click.echo(err=True)
    if yes:
        return
    if not is_asked():
        raise fail(f"nothing was changed; --yes does {what}", USAGE)
    if not click.confirm("Go on?", err=True):
        raise Exit(OK)


def _report(request: Request, answer: Answer, *, as_json: bool) -> None:
    if as_json:
        print_json({"operation": request.operation, **msgspec.to_builtins(answer)})
        return
    noun = "message" if request.operation == "re_evaluate" else "job"
    click.echo(f"{plural(answer.changed, noun)} {DONE_TO[request.operation]}.")
    for each in answer.skipped:
        click.echo(f"{visible(str(each.id))} {visible(each.why)}", err=True)
