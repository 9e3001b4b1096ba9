"""Checks that the settings leave out: how they are written, what is warned of, and what the world then sees of a message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatepost.cli import gatepost
from gatepost.library import open_rules
from gatepost.settings import Settings
from gatepost.settings_file import load_settings
from gatepost.unchecked import unchecked_warnings
from mail.verdict import CHECKS

SAMPLES = Path(__file__).parents[2] / "samples"
RULES = """
version: 1
domains: [example.com]
BOUNCE
rule_sets:
  default:
    - name: no
      recipients: [no@example.com]
      actions: [{bounce: {smtp_reply_code: "550", message: "No"}}, {stop: {scope: Recipients}}]
    - name: on
      recipients: [on@example.com]
      actions: [{forward: {to: [a@else.example]}}]
    - name: keep
      actions: [{disk: {path: mail}}]
"""


def read(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> tuple[tuple[str, ...] | None, str]:
    path = tmp_path / "gatepost.yaml"
    path.write_text(text)
    loaded = load_settings(path, environment or {})
    told = "".join(str(finding).partition("error: ")[2] for finding in loaded.findings)
    return None if loaded.settings is None else loaded.settings.verdicts_checks, told


@pytest.mark.parametrize(
    ("written", "checks"),
    [
        ("none", ()),
        ("[]", ()),
        ("spf", ("spf",)),
        ("[ARC, dkim]", ("dkim", "arc")),
        ("[arc, dmarc, dkim, spf, spf]", CHECKS),
    ],
)
def test_checks_are_a_list_in_any_order_or_none(tmp_path: Path, written: str, checks: tuple[str, ...]) -> None:
    assert read(tmp_path, f"verdicts: {{checks: {written}}}") == (checks, "")
    assert read(tmp_path, "", {"GATEPOST_VERDICTS__CHECKS": written.strip("[]")}) == (checks, "")


def test_every_check_is_made_by_default() -> None:
    assert Settings().verdicts_checks == CHECKS


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[dmarc]", "without spf and dkim, on both of which it rests; name them too, or leave dmarc out"),
        ("[spf, dmarc]", "without spf and dkim, on both of which it rests"),
        ("[spf, dikm]", 'did you mean "dkim"'),
        ("[none, spf]", "expected"),
        ("{spf: true}", "expected"),
    ],
)
def test_half_of_dmarc_and_unknown_words_are_errors(tmp_path: Path, written: str, told: str) -> None:
    checks, found = read(tmp_path, f"verdicts: {{checks: {written}}}")
    assert checks is None
    assert told in found


@pytest.mark.parametrize(
    ("settings", "bounce", "words"),
    [
        (Settings(), "", []),
        (Settings(verdicts_checks=("spf",)), "", []),
        (Settings(verdicts_checks=()), "", ["suppressed"]),
        (Settings(verdicts_checks=()), "bounce: always", []),
        (Settings(verdicts_checks=(), arc_trusted_sealers=("a.example",)), "bounce: always", ["trusted_sealers"]),
        (Settings(verdicts_checks=("spf", "dkim"), arc_domain="a.example"), "", ["not sealed"]),
        (Settings(verdicts_checks=("dkim",), spam_engine="builtin"), "bounce: always", ["builtin"]),
    ],
)
def test_what_rests_on_a_check_that_is_off_is_warned_of(
    tmp_path: Path, settings: Settings, bounce: str, words: list[str]
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES.replace("BOUNCE", bounce))
    book = open_rules(settings, path).book
    assert book is not None
    warnings = unchecked_warnings(settings, book)
    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))


def test_check_refuses_a_rule_that_compares_what_nobody_checks(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        RULES.replace("BOUNCE", "").replace("name: keep", "name: keep\n      when: [{dmarc: FAIL}]")
    )
    (tmp_path / "gatepost.yaml").write_text("verdicts: {checks: none}\nrules: rules.yaml\n")
    result = CliRunner().invoke(gatepost, ["check", str(tmp_path / "gatepost.yaml")])
    assert result.exit_code == 1
    assert "dmarc is compared, but the setting verdicts.checks leaves out dmarc, so it is never known" in result.output


def test_a_replay_shows_what_was_not_checked_and_writes_no_field_about_it(tmp_path: Path) -> None:
    (tmp_path / "gatepost.yaml").write_text("verdicts: {checks: none}\n")
    message = SAMPLES / "messages" / "list-broken-dkim.eml"
    options = ["--rules", str(SAMPLES / "rules" / "archive.yaml"), "--dns", str(SAMPLES / "dns" / "zone.yaml")]
    options += ["--config", str(tmp_path / "gatepost.yaml")]
    result = CliRunner().invoke(gatepost, ["replay", str(message), "--json", *options])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["verdicts"] == {name: {"status": "DISABLED", "results": []} for name in (*CHECKS, "spam", "virus")}
    names = [field.partition(":")[0] for field in told["prepended"]]
    assert "Received-SPF" not in names
    assert "none" in next(field for field in told["prepended"] if field.startswith("Authentication-Results"))
    shown = CliRunner().invoke(gatepost, ["replay", str(message), *options])
    assert "spf, dkim, dmarc, arc, spam, virus not checked" in shown.stdout
