"""`gatepost replay`: what would happen to this mail."""

import asyncio
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import click

from gatepost import wire
from gatepost.aws_needs import aws_warnings
from gatepost.cli.common import (
    config_options,
    fail,
    json_option,
    print_findings,
    print_json,
    print_warnings,
    progress,
    settings_of,
)
from gatepost.cli.exits import FINDINGS, USAGE
from gatepost.cli.layout import visible
from gatepost.cli.lookup import message_id_of, reader_of
from gatepost.cli.story import render_explanation
from gatepost.library import open_rules
from gatepost.recorded_sample import RECORDED, may_be_id, read_recorded
from gatepost.replay import Replayer
from gatepost.sample import read_sample
from gatepost.scanners import scanners_of
from gatepost.settings import Settings
from gatepost.zone_file import read_zone
from mail.errors import Malformed
from rules.compiled import CompiledBook, compile_book
from verdicts.dns_zone import ZoneResolver
from verdicts.ports import Resolver

_GIVEN = ("mail_from", "rcpt_to", "client_ip", "helo", "now")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_LINE_KEYS = frozenset({"file", *_GIVEN, "dns", "rules"})


@click.command()
@click.argument("files", metavar="[FILE|ID]...", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--batch",
    metavar="LIST",
    help="A JSON line for each case: {file, mail_from, rcpt_to, client_ip, helo, dns, rules, now}, where dns may be a zone itself; "
    "- is standard input.",
)
@click.option(
    "--rules", type=click.Path(path_type=Path, dir_okay=False), help="Rules file; the setting `rules` otherwise."
)
@click.option(
    "--dns",
    default=None,
    metavar="FILE|live|recorded",
    help="Zone file to answer DNS from, or live, or as recorded with a message; the settings' DNS otherwise.",
)
@click.option("--mail-from", metavar="ADDRESS", help="Envelope sender; <> is the null sender.")
@click.option("--rcpt-to", metavar="ADDRESS", multiple=True, help="Envelope recipient; may be repeated.")
@click.option("--client-ip", metavar="IP", help="Address of the sending host.")
@click.option("--helo", metavar="NAME", help="What the sending host said in EHLO.")
@click.option("--now", metavar="TIME", help="Time of receipt, as 2026-03-01T12:00:00Z; the wall clock otherwise.")
@click.option("--run", is_flag=True, help="Really run the actions.")
@json_option
@config_options
def command(
    files: tuple[Path, ...],
    batch: str | None,
    rules: Path | None,
    dns: str | None,
    run: bool,
    as_json: bool,
    config: Path | None,
    data: Path | None,
    **given: Any,
) -> int:
    """Judge mail FILEs, walk the rules and say what would happen. Without --run nothing is stored or sent.

    Instead of a file, the id of a message of the spool: it is judged again with its own envelope and, unless --dns names another
    source, with the DNS answers and scanner replies recorded with it, so that without changed rules all is as it was.

    Envelope values that are not given come from FILE.yaml beside the file, else they are guessed from its header and labelled so.
    Exits 1 if a file cannot be replayed.
    """
    if bool(files) == bool(batch):
        raise click.UsageError("give FILEs, or --batch LIST")
    settings = settings_of(config, data)
    told = {key: value for key, value in given.items() if value not in (None, ())}
    case = {**told, "rules": str(rules) if rules else None, "dns": dns}
    cases = _batch(batch, case) if batch else [{**case, **_named(path, config, data)} for path in files]
    work = _Work(settings, run=run)
    with progress(wanted=batch is not None) as shown:
        failed = asyncio.run(_replay_all(work, cases, as_json or (batch is not None and as_json), shown))
    return FINDINGS if failed else 0


def _named(path: Path, config: Path | None, data: Path | None) -> dict[str, Any]:
    """A file, or where there is none of this name, a message of the spool."""
    if path.exists() or not may_be_id(str(path)):
        return {"file": str(path)}
    return {"file": str(path), "id": str(path), "reader": reader_of(config, data)}


