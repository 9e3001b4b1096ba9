"""`gatepost explain`: why a message went where it went."""

import asyncio
from pathlib import Path
from typing import Any

import click

from gatepost import wire
from gatepost.cli.common import config_options, fail, json_option, print_json, settings_of
from gatepost.cli.layout import visible
from gatepost.cli.lookup import Found, reader_of, transactions
from gatepost.cli.record import read_record, render_refusal
from gatepost.cli.replay import command as replay_command
from gatepost.cli.story import render_explanation
from gatepost.control import RULE_BOOKS
from gatepost.explanation import recorded_reply, stored_story
from gatepost.settings import Settings
from mail.receipt import decode_receipt
from rules.compiled import compile_book
from rules.model import decode_book
from spool.ports import NotFound
from spool.reader import SpoolReader
from spool.rule_sets import open_rule_books


@click.command()
@click.argument("which", metavar="ID|SESSION|FILE")
@json_option
@click.pass_context
@config_options
def command(context: click.Context, which: str, as_json: bool, config: Path | None, data: Path | None) -> int:
    """Say why: every rule of the set, matched or not, each condition with what it saw, each step with what came of it.

    ID is a message's id or the first characters of it, SESSION a session's id (a refused session is explained by the filter or rule
    that refused it), FILE a mail file, which is replayed.
    """
    if Path(which).is_file():
        given: dict[str, Any] = {"files": (Path(which),), "as_json": as_json, "config": config, "data": data}
        code: int = context.invoke(replay_command, **given)
        return code
    settings = settings_of(config, data)
    asyncio.run(_explain(settings, reader_of(config, data), which, as_json=as_json))
    return 0


async def _explain(settings: Settings, reader: SpoolReader, which: str, *, as_json: bool) -> None:
    for number, found in enumerate(await transactions(reader, which)):
        row, state = found
        if state is None:
            record = await read_record(reader, row, None)
            click.echo(("\n" if number else "") + render_refusal(record.row)) if not as_json else print_json(
                _refusal(found)
            )
            continue
        told = await _story(settings, reader, found)
        if as_json:
            print_json(told)
        else:
            click.echo(("\n" if number else "") + render_explanation(told))


async def _story(settings: Settings, reader: SpoolReader, found: Found) -> dict[str, Any]:
    row, state = found
    message = await reader.message(row.id)
    if message.header is None:
        raise fail(
            f"{row.id}: its header section is no longer kept, so its rules cannot be walked again (retention.headers)"
        )
    receipt = decode_receipt(message.receipt, message.header, message.answers)
    books = open_rule_books(settings.data / RULE_BOOKS)
    try:
        book = compile_book(decode_book(books.content(message.rule_book)))
    except NotFound:
        raise fail(f"{row.id}: rule set {message.rule_book[:12]} is no longer kept") from None
    finally:
        books.close()
    told = stored_story(
        receipt,
        book,
        await reader.ledger(row.id),
        message.evaluation,
        recorded_reply(row.reply),
        wire.prepend_of(settings),
    )
    return {**told, "state": None if state is None else state.value}


def _refusal(found: Found) -> dict[str, Any]:
    row, _ = found
    return {
        "file": None,
        "message_id": None,
        "session": row.session,
        "envelope": {
            "mail_from": row.mail_from,
            "rcpt_to": list(row.rcpt_to),
            "client_ip": row.client_ip,
            "helo": row.helo,
            "guessed": [],
        },
        "reply": recorded_reply(row.reply),
        "phase": row.phase,
        "by": row.by,
        "detail": visible(row.detail),
        "rules": [],
        "steps": [],
    }
