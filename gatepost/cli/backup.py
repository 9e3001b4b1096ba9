"""`gatepost backup`: copy the state while the server runs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gatepost.audit_log import AuditLog
from gatepost.backup import Backup, make_backup
from gatepost.cli.common import Exit, config_options, json_option, print_json
from gatepost.cli.exits import FINDINGS
from gatepost.cli.layout import plural, size_text, visible
from gatepost.cli.lookup import state_directory


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--without",
    multiple=True,
    metavar="NAME",
    help="Leave this part of the state directory out, as in `--without mail`. May be repeated.",
)
@json_option
@config_options
def command(directory: Path, without: tuple[str, ...], as_json: bool, config: Path | None, data: Path | None) -> None:
    """Copy all state into DIR, which is made or empty.

    The server goes on meanwhile: everything that got 250 before the backup began is in it, with the jobs that are left. Settings
    and rules files are not state: keep them too. Whoever has the backup has your mail and your keys.
    """
    state = state_directory(config, data)
    parts = [name.strip("/") for name in without]
    made = make_backup(state, directory, datetime.now(UTC), without=parts)
    # Whoever has it has mail and keys.
    AuditLog(state, lambda: datetime.now(UTC)).note("backup_made", directory=str(directory), manifest=made.digest)
    for name in parts:
        if not (state / name).exists():
            click.echo(f"--without {visible(name)}: there is nothing of this name in {visible(str(state))}", err=True)
    if as_json:
        print_json(_object(directory, made))
    else:
        manifest = made.manifest
        click.echo(
            f"{plural(manifest.messages, 'message')} and {plural(manifest.jobs, 'job')} left,"
            f" {plural(len(manifest.files), 'file')}, {size_text(manifest.octets)} in {visible(str(directory))}"
        )
        click.echo(f"manifest.json has the SHA-256 {made.digest}")
    for name in made.left_out:
        click.echo(f"left out, being no plain file: {visible(name)}", err=True)
    for message_id in made.missing:
        click.echo(f"the body of {message_id} is not on the disk: it is lost, and this backup has it neither", err=True)
    if made.missing:
        raise Exit(FINDINGS)


def _object(directory: Path, made: Backup) -> dict[str, Any]:
    return {
        "directory": str(directory),
        "messages": made.manifest.messages,
        "jobs": made.manifest.jobs,
        "files": len(made.manifest.files),
        "octets": made.manifest.octets,
        "manifest_sha256": made.digest,
        "left_out": list(made.left_out),
        "missing": list(made.missing),
    }
