"""`gatepost top`: the gateway at work, drawn anew every few seconds."""

import asyncio
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from gatepost.alert_conditions import conditions, thresholds_of
from gatepost.cli.common import config_options, fail, settings_of
from gatepost.cli.exits import FAILED
from gatepost.cli.layout import colours, is_dumb, is_terminal, width
from gatepost.settings import Settings
from gatepost.survey import Surveyor
from gatepost.top_frame import frame
from mail.errors import Temporary
from spool.control import NoServer

# Another screen, without a cursor and without breaking lines that are too long for it; and back.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@click.option("--once", is_flag=True, help="Print one frame and end; for scripts and tickets.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 60),
    default=2.0,
    show_default=True,
    help="Seconds between frames, over which rates are taken.",
)
@config_options
def command(once: bool, interval: float, config: Path | None, data: Path | None) -> None:
    """Show what the gateway does now: mail, latencies, queue, workers, refusals and steps. Ctrl-C ends it.

    In a pipe, and on a terminal that cannot be drawn over (TERM=dumb), it prints one frame and ends.
    """
    settings = settings_of(config, data)
    if once or not is_terminal() or is_dumb():
        asyncio.run(_once(settings, interval))
        return
    sys.stdout.write(_ENTER)
    try:
        asyncio.run(_live(settings, interval))
    except KeyboardInterrupt:
        return
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def _now() -> datetime:
    return datetime.now(UTC)


async def _once(settings: Settings, interval: float) -> None:
    surveyor = Surveyor(settings.data, clock=_now)
    try:
        before = await surveyor.survey()
        await asyncio.sleep(interval)
        after = await surveyor.survey()
    except NoServer:
        raise fail(f"not running: no server listens in {settings.data}", FAILED) from None
    click.echo(frame(before, after, conditions(after, thresholds_of(settings)), columns=width()))


async def _live(settings: Settings, interval: float) -> None:
    """A server that goes away is waited for."""
    surveyor = Surveyor(settings.data, clock=_now)
    before = None
    while True:
        try:
            after = await surveyor.survey()
            text = frame(before or after, after, conditions(after, thresholds_of(settings)), columns=width())
            before = after
        except Temporary as error:
            before, text = None, f"{_now():%H:%M:%S}Z  {error}"
        _draw(text)
        await asyncio.sleep(interval)


def _draw(text: str) -> None:
    sys.stdout.write(screen(text, shutil.get_terminal_size().lines))
    sys.stdout.flush()


def screen(text: str, rows: int) -> str:
    """Over the last frame, line by line, without clearing first: that would flicker. More lines than rows would scroll it away."""
    reset = "" if colours() is False else click.style("", reset=True)
    shown = text if colours() is None else click.unstyle(text)
    return reset + _HOME + "\r\n".join(f"{line}{_REST_OF_LINE}" for line in shown.splitlines()[: max(1, rows)]) + _BELOW
