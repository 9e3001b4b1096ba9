"""`gatepost score`: what a spam engine says of labelled mail."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import click

from gatepost import wire
from gatepost.cli.common import config_options, fail, json_option, print_json, progress, settings_of
from gatepost.cli.exits import FINDINGS, USAGE
from gatepost.cli.layout import plural, table, visible
from gatepost.corpus import MAX_OCTETS, Labelled, labelled
from gatepost.measures import Measures, Verdict
from gatepost.sample import Sample, read_sample
from gatepost.scanners import scanners_of
from gatepost.settings import Settings
from gatepost.zone_file import read_zone
from inbound.ports import Judge
from mail.errors import Malformed
from mail.receipt import Evidence
from mail.values import changed
from mail.verdict import Status
from rules.compiled import Needs
from verdicts.dns_recorded import RecordedResolver
from verdicts.ports import Resolver
from verdicts.reverse_name import confirmed_name

ENGINES = ("builtin", "rspamd", "spamd")
_AT_A_TIME = 8


@click.command()
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Directory with `spam` and `ham` in it, or a file with a line `spam PATH` or `ham PATH` for each message.",
)
@click.option("--engine", type=click.Choice(ENGINES), help="Engine to ask; the setting spam.engine otherwise.")
@click.option(
    "--dns", default=None, metavar="FILE|live", help="Zone file to answer DNS from, or live; none is asked otherwise."
)
@json_option
@config_options
def command(
    labels: Path, engine: str | None, dns: str | None, as_json: bool, config: Path | None, data: Path | None
) -> int:
    """Ask the spam engine about labelled mail, and say how often it agrees: precision, recall, and both for other thresholds.

    Take mail that the engine was not trained with. FILE.yaml beside a message may give its envelope and client, as in replay.
    Exits 1 if a message could not be scanned.
    """
    settings = settings_of(config, data)
    settings = replace(settings, spam_engine=engine) if engine else settings
    if settings.spam_engine == "none":
        raise fail("there is no spam engine: set spam.engine, or give --engine", USAGE)
    try:
        messages = labelled(labels)
    except Malformed as error:
        raise fail(str(error), USAGE) from None
    if not messages:
        raise fail(f"{labels} names no message", USAGE)
    with progress(wanted=True) as shown:
        verdicts, unreadable = asyncio.run(_verdicts(settings, messages, dns, shown))
    measures = Measures(verdicts)
    if as_json:
        print_json({**measures.as_json(), "unreadable": unreadable})
    else:
        for line in _lines(measures):
            click.echo(line)
    return FINDINGS if unreadable or measures.unscanned else 0


async def _verdicts(
    settings: Settings, messages: list[Labelled], dns: str | None, shown: Callable[[int], None]
) -> tuple[tuple[Verdict, ...], int]:
    """The engine's verdicts in the order of the messages, a few asked at a time, and how many files could not be read."""
    scanners = scanners_of(settings)
    resolver = _resolver(settings, dns)
    judge = wire.judge_of(settings, resolver, scanners)
    found: list[Verdict] = []
    try:
        for start in range(0, len(messages), _AT_A_TIME):
            batch = messages[start : start + _AT_A_TIME]
            asked = await asyncio.gather(*(_verdict(each, settings, judge, resolver, dns) for each in batch))
            found += [verdict for verdict in asked if verdict is not None]
            shown(start + len(batch))
    finally:
        await scanners.close()
    return tuple(found), len(messages) - len(found)


def _resolver(settings: Settings, dns: str | None) -> Resolver:
    if dns is None:
        return RecordedResolver(Evidence())
    return wire.resolver_of(replace(settings, dns_zone=None)) if dns == "live" else read_zone(Path(dns))


async def _verdict(
    message: Labelled, settings: Settings, judge: Judge, resolver: Resolver, dns: str | None
) -> Verdict | None:
    try:
        if message.path.stat().st_size > MAX_OCTETS:
            raise Malformed(f"larger than {MAX_OCTETS:,} octets")
        sample = read_sample(message.path, {}, lambda _: False, None, wire.now)
    except (Malformed, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        click.echo(f"{click.style('warning:', fg='yellow')} {visible(str(message.path))}: {reason}", err=True)
        return None
    sample, listed = await _with_facts(sample, settings, resolver, dns)
    judgement = await judge(
        sample.message, sample.envelope, sample.client, received_at=sample.now, needs=Needs(spam=True), dnsbl=listed
    )
    return Verdict(message.is_spam, judgement.verdicts.spam)


async def _with_facts(
    sample: Sample, settings: Settings, resolver: Resolver, dns: str | None
) -> tuple[Sample, tuple[str, ...]]:
    """The client with what DNS says of it. Where DNS is not asked, nobody is blamed for having no name there."""
    ip = sample.client.ip
    if ip is None or dns is None:
        return replace(sample, client=changed(sample.client, ip=None)), ()
    lists = wire.dns_lists_of(settings, resolver)
    listed = tuple([zone for zone, is_listed in lists.items() if await is_listed(ip)])
    name = await confirmed_name(resolver, ip)
    return replace(sample, client=changed(sample.client, name=name)), listed


def _lines(measures: Measures) -> Iterable[str]:
    told = measures.as_json()
    version = f" {told['version']}" if told["version"] else ""
    threshold = "" if told["threshold"] is None else f", spam from {told['threshold']:g} on"
    spam, ham = (sum(each.is_spam is is_spam for each in measures.verdicts) for is_spam in (True, False))
    yield f"{visible(told['engine'] + version)}{threshold}"
    yield f"{plural(spam, 'message')} called spam by you, {ham:,} called ham"
    if measures.unscanned:
        reasons = sorted(
            {each.result.reason for each in measures.verdicts if each.result.status is Status.PROCESSING_FAILED}
        )
        yield f"{plural(measures.unscanned, 'message')} could not be scanned: {visible('; '.join(reasons[:3]))}"
    yield ""
    statuses = (Status.FAIL, Status.GRAY, Status.PASS)
    rows = [
        (name, *(f"{measures.count(status, is_spam=is_spam):,}" for status in statuses))
        for name, is_spam in (("spam", True), ("ham", False))
    ]
    yield table(rows, head=("", "FAIL", "GRAY", "PASS"))
    yield ""
    yield f"precision {_percent(measures.precision)}   of what it called spam (FAIL), this much is"
    yield f"recall    {_percent(measures.recall)}   of the spam, this much it called so"
    curve = measures.curve()
    if curve:
        yield ""
        yield table(
            [
                (
                    f"{point.threshold:g}",
                    _percent(point.precision),
                    _percent(point.recall),
                    f"{point.ham_called_spam:,}",
                )
                for point in curve
            ],
            head=("spam from", "precision", "recall", "ham called spam"),
        )


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"
