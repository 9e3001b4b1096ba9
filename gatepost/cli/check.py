"""`gatepost check`: settings and rules, judged before they are used."""

import os
from pathlib import Path

import click

from gatepost import built_in
from gatepost.alert_conditions import alert_warnings
from gatepost.arns import unmapped
from gatepost.aws_needs import aws_warnings
from gatepost.cli.common import Exit, config_options, json_option, print_findings, print_json
from gatepost.cli.exits import FINDINGS
from gatepost.library import open_rules
from gatepost.scanners import scan_warnings
from gatepost.settings import Settings
from gatepost.settings_file import find_settings, load_settings
from gatepost.unchecked import unchecked_warnings
from rules.load_yaml import parse_yaml
from rules.model import RuleBook
from rules.schema_findings import Finding, Report
from rules.schema_nodes import Mapping


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--rules", type=click.Path(path_type=Path, dir_okay=False), help="Rules file; the setting `rules` otherwise."
)
@click.option("--strict", is_flag=True, help="Exit 1 on warnings too.")
@click.option("--show-default", is_flag=True, help="Print the rules that serve uses when there is no rules file.")
@json_option
@config_options
def command(
    files: tuple[Path, ...],
    rules: Path | None,
    strict: bool,
    show_default: bool,
    as_json: bool,
    config: Path | None,
    data: Path | None,  # noqa: ARG001 - every command takes --data
) -> int:
    """Validate settings and rules: every error at once, as file:line:column, with what to write instead.

    Without FILE it checks the settings and the rules file that `gatepost serve` would use. A FILE is a settings or a rules file,
    or SES's JSON (`aws ses describe-active-receipt-rule-set`). Exits 1 on errors.
    """
    if show_default:
        click.echo(built_in.TEXT, nl=False)
        return 0
    findings: list[Finding] = []
    said: list[str] = []
    for path in files or (None,):
        found, sentence = _check(path, rules, config)
        findings += found
        said.append(sentence)
    if as_json:
        for finding in findings:
            print_json(
                {name: getattr(finding, name) for name in ("severity", "code", "file", "line", "column", "message")}
            )
    else:
        print_findings(findings)
        _summary(findings, said)
    failing = ("error", "warning") if strict else ("error",)
    if any(finding.severity in failing for finding in findings):
        raise Exit(FINDINGS)
    return 0


def _check(path: Path | None, rules: Path | None, config: Path | None) -> tuple[tuple[Finding, ...], str]:
    """The findings of one file and a sentence about what was checked."""
    if path is not None and _is_settings(path):
        return _check_settings(path, rules)
    if path is None:
        return _check_settings(find_settings(config, os.environ), rules)
    loaded = load_settings(find_settings(config, os.environ))
    if loaded.settings is None:
        return loaded.findings, ""
    return _check_rules(loaded.settings, path)


def _check_settings(path: Path | None, rules: Path | None) -> tuple[tuple[Finding, ...], str]:
    loaded = load_settings(path)
    if loaded.settings is None:
        return loaded.findings, ""
    found, sentence = _check_rules(loaded.settings, rules)
    return loaded.findings + found, f"{path}, {sentence}" if path and sentence else sentence


def _check_rules(settings: Settings, path: Path | None) -> tuple[tuple[Finding, ...], str]:
    opened = open_rules(settings, path)
    if opened.book is None:
        return opened.findings, ""
    return opened.findings + _serve_would_say(
        opened.book, opened.origin, settings
    ), f"{opened.origin}: {_counted(opened.book)}"


def _serve_would_say(book: RuleBook, origin: str, settings: Settings) -> tuple[Finding, ...]:
    """What only the settings and the machine can tell (semantics.md §1, §3): actions without a local target or credentials, bounces
    without a relay, mail that is too large to be scanned, what rests on a check that is not made."""
    warnings = [("unmapped", reason) for reason in unmapped(book)]
    warnings += [("no-credentials", reason) for reason in aws_warnings(book, settings)]
    warnings += [("too-large-to-scan", reason) for reason in scan_warnings(settings)]
    warnings += [("not-checked", reason) for reason in unchecked_warnings(settings, book)]
    warnings += [("no-relay", reason) for reason in alert_warnings(settings)]
    bounces = any(spec.type == "bounce" for rule in book.rule_set.rules for spec in rule.actions)
    if bounces and not settings.relay_host:
        warnings.append(
            (
                "no-relay",
                "a bounce that cannot be decided in the SMTP session needs the setting relay.host; without it the step parks",
            )
        )
    return tuple(
        Finding(severity="warning", code=code, file=origin, line=1, column=1, message=message)
        for code, message in warnings
    )


def _is_settings(path: Path) -> bool:
    """A settings file has none of a rules file's keys; an unreadable one is left to the rules loader, which says why."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return False
    tree = parse_yaml(text, Report(str(path)))
    return isinstance(tree, Mapping) and not {"rule_sets", "Rules", "Metadata", "filters"} & tree.entries.keys()


def _counted(book: RuleBook) -> str:
    rules = len(book.rule_set.rules)
    domains = ", ".join(book.domains) or "every domain"
    return f'rule set "{book.active}" with {rules} {"rule" if rules == 1 else "rules"} for {domains}'


def _summary(findings: list[Finding], said: list[str]) -> None:
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    counts = [
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((errors, "error"), (warnings, "warning"))
        if count
    ]
    for sentence in said:
        if sentence:
            click.echo(f"{click.style('ok', fg='green')}  {sentence}")
    if counts:
        click.echo(" and ".join(counts), err=True)
