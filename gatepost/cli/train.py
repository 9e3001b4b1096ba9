"""`gatepost train`: teach the built-in spam engine from labelled mail."""

from collections.abc import Iterable
from pathlib import Path

import click

from gatepost.cli.common import config_options, fail, json_option, print_json, settings_of
from gatepost.cli.exits import USAGE
from gatepost.cli.layout import plural, visible
from gatepost.corpus import messages_in
from gatepost.scanners import model_path
from gatepost.settings import Settings
from gatepost.teaching import alone, taught_path, write_model
from mail.errors import Malformed
from verdicts.builtin_scorer import ENOUGH
from verdicts.token_training import Tally

_DIRECTORY = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.option(
    "--spam", type=_DIRECTORY, multiple=True, required=True, metavar="DIR", help="Mail that is spam. May be repeated."
)
@click.option(
    "--ham", type=_DIRECTORY, multiple=True, required=True, metavar="DIR", help="Mail that is not. May be repeated."
)
@json_option
@config_options
def command(
    spam: tuple[Path, ...], ham: tuple[Path, ...], as_json: bool, config: Path | None, data: Path | None
) -> int:
    """Teach the spam engine `builtin` from directories of mail files, one message a file.

    What is learnt replaces what was learnt before, but for what `gatepost quarantine` taught. It depends on the messages alone, not
    on their order. A running gateway uses it from the next message on. Give your own mail, 200 messages of each at least, and as
    much spam as ham.
    """
    settings = settings_of(config, data)
    tally = Tally()
    skipped = _counted(tally, ((*((path, True) for path in spam), *((path, False) for path in ham))))
    if not tally.messages.total():
        raise fail("there is no message in these directories", USAGE)
    with alone(settings):
        skipped += _counted(tally, ((taught_path(settings, is_spam=is_spam), is_spam) for is_spam in (True, False)))
        version = write_model(model_path(settings), tally.trained())
    told = {
        "model": str(model_path(settings)),
        "version": version,
        "spam": tally.messages[True],
        "ham": tally.messages[False],
        "duplicates": tally.duplicates,
        "contradicted": tally.contradicted,
        "unreadable": skipped,
    }
    if as_json:
        print_json(told)
    else:
        for line in _sentences(tally, settings, version, skipped):
            click.echo(line)
    return 0


def _counted(tally: Tally, sources: Iterable[tuple[Path, bool]]) -> int:
    """Add every message of these directories; how many could not be read."""
    skipped = 0
    for path, is_spam in sources:
        for message in messages_in(path, is_spam=is_spam):
            try:
                tally.add(message.raw(), is_spam=message.is_spam)
            except (Malformed, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                click.echo(f"{click.style('warning:', fg='yellow')} {visible(str(message.path))}: {reason}", err=True)
                skipped += 1
    return skipped


def _sentences(tally: Tally, settings: Settings, version: str, skipped: int) -> Iterable[str]:
    spam, ham = tally.messages[True], tally.messages[False]
    yield f"trained with {spam} spam and {ham} ham messages: {visible(str(model_path(settings)))}, version {version}"
    if tally.duplicates:
        yield f"{plural(tally.duplicates, 'file')} held a message that had been counted"
    if tally.contradicted:
        yield f"{plural(tally.contradicted, 'message')} called both spam and ham left out"
    if skipped:
        yield f"{plural(skipped, 'file')} could not be read"
    if min(spam, ham) < ENOUGH:
        yield f"below {ENOUGH} messages of each the verdict is GRAY"
    if settings.spam_engine != "builtin":
        yield f"the setting spam.engine is {settings.spam_engine}; builtin uses what was learnt"
