"""`gatepost restore`: a backup becomes the state, or is only looked at."""

from pathlib import Path

import click

from gatepost.backup import check_backup, restore_backup
from gatepost.cli.common import config_options, json_option, print_json, settings_of
from gatepost.cli.layout import plural, time_text, visible
from mail.ses_json import timestamp


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--check", "only_check", is_flag=True, help="Only say whether the backup is whole and of this release.")
@json_option
@config_options
def command(directory: Path, only_check: bool, as_json: bool, config: Path | None, data: Path | None) -> None:
    """Put the backup in DIR into the state directory, which must be empty or not there.

    Every file's SHA-256 is checked before anything is written. The server that is started on it goes on with the jobs that were
    left; what was done between backup and restore is done again, with the same keys. Run it as the user that the server runs as.
    """
    state = settings_of(config, data).data
    manifest = check_backup(directory) if only_check else restore_backup(directory, state)
    if as_json:
        found = {"made_at": timestamp(manifest.made_at), "release": manifest.release, "files": len(manifest.files)}
        print_json({**found, "messages": manifest.messages, "jobs": manifest.jobs, "restored": not only_check})
        return
    what = f"{plural(manifest.messages, 'message')} and {plural(manifest.jobs, 'job')} left"
    where = "is whole" if only_check else f"is now the state in {visible(str(state))}"
    click.echo(f"The backup of {time_text(manifest.made_at)} {where}: {what}.")
