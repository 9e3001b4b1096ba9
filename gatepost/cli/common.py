"""What the commands share: where settings come from, how findings and JSON are printed."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from gatepost.cli.exits import FINDINGS
from gatepost.cli.layout import is_dumb, visible_json
from gatepost.settings import Settings
from gatepost.settings_file import find_settings, load_settings
from rules.schema_findings import Finding

Command = TypeVar("Command", bound=Callable[..., Any])


class Exit(click.exceptions.Exit):
    """Leave with this code; everything has been said."""


def config_options(command: Command) -> Command:
    """`--config` and `--data`, which every command takes."""
    command = click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="Directory of all state; the setting `data` otherwise.",
    )(command)
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Settings file; otherwise $GATEPOST_CONFIG, ./gatepost.yaml, /etc/gatepost/gatepost.yaml, or none.",
    )(command)


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")


def settings_of(config: Path | None, data: Path | None = None) -> Settings:
    """The settings, or the end of the program with all that is wrong in them."""
    loaded = load_settings(find_settings(config, os.environ))
    print_findings(loaded.findings)
    if loaded.settings is None:
        raise Exit(FINDINGS)
    return loaded.settings if data is None else replace(loaded.settings, data=data)


def print_findings(findings: Iterable[Finding]) -> None:
    """Each on a line of its own on standard error: `file:line:column: severity: message`."""
    for finding in findings:
        colour = "red" if finding.severity == "error" else "yellow"
        place = f"{finding.file}:{finding.line}:{finding.column}:"
        click.echo(
            f"{click.style(place, bold=True)} {click.style(finding.severity + ':', fg=colour)} {finding.message}",
            err=True,
        )


def print_warnings(warnings: Iterable[str]) -> None:
    """What is of no file: each on a line of its own on standard error."""
    for warning in warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {warning}", err=True)


def print_json(value: Any) -> None:
    """One object on one line; non-ASCII text stays readable, and nothing in it acts on a terminal."""
    sys.stdout.write(visible_json(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) + "\n")


def fail(message: str, code: int = FINDINGS) -> Exit:
    """Say what is wrong on standard error; to be raised: `raise fail(...)`."""
    click.echo(f"{click.style('error:', fg='red')} {message}", err=True)
    return Exit(code)


@contextmanager
def progress(*, wanted: bool) -> Iterator[Callable[[int], None]]:
    """A count of messages on the terminal while many are worked through; nothing in a pipe."""
    if not wanted or not sys.stderr.isatty() or is_dumb():
        yield lambda _: None
        return
    told = 0

    def show(count: int) -> None:
        nonlocal told
        if count >= told + 50:
            told = count
            click.echo(f"\r{count:,} messages", nl=False, err=True)

    yield show
    click.echo("\r\x1b[K", nl=False, err=True)
