"""`gatepost erase`: forget a person, or single messages."""

import asyncio
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from actions.object_key import SIDECAR, key_components
from gatepost.cli.common import Exit, config_options, fail, json_option, print_json
from gatepost.cli.exits import FAILED, FINDINGS, OK, USAGE
from gatepost.cli.find import lines, row_object
from gatepost.cli.layout import plural, visible
from gatepost.cli.lookup import reader_of, state_directory, transactions
from gatepost.cli.record import read_record
from gatepost.control import Answer, Request, request_change
from mail.address import domain_spellings, parse_mailbox
from mail.errors import GatepostError, Malformed
from spool.naming import Named
from spool.reader import SpoolReader

SCRUB_SECONDS = 3600.0  # gigabytes of free pages may have to be written over


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """What the command line names. `jobs` are left to be done; `files` (by transaction) rules stored here, `others` elsewhere."""

    found: tuple[Named, ...]
    jobs: int
    files: Mapping[str, tuple[Path, ...]]
    others: tuple[str, ...]


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--address", help="Everything that names this address in its envelope or header section.")
@click.option(
    "--stored",
    is_flag=True,
    help="Also delete the files that `disk` actions stored of it on this machine, and what was taught of it.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be erased.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@config_options
def command(
    ids: tuple[str, ...],
    address: str | None,
    stored: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    config: Path | None,
    data: Path | None,
) -> None:
    """Erase personal data: all that is kept of messages, and the addresses of refused transactions.

    Body, header section, receipt, steps and jobs go, and are overwritten in the database. A line of history stays, with the time,
    the size and the outcome. What rules gave to others stays with them: objects in buckets, webhooks, forwarded mail; and so do log
    files and backups. A message is named by its id, or by 6 characters of it at least.
    """
    if bool(ids) == (address is not None):
        raise fail("say what to erase: ids of messages, or --address ADDRESS", USAGE)
    directory, reader = state_directory(config, data), reader_of(config, data)
    found = asyncio.run(_found(reader, ids, None if address is None else _spellings(address)))
    meant = asyncio.run(_meant(directory, reader, found))
    if as_json and dry_run:
        for named in meant.found:
            print_json(row_object(named.row, named.state))
    elif meant.found and not as_json:
        _list(meant, stored=stored)
    if not meant.found or dry_run:
        click.echo("Nothing was erased." if meant.found else "There is nothing to erase.", err=True)
        return
    _confirm(meant, yes=yes)
    if stored:
        # Once more: a step may have ended while an answer was waited for, and nothing tells of its object afterwards.
        meant = asyncio.run(_meant(directory, reader, found))
    try:
        erased, scrubbed = asyncio.run(_erase(directory, meant))
    except GatepostError as error:
        raise fail(visible(str(error)), FAILED) from error
    kept = {each.id for each in erased.skipped}
    gone = _delete(path for each, files in meant.files.items() if each not in kept for path in files) if stored else 0
    _report(erased, scrubbed, gone, as_json=as_json)
    if erased.skipped or scrubbed.skipped:
        raise Exit(FINDINGS)


def _spellings(address: str) -> tuple[str, ...]:
    """As it was typed, as the envelope has it, and with the letters of its domain."""
    try:
        mailbox = parse_mailbox(address)
        local = str(mailbox).removesuffix(mailbox.domain)
        return (address, *(local + domain for domain in domain_spellings(mailbox.domain)))
    except Malformed as error:
        raise fail(f"--address {visible(address)}: {error}", USAGE) from error


async def _found(reader: SpoolReader, ids: Iterable[str], spellings: tuple[str, ...] | None) -> tuple[Named, ...]:
    if spellings is not None:
        return tuple(await reader.naming(spellings))
    rows = [each for text in ids for each in await transactions(reader, text)]
    return tuple({row.id: Named(row=row, state=state) for row, state in rows}.values())


async def _meant(directory: Path, reader: SpoolReader, found: tuple[Named, ...]) -> Meant:
    jobs = 0
    files: dict[str, tuple[Path, ...]] = {}
    others: list[str] = []
    for named in found:
        record = await read_record(reader, named.row, named.state)
        jobs += len(record.jobs)
        own: list[Path] = []
        if record.receipt is not None:
            own += sorted((directory / "taught").glob(f"*/{record.receipt.digest}.eml"))
        for step in record.ledger:
            keys = json.loads(step.data.get("object_keys", "[]")) or [step.data.get("object_key", "")]
            if step.action == "disk" and "path" in step.data:
                own += _files(Path(step.data["path"]), keys)
            elif "bucket" in step.data:
                others += [f"s3://{step.data['bucket']}/{key}" for key in keys]
            elif "path" in step.data:
                others.append(step.data["path"])
        files[named.row.id] = tuple(dict.fromkeys(own))
    return Meant(found=found, jobs=jobs, files=files, others=tuple(dict.fromkeys(others)))


def _files(first: Path, keys: list[str]) -> list[Path]:
    """Every object of a step with what may stand beside it; `first` is where that of the first key stands."""
    root = first.parents[len(key_components(keys[0])) - 1] if keys[0] else first.parent
    objects = [root.joinpath(*key_components(key)) for key in keys] if keys[0] else [first]
    return [each for path in objects for each in (path, path.with_name(path.name + SIDECAR)) if each.exists()]


def _list(meant: Meant, *, stored: bool) -> None:
    click.echo(lines([(named.row, named.state) for named in meant.found], columns=None))
    for path in dict.fromkeys(path for files in meant.files.values() for path in files):
        click.echo(
            f"{'stored, deleted too:' if stored else 'stored, not deleted (--stored does):'} {visible(str(path))}"
        )
    for place in meant.others:
        click.echo(f"stored elsewhere, not deleted: {visible(place)}")


def _confirm(meant: Meant, *, yes: bool) -> None:
    what = plural(len(meant.found), "transaction")
    if meant.jobs:
        click.echo(f"{plural(meant.jobs, 'job')} of theirs will never be done.", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise fail(f"nothing was erased; --yes erases {what} for good", USAGE)
    if not click.confirm(f"Erase {what} for good?", err=True):
        raise Exit(OK)


async def _erase(directory: Path, meant: Meant) -> tuple[Answer, Answer]:
    now = datetime.now(UTC)
    ids = tuple(named.row.id for named in meant.found)
    erased = await request_change(directory, Request(operation="erase", messages=ids), now)
    scrub = Request(operation="scrub")
    return erased, await request_change(directory, scrub, now, timeout_seconds=SCRUB_SECONDS)


def _delete(files: Iterable[Path]) -> int:
    """Objects are plain files; whatever else stands there now is left. How many there were."""
    count = 0
    for path in files:
        if path.is_file() and not path.is_symlink():
            path.unlink()
            count += 1
    return count


def _report(erased: Answer, scrubbed: Answer, gone: int, *, as_json: bool) -> None:
    skipped = (*erased.skipped, *scrubbed.skipped)
    if as_json:
        print_json(
            {"erased": erased.changed, "files": gone, "skipped": [{"id": each.id, "why": each.why} for each in skipped]}
        )
    else:
        click.echo(
            f"{plural(erased.changed, 'transaction')} erased{', ' + plural(gone, 'file') + ' deleted' if gone else ''}."
        )
    for each in skipped:
        click.echo(f"{visible(str(each.id))} {visible(each.why)}", err=True)
