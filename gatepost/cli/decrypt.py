"""`gatepost decrypt`: a stored object in the clear (docs/encryption.md)."""

import asyncio
import os
import sys
from pathlib import Path

import click

from actions.envelope_encryption import is_sealed, read_envelope, unseal_object
from gatepost.cli.common import config_options, fail, settings_of
from gatepost.cli.exits import USAGE
from gatepost.cli.layout import is_terminal, visible, visible_lines
from gatepost.cli.lookup import message_id_of
from gatepost.rewrap import bucket_and_key
from gatepost.storage import Storage, storage_of
from gatepost.stored_files import read_file_object
from mail.errors import GatepostError, Malformed
from mail.outcome import Result
from spool.ports import LedgerRow
from spool.reader import open_reader


@click.command()
@click.argument("what", metavar="OBJECT")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write; standard output otherwise."
)
@config_options
def command(what: str, output: Path | None, config: Path | None, data: Path | None) -> None:
    """Write the plain message of an encrypted object, once all of it has proved to be authentic.

    OBJECT is a file that a disk action wrote, s3://BUCKET/KEY, or a message's id: then one of the objects that its steps wrote.
    """
    settings = settings_of(config, data)
    storage = storage_of(settings)
    content = asyncio.run(_content(storage, what, settings.data))
    if output is not None:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    elif is_terminal():
        click.echo(visible_lines(content))
    else:
        sys.stdout.buffer.write(content)


async def _content(storage: Storage, what: str, data: Path) -> bytes:
    try:
        if bucket_and_key(what) is not None or await asyncio.to_thread(os.path.lexists, what):
            return await _open(storage, what)
        return await _of_message(storage, what, data)
    finally:
        await storage.clients.close()


async def _open(storage: Storage, place: str, message_id: str = "") -> bytes:
    """The plain object at a place; of this message, if one is meant: whole objects could have changed places."""
    remote = bucket_and_key(place)
    if remote is None:
        body, metadata = await asyncio.to_thread(read_file_object, Path(place))
    else:
        body, metadata = await storage.buckets.get(*remote)
    if not is_sealed(metadata):
        if message_id:
            return body
        raise Malformed(f"{place} is not encrypted: it has no metadata that says so")
    plain = await unseal_object(body, metadata, storage.keys)
    described = read_envelope(metadata).description.get("aws:ses:message-id", "")
    if message_id and described != message_id:
        raise Malformed(f"{place} is of message {described}, not of {message_id}")
    return plain


async def _of_message(storage: Storage, what: str, data: Path) -> bytes:
    if not (data / "shards").is_dir():
        raise fail(f"there is no file {visible(what)}, and no state in {visible(str(data))}", USAGE)
    reader = open_reader(data)
    message_id = await message_id_of(reader, what)
    rows = await reader.ledger(message_id)
    places = [place for row in rows if row.result is Result.DONE and (place := _place(row))]
    if not places:
        raise fail(f"no step stored message {message_id}; gatepost show {message_id} --raw has it while it is retained")
    reasons = []
    for place in reversed(places):
        try:
            return await _open(storage, place, message_id)
        except (GatepostError, OSError) as error:
            reasons.append(str(error))
    raise Malformed("; ".join(reasons))


def _place(row: LedgerRow) -> str:
    if row.action == "s3" and "bucket" in row.data:
        return f"s3://{row.data['bucket']}/{row.data.get('object_key', '')}"
    return row.data.get("path", "") if row.action == "disk" else ""
