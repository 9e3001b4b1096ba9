"""`gatepost status`: one line for a monitoring system, in the form of a Nagios plugin."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from gatepost.alert_conditions import Condition, conditions, thresholds_of
from gatepost.cli.common import Exit, config_options, print_json, settings_of
from gatepost.cli.layout import visible
from gatepost.health import readiness
from gatepost.metrics import by_label, total
from gatepost.settings import Settings
from gatepost.survey import Survey, Surveyor
from mail.counters import key
from mail.errors import Permanent, Temporary
from spool.control import NoServer
from spool.standing import Standing

WORDS = ("OK", "WARNING", "CRITICAL")
"""By exit code, as every Nagios plugin."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the level, what is wrong, and the checks.")
@config_options
def command(as_json: bool, config: Path | None, data: Path | None) -> int:
    """Say in one line how the gateway stands: exit 0 OK, 1 WARNING, 2 CRITICAL, as a Nagios plugin.

    Behind the bar is performance data. What is a warning is set under `alerts:`. A server that does not run is CRITICAL, and so are
    settings with errors, and a state directory that cannot be read.
    """
    found: tuple[Condition, ...]
    try:
        settings = settings_of(config, data)
    except Exit:
        text = "the settings have errors, so it could not be started again: gatepost check"
        survey, standing, found = None, Standing(), (_critical("settings", text),)
    else:
        survey, standing, trouble = asyncio.run(_look(settings))
        found = trouble if survey is None else conditions(survey, thresholds_of(settings))
    level = 2 if any(each.level == "critical" for each in found) else 1 if found else 0
    if as_json:
        checks = {} if survey is None else readiness(survey)
        wrong = [{"name": each.name, "level": each.level, "text": each.text} for each in found]
        print_json({"level": WORDS[level], "wrong": wrong, "jobs": dict(standing.jobs), **checks})
    else:
        click.echo(line_of(level, found, survey, standing))
    return level


def _now() -> datetime:
    return datetime.now(UTC)


def _critical(name: str, text: str) -> Condition:
    return Condition(name=name, level="critical", text=text)


async def _look(settings: Settings) -> tuple[Survey | None, Standing, tuple[Condition, ...]]:
    """The survey, or why there is none; what waits in the spool in any case."""
    surveyor = Surveyor(settings.data, clock=_now)
    try:
        survey = await surveyor.survey()
        return survey, survey.standing, ()
    except NoServer:
        text = f"not running (no server listens in {settings.data})"
    except (Temporary, Permanent, OSError) as error:
        text = f"does not answer: {error}"
    wrong = (_critical("running", text),)
    try:
        return None, await surveyor.standing(), wrong
    except (Temporary, Permanent, OSError) as error:
        return None, Standing(), (*wrong, _critical("spool", str(error)))


def line_of(level: int, found: tuple[Condition, ...], survey: Survey | None, standing: Standing) -> str:
    """`GATEPOST OK - ready, 2 workers, 3 connections, ... | connections=3 ...`. The bar ends the text: none may stand in it."""
    said = [each.text for each in found]
    if survey is not None:
        workers, connections = len(survey.workers), total(survey.samples, "connections")
        said += [] if found else ["ready"]
        said += [f"{workers} worker{'s' * (workers != 1)}", f"{connections:.0f} connections"]
    said.append(", ".join(f"{standing.jobs[state]} {state}" for state in ("ready", "retrying", "dead")))
    text = visible("; ".join(said)).replace("|", "/")
    return f"GATEPOST {WORDS[level]} - {text} | {' '.join(_performance(survey, standing))}"


def _performance(survey: Survey | None, standing: Standing) -> list[str]:
    """`label=value[unit]`; `c` is a count that only grows."""
    data = [f"{state}={count}" for state, count in standing.jobs.items()]
    data += [f"{state}_messages={count}" for state, count in standing.messages.items()]
    if survey is None:
        return data
    outcomes = by_label(survey.samples, "messages_total", "outcome")
    data += [f"{outcome}={count:.0f}c" for outcome, count in outcomes.items()]
    data += [
        f"connections={total(survey.samples, 'connections'):.0f}",
        f"oldest_retry={survey.samples[key('oldest_retry_age_seconds')]:.0f}s",
        f"disk_free={survey.samples.get(key('disk_free_bytes'), 0):.0f}B",
    ]
    return data
