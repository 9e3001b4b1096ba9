"""`gatepost doctor`: what is wrong with this machine as a mail server."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click

from gatepost import wire
from gatepost.cli.common import Exit, config_options, fail, json_option, print_json, settings_of
from gatepost.cli.exits import FINDINGS, USAGE
from gatepost.cli.layout import COLOURS, columns_of, faint, mark, plural, visible, width, wrapped
from gatepost.doctor.findings import Finding, Status, World
from gatepost.doctor.machine import check_machine
from gatepost.doctor.names import check_names
from gatepost.doctor.probe import dial, is_ours
from gatepost.doctor.services import check_services
from gatepost.library import open_rules
from gatepost.settings import Settings
from mail.address import parse_domain
from mail.errors import Malformed
from verdicts.dns_resolver import LiveResolver

_MOST_DOMAINS = 50  # of the rules; those that are asked for by name are all looked at
_COLOURS = {Status.OK: "green", Status.WARN: COLOURS["retrying"], Status.FAIL: COLOURS["failed"]}


@click.command()
@click.argument("domains", metavar="[DOMAIN]...", nargs=-1)
@json_option
@config_options
def command(domains: tuple[str, ...], as_json: bool, config: Path | None, data: Path | None) -> None:
    """Look at this machine as a mail server for DOMAIN, by default for the `domains` of the rules.

    Names, MX and PTR records, port 25, certificate, disk, clock, descriptors, rights, name servers, DNS lists, relay, scanners, and
    who takes mail for postmaster: each line is ok, warn or fail, with what to do about it. Run it where the gateway runs, as its
    user.
    The exit code is 1 where a line says fail.
    """
    settings = settings_of(config, data)
    findings = asyncio.run(_look(settings, tuple(map(_domain, domains))))
    if as_json:
        for each in findings:
            print_json({"check": each.check, "status": each.status.value, "said": each.said, "fix": each.fix})
    else:
        click.echo(_lines(findings))
    if any(each.status is Status.FAIL for each in findings):
        raise Exit(FINDINGS)


def _domain(text: str) -> str:
    try:
        return parse_domain(text.removesuffix("."))
    except Malformed as error:
        raise fail(f"{visible(text)} is no domain: {error}", USAGE) from error


async def _look(settings: Settings, domains: tuple[str, ...]) -> list[Finding]:
    rules = open_rules(settings)
    named = rules.book.domains if rules.book is not None else ()
    resolver = wire.resolver_of(settings)
    world = World(
        settings=settings,
        hostname=wire.hostname_of(settings),
        domains=domains or tuple(each for each in named if not each.startswith("."))[:_MOST_DOMAINS],
        rules=rules,
        resolver=resolver,
        dial=dial,
        is_ours=is_ours,
        now=datetime.now(UTC),
    )
    try:
        groups = await asyncio.gather(check_names(world), check_services(world))
        # Alone: how long a sync takes is not to be measured beside other work.
        return [*groups[0], *groups[1], *await check_machine(world)]
    finally:
        if isinstance(resolver, LiveResolver):
            await resolver.close()


def _lines(findings: list[Finding]) -> str:
    column = max(columns_of(visible(each.check)) for each in findings)
    lines = []
    for each in findings:
        word = click.style(f"{each.status.value:4}", fg=_COLOURS[each.status])
        check = visible(each.check)
        lead = f"{word}  {check}{' ' * (column - columns_of(check))}  "
        lines.append(wrapped(visible(each.said), indent=" " * (column + 8), first=lead, columns=width()))
        if each.fix:
            arrow = f"{' ' * (column + 8)}{mark('→')} "
            lines.append(
                faint(wrapped(visible(each.fix), indent=" " * columns_of(arrow), first=arrow, columns=width()))
            )
    counts = Counter(each.status for each in findings)
    lines += ["", f"{counts[Status.OK]} ok, {plural(counts[Status.WARN], 'warning')}, {counts[Status.FAIL]} failed"]
    return "\n".join(lines)