class _Work:
    """Rule books, resolvers and replayers, each opened once however many cases name it."""

    def __init__(self, settings: Settings, *, run: bool) -> None:
        self.settings = settings
        self.run = run
        self.scanners = scanners_of(settings)
        self.book = lru_cache(maxsize=64)(self._book)
        self.replayer = lru_cache(maxsize=64, typed=True)(self._replayer)

    def _book(self, path: str | None) -> CompiledBook:
        opened = open_rules(self.settings, Path(path) if path else None)
        print_findings(finding for finding in opened.findings if finding.severity == "error")
        if opened.book is None:
            raise Malformed(f"{opened.origin} has errors")
        first, *more = aws_warnings(opened.book, self.settings) or [""]
        if first:
            told = f"; and {len(more)} more, which gatepost check lists" if more else ""
            print_warnings([f"{first}{told}"])
        return compile_book(opened.book)

    def _replayer(self, dns: str | None, rules: str | None) -> Replayer:
        settings = replace(self.settings, rules=Path(rules)) if rules else self.settings
        if dns == "live":
            settings = replace(settings, dns_zone=None)
        resolver: Resolver
        if isinstance(dns, _Zone):
            resolver = ZoneResolver(json.loads(dns))
        else:
            resolver = wire.resolver_of(settings) if dns in (None, "live") else read_zone(Path(dns))
        return Replayer.of(settings, resolver, self.scanners)

    async def one(self, case: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        if "id" in case:
            return await self._recorded(case), ()
        if case.get("dns") == RECORDED:
            raise Malformed("DNS is recorded with messages of the spool only: name one by its id")
        book = self.book(case.get("rules"))
        given = {key: case[key] for key in _GIVEN if key in case}
        sample = read_sample(Path(case["file"]), given, book.is_ours, book.postmaster_domain, wire.now)
        replayer = self.replayer(case.get("dns"), case.get("rules"))
        return await replayer.replay(sample, book, run=self.run), sample.notes

    async def _recorded(self, case: dict[str, Any]) -> dict[str, Any]:
        """A message of the spool; without --dns it is judged by what was recorded."""
        if given := [key for key in _GIVEN if key in case]:
            raise Malformed(f"a message of the spool has its own envelope: --{given[0].replace('_', '-')} is for files")
        recorded = await read_recorded(case["reader"], await message_id_of(case["reader"], case["id"]))
        if case["dns"] in (None, RECORDED):
            settings = replace(self.settings, verdicts_checks=recorded.checks)
            replayer = Replayer.of(settings, recorded.resolver, recorded.scanners)
        else:
            replayer = self.replayer(case["dns"], case["rules"])
        return await replayer.replay(recorded.sample, self.book(case["rules"]), run=self.run)


async def _replay_all(work: _Work, cases: Iterable[dict[str, Any]], as_json: bool, shown: Any) -> bool:
    try:
        return await _replay_each(work, cases, as_json, shown)
    finally:
        await work.scanners.close()


async def _replay_each(work: _Work, cases: Iterable[dict[str, Any]], as_json: bool, shown: Any) -> bool:
    failed = False
    for number, case in enumerate(cases):
        try:
            if "error" in case:
                raise Malformed(case["error"])
            told, notes = await work.one(case)
        except (Malformed, OSError) as error:
            failed = True
            _say_failure(case, error, as_json)
            continue
        finally:
            shown(number + 1)
        if as_json:
            print_json(told)
            continue
        for note in notes:
            click.echo(f"{visible(told['file'])}: {note}", err=True)
        click.echo(("\n" if number else "") + render_explanation(told))
    return failed


def _say_failure(case: dict[str, Any], error: Exception, as_json: bool) -> None:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if as_json:
        print_json({"file": case.get("file"), "error": reason})
    else:
        click.echo(f"{click.style('error:', fg='red')} {visible(str(case.get('file')))}: {reason}", err=True)


def _batch(source: str, defaults: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The cases of a list, in order; paths are relative to the list. A line that is no case becomes an error of its own."""
    base = Path() if source == "-" else Path(source).parent
    try:
        octets: BinaryIO = sys.stdin.buffer if source == "-" else Path(source).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise fail(f"{source}: {error.strerror}", USAGE) from None
    # What is no UTF-8 is said of its own line. A BOM is what editors on Windows write.
    with io.TextIOWrapper(octets, encoding="utf-8-sig", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _case(line, f"{source}:{number}", base, defaults)


def _case(line: str, place: str, base: Path, defaults: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"error": f"{place}: not JSON: {error}"}
    if not isinstance(found, dict) or not isinstance(found.get("file"), str):
        return {
            "error": f"{place}: expected an object with file and, as wanted, {', '.join(sorted(_LINE_KEYS - {'file'}))}"
        }
    found = {key: value for key, value in found.items() if value is not None or key == "mail_from"}
    unknown = found.keys() - _LINE_KEYS
    if unknown:
        return {"file": found["file"], "error": f"{place}: unknown key {sorted(unknown)[0]}"}
    for key, value in found.items():
        if not _is_value(key, value):
            return {"file": found["file"], "error": f"{place}: {key} is not text"}
    case = {**defaults, **found}
    for key in ("file", "rules", "dns"):
        if key in found and not (key == "dns" and (found[key] == "live" or isinstance(found[key], dict))):
            case[key] = str(base / found[key])
    if isinstance(case["dns"], dict):
        case["dns"] = _Zone(json.dumps(case["dns"]))
    return case


class _Zone(str):
    """A zone that stands in the list itself, as JSON."""

    __slots__ = ()


def _is_value(key: str, value: Any) -> bool:
    if key == "rcpt_to" and isinstance(value, list):
        return all(item is not None and _is_text(item) for item in value)
    return _is_text(value) or (key == "dns" and isinstance(value, dict))


def _is_text(value: Any) -> bool:
    """Whether it can be a name or a path; null stands for the null sender. JSON can write what UTF-8 and paths cannot hold."""
    return value is None or (isinstance(value, str) and not _NO_TEXT.search(value))
