"""`gatepost show`: one message or session as it was, with what became of it; or its bytes, header section or one part."""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from gatepost.cli.common import config_options, fail, json_option, print_json
from gatepost.cli.exits import USAGE
from gatepost.cli.find import lines as transaction_lines
from gatepost.cli.find import row_object
from gatepost.cli.layout import faint, is_terminal, plural, size_text, table, visible, visible_lines, width
from gatepost.cli.lookup import Found, message_id_of, reader_of, transactions
from gatepost.cli.record import Record, read_record, record_object, render_record, render_refusal
from mail.mime import Part, parts
from spool.ports import NotFound
from spool.reader import SpoolReader


@click.command()
@click.argument("which", metavar="ID")
@click.option("--raw", is_flag=True, help="The message's bytes as they came.")
@click.option("--headers", is_flag=True, help="Its header section as it came.")
@click.option("--part", type=int, metavar="N", help="The decoded content of part N; 0 lists the parts.")
@json_option
@config_options
def command(
    which: str,
    raw: bool,
    headers: bool,
    part: int | None,
    as_json: bool,
    config: Path | None,
    data: Path | None,
) -> None:
    """Show one message: who, when, verdicts with reasons, the steps with what came of them, the jobs that are left.

    ID is a message's id, the first characters of it (6 at least), or a session's id. Bytes go to a pipe or file untouched; on a
    terminal control characters are shown as escapes.
    """
    if raw + headers + (part is not None) > 1:
        raise fail("--raw, --headers and --part exclude each other", USAGE)
    asyncio.run(_show(reader_of(config, data), which, raw=raw, headers=headers, part=part, as_json=as_json))


async def _show(reader: SpoolReader, which: str, *, raw: bool, headers: bool, part: int | None, as_json: bool) -> None:
    if raw:
        _write(await _body(reader, await message_id_of(reader, which)))
    elif headers:
        _write(await _header(reader, await message_id_of(reader, which)))
    elif part is not None:
        _show_part(list(parts(await _body(reader, await message_id_of(reader, which)))), part, as_json=as_json)
    else:
        found = await transactions(reader, which)
        records = [await read_record(reader, row, state) for row, state in found]
        if as_json:
            for each in records:
                print_json(record_object(each) if each.message else row_object(each.row, None))
        else:
            _print_records(found, records)


def _print_records(found: list[Found], records: list[Record]) -> None:
    """A session with several transactions begins with their list."""
    if len(found) > 1:
        click.echo(f"Session {visible(found[0][0].session)}, {plural(len(found), 'transaction')}, newest first:\n")
        click.echo(transaction_lines(found, columns=width() if is_terminal() else None))
        click.echo()
    screens = [render_record(each) if each.message else render_refusal(each.row) for each in records]
    click.echo("\n\n".join(screens))


async def _body(reader: SpoolReader, message_id: str) -> bytes:
    try:
        return await reader.body(message_id)
    except NotFound as error:
        raise fail(f"{error} (retention.full, retention.cap)") from error


async def _header(reader: SpoolReader, message_id: str) -> bytes:
    try:
        header = (await reader.message(message_id)).header
    except NotFound as error:
        raise fail(str(error)) from error
    if header is None:
        raise fail(f"the header section of {message_id} is gone (retention.headers)")
    return header


def _show_part(found: list[Part], number: int, *, as_json: bool) -> None:
    if not 1 <= number <= len(found):
        _list_parts(found, as_json=as_json)
        if number == 0:
            return
        raise fail(f"there is no part {number}; there are 1 to {len(found)}", USAGE)
    part = found[number - 1]
    if not is_terminal() or part.type.startswith("text/"):
        _write(part.content, part.charset)
        return
    what = f"part {number} is {visible(part.type)}, {size_text(part.octets)}"
    raise fail(f"{what}: not for a terminal; write it to a file: gatepost show ID --part {number} > FILE", USAGE)


def _list_parts(found: Iterable[Part], *, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {"part": number, "type": part.type, "name": part.name, "size": part.octets}
        for number, part in enumerate(found, 1)
    ]
    if as_json:
        for row in rows:
            print_json(row)
        return
    cells = [(str(row["part"]), visible(row["type"]), size_text(row["size"]), visible(row["name"])) for row in rows]
    click.echo(table(cells, head=("part", "type", "size", "name")))


def _write(content: bytes, charset: str = "") -> None:
    """Untouched to a pipe or file; a terminal gets lines that it cannot act upon."""
    if not is_terminal():
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        return
    click.echo(visible_lines(content, charset))
    click.echo(faint("(control characters are shown as escapes; a pipe or file gets the bytes as they are)"), err=True)
