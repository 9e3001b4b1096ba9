"""`gatepost keys`: the local key store (docs/encryption.md)."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from actions.key_files import KeyFiles, KeyVersion, decoded, encoded, key_name
from gatepost.audit_log import AuditLog
from gatepost.cli.common import Exit, config_options, fail, json_option, print_json, settings_of
from gatepost.cli.exits import FINDINGS, USAGE
from gatepost.cli.layout import is_terminal, plural, table, visible
from gatepost.rewrap import Rewrapped, bucket_and_key, rewrap_bucket, rewrap_directory
from gatepost.storage import Storage, key_directory, storage_of
from gatepost.wire import now
from mail.errors import Malformed
from spool.durable import write_new

_NAME = click.argument("name", metavar="NAME")


@click.group(name="keys")
def command() -> None:
    """Make, list, rotate, export and shred the keys under which messages are stored encrypted.

    NAME is what rules write as `kms_key_arn: alias/NAME`. Keys stand below `keys` in the directory of all state, in files that only
    their owner may read. Whoever loses them loses what was encrypted: export them to a safe place.
    """


@command.command()
@_NAME
@click.option("--from", "source", type=click.Path(path_type=Path, dir_okay=False), help="A file that `export` wrote.")
@config_options
def create(name: str, source: Path | None, config: Path | None, data: Path | None) -> None:
    """Make a key, or bring back one that was exported."""
    files = _files(config, data)
    versions = None if source is None else _exported(source)
    made = files.create(key_name(name), now(), versions)
    _audit(config, data).note("key_created", key=key_name(name), version=made.version, id=str(made.id))
    click.echo(f"key {visible(name)} is {made.id}, version {made.version}: write kms_key_arn: alias/{key_name(name)}")


@command.command(name="list")
@json_option
@config_options
def list_command(as_json: bool, config: Path | None, data: Path | None) -> None:
    """Every key with its versions; never the key itself."""
    files = _files(config, data)
    rows = [(name, version) for name in files.names() for version in files.versions(name)]
    if as_json:
        for name, version in rows:
            shown = {"name": name, "id": str(version.id), "version": version.version, "created_at": version.created_at}
            print_json(shown)
        return
    cells = [(f"alias/{name}", str(version.version), version.created_at, str(version.id)) for name, version in rows]
    click.echo(table(cells, head=("key", "version", "made", "id")) or f"there is no key in {files.directory}")


@command.command()
@_NAME
@click.argument("places", nargs=-1, metavar="[PLACE]...")
@click.option("--rewrap-only", is_flag=True, help="Make no new version: put PLACE under the newest there is.")
@config_options
def rotate(name: str, places: tuple[str, ...], rewrap_only: bool, config: Path | None, data: Path | None) -> None:
    """Give a key a new version, and put the objects of each PLACE under it.

    PLACE is a directory, or s3://BUCKET/PREFIX. Only metadata is written anew, no body is touched. What is stored elsewhere stays
    readable for as long as the older versions are kept; when every place is done, `gatepost keys shred NAME --version N` ends one.
    """
    settings = settings_of(config, data)
    storage = storage_of(settings)
    name = key_name(name)
    newest = storage.files.current(name) if rewrap_only else storage.files.rotate(name, now())
    if not rewrap_only:
        AuditLog(settings.data, now).note("key_rotated", key=name, version=newest.version)
    click.echo(f"key {name} has version {newest.version}" + ("" if rewrap_only else ", which wraps from now on"))
    if not asyncio.run(_rewrap(storage, places, name)):
        raise Exit(FINDINGS)


@command.command()
@_NAME
@click.option("--version", "number", type=click.IntRange(min=1), help="Only this version.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_options
def shred(name: str, number: int | None, yes: bool, config: Path | None, data: Path | None) -> None:
    """Overwrite and remove a key: whatever it encrypted cannot be read any more, by anybody.

    Copies are out of reach: exports, backups and snapshots of the file system.
    """
    files = _files(config, data)
    name = key_name(name)
    what = f"version {number} of key {name}" if number else f"key {name}, with all of its versions"
    if not yes:
        if not sys.stdin.isatty():
            raise fail(f"this would destroy {what}; say --yes", USAGE)
        click.confirm(f"Destroy {what}? What it encrypted is lost", abort=True)
    gone = files.shred(name, number)
    _audit(config, data).note("key_shredded", key=name, versions=list(gone))
    click.echo(f"shredded {plural(len(gone), 'version')} of key {name}: {', '.join(map(str, gone))}")


@command.command()
@_NAME
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A new file, for the owner only.")
@config_options
def export(name: str, output: Path | None, config: Path | None, data: Path | None) -> None:
    """Write a key with all of its versions, for a safe place; `create --from` brings it back."""
    versions = _files(config, data).versions(key_name(name))
    content = msgspec.json.format(msgspec.json.encode([encoded(version) for version in versions])) + b"\n"
    _audit(config, data).note("key_exported", key=key_name(name), versions=[version.version for version in versions])
    if output is None:
        if is_terminal():
            raise fail("a key is not for a terminal; write it to a file with -o FILE", USAGE)
        sys.stdout.buffer.write(content)
        return
    write_new(output, content)
    click.echo(f"{plural(len(versions), 'version')} of key {visible(name)} in {visible(str(output))}")


def _files(config: Path | None, data: Path | None) -> KeyFiles:
    return KeyFiles(key_directory(settings_of(config, data)))


def _audit(config: Path | None, data: Path | None) -> AuditLog:
    return AuditLog(settings_of(config, data).data, now)


def _exported(source: Path) -> list[KeyVersion]:
    try:
        found = [decoded(each) for each in msgspec.json.decode(source.read_bytes(), type=list)]
    except (msgspec.DecodeError, Malformed):
        found = []
    if len({version.id for version in found}) != 1 or len({version.version for version in found}) != len(found):
        raise Malformed(f"{source} is no file that gatepost keys export wrote")
    return found


async def _rewrap(storage: Storage, places: tuple[str, ...], name: str) -> bool:
    newest = storage.files.current(name)
    good = True
    try:
        for place in places:
            remote = bucket_and_key(place)
            if remote is None:
                done = await rewrap_directory(Path(place), newest, storage.local)
            else:
                done = await rewrap_bucket(storage.buckets, *remote, newest, storage.local)
            _say(place, done)
            good = good and not done.failures
    finally:
        await storage.clients.close()
    return good


def _say(place: str, done: Rewrapped) -> None:
    click.echo(
        f"{visible(place)}: {plural(done.changed, 'object')} put under the new version, {done.current:,} left as is"
    )
    for failure in done.failures or ():
        click.echo(f"{click.style('error:', fg='red')} {visible(failure)}", err=True)
