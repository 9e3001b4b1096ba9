"""From settings to engines: which verdicts can be given, what is wrong in the settings, what they leave unscanned."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gatepost.cli import gatepost
from gatepost.library import open_rules
from gatepost.scanners import engines_of, scan_warnings, scanners_of
from gatepost.settings import MB, Settings
from gatepost.settings_file import load_settings

RULES = """
version: 1
domains: [example.com]
active: default
rule_sets:
  default:
    - name: refuse
      when: [{VERDICT: FAIL}]
      actions: [{drop: {}}]
    - name: rest
      actions: [{disk: {path: mail}}]
"""
CLAMD = ("unix:/run/clamav/clamd.ctl",)


def read(tmp_path: Path, text: str, **environment: str) -> tuple[Settings | None, list[str]]:
    path = tmp_path / "gatepost.yaml"
    path.write_text(text)
    loaded = load_settings(path, environment)
    return loaded.settings, [str(finding).partition("error: ")[2] for finding in loaded.findings]


@pytest.mark.parametrize(
    ("settings", "engines"),
    [
        (Settings(), set()),
        (Settings(virus_clamd=CLAMD), {"virus"}),
        (Settings(spam_engine="rspamd"), {"spam"}),
        (Settings(spam_engine="spamd", virus_clamd=CLAMD), {"spam", "virus"}),
    ],
)
async def test_a_rule_may_compare_only_what_an_engine_gives(
    settings: Settings, engines: set[str], tmp_path: Path
) -> None:
    assert engines_of(settings) == engines
    built = scanners_of(settings)
    assert {name for name in ("spam", "virus") if getattr(built, name) is not None} == engines
    await built.close()
    for verdict in ("spam", "virus"):
        path = tmp_path / f"{verdict}.yaml"
        path.write_text(RULES.replace("VERDICT", verdict))
        opened = open_rules(settings, path)
        errors = [finding.code for finding in opened.findings if finding.severity == "error"]
        assert errors == ([] if verdict in engines else ["no-engine"])
        assert (opened.book is not None) == (verdict in engines)


async def test_each_engine_is_the_one_that_was_named() -> None:
    for engine in ("rspamd", "spamd"):
        built = scanners_of(Settings(spam_engine=engine))
        assert built.spam is not None
        assert built.spam.name == engine
        await built.close()


def test_settings_of_scanners_are_read(tmp_path: Path) -> None:
    settings, findings = read(
        tmp_path,
        "virus: {clamd: [unix:/run/clamd.ctl, 'tcp:10.0.0.1:3310'], on_error: accept, deadline: 2m, size_limit: 10MB}\n"
        "spam: {engine: spamd, spamd: '[::1]:783', threshold: 6.5, on_error: reject, deadline: 5s}\n",
    )
    assert findings == []
    assert settings is not None
    assert settings.virus_clamd == ("unix:/run/clamd.ctl", "tcp:10.0.0.1:3310")
    assert (settings.virus_on_error, settings.virus_deadline, settings.virus_size_limit) == ("accept", 120, 10 * MB)
    assert (settings.spam_engine, settings.spam_spamd, settings.spam_threshold) == ("spamd", "[::1]:783", 6.5)
    assert (settings.spam_on_error, settings.spam_deadline) == ("reject", 5)


def test_the_environment_names_daemons_with_commas(tmp_path: Path) -> None:
    settings, findings = read(tmp_path, "version: 1\n", GATEPOST_VIRUS__CLAMD="unix:/a.sock,tcp:b:3310")
    assert findings == []
    assert settings is not None
    assert settings.virus_clamd == ("unix:/a.sock", "tcp:b:3310")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("virus: {clamd: [clamd.ctl]}", 'virus.clamd is "clamd.ctl"; expected unix:/PATH or tcp:HOST:PORT'),
        ("virus: {clamd: 'unix:clamd.ctl'}", 'virus.clamd is "unix:clamd.ctl"; expected unix:/PATH'),
        ("virus: {deadline: 3m}", 'virus.deadline is "3m"; expected 120s at most'),
        ("virus: {on_error: ignore}", 'virus.on_error is the text "ignore"; expected defer, accept or reject'),
        ("spam: {engine: bogofilter}", 'spam.engine is the text "bogofilter"; expected none,'),
        ("spam: {spamd: 127.0.0.1}", 'spam.spamd is "127.0.0.1"; expected unix:/PATH or tcp:HOST:PORT'),
        ("spam: {rspamd: 'ftp://h/'}", 'spam.rspamd is "ftp://h/"; expected a URL'),
        ("spam: {rspamd: 'http://user@h/'}", "expected a URL"),
        ("spam: {threshold: high}", 'spam.threshold is the text "high"; expected a number'),
        ("spam: {threshold: .nan}", "expected a number"),
        ("spam: {threshold: true}", "expected a number"),
    ],
)
def test_what_is_wrong_is_said_in_its_place(tmp_path: Path, text: str, said: str) -> None:
    settings, findings = read(tmp_path, text)
    assert settings is None
    assert len(findings) == 1
    assert said in findings[0]


def test_a_limit_below_the_largest_message_is_warned_of(tmp_path: Path) -> None:
    assert scan_warnings(Settings()) == []
    assert scan_warnings(Settings(virus_clamd=CLAMD, virus_size_limit=40 * MB)) == []
    (warning,) = scan_warnings(Settings(virus_clamd=CLAMD))
    assert warning.startswith("virus.size_limit is less than smtp.size_limit")
    assert "451" in warning
    (tmp_path / "gatepost.yaml").write_text("version: 1\nvirus: {clamd: ['tcp:127.0.0.1:3310']}\n")
    (tmp_path / "rules.yaml").write_text(RULES.replace("VERDICT", "virus"))
    done = CliRunner().invoke(gatepost, ["check", "--json", "--config", str(tmp_path / "gatepost.yaml")])
    assert done.exit_code == 0
    assert '"code":"too-large-to-scan"' in done.stdout.replace(" ", "")
