"""One line for a monitoring system, and one frame for a person: both say what is wrong first and fit where they are read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from stored_mail import Mail, fill
from watched import NOW, observation, samples, survey, waiting

from gatepost.alert_conditions import Thresholds, conditions
from gatepost.cli import gatepost
from gatepost.cli import status as status_command
from gatepost.cli import top as top_command
from gatepost.cli.layout import colours
from gatepost.cli.status import line_of
from gatepost.cli.top import screen
from gatepost.observation import Check
from gatepost.top_frame import frame
from mail.counters import Counters, key
from mail.outcome import Result
from spool.ports import JobState, MessageState

PERFORMANCE = re.compile(r"[a-z_]+=-?[0-9.]+(c|s|B|%)?\Z")


def line(made: Any) -> str:
    found = conditions(made, Thresholds())
    level = 2 if any(each.level == "critical" for each in found) else 1 if found else 0
    return line_of(level, found, made, made.standing)


def test_a_gateway_that_stands_well_is_ok() -> None:
    text = line(survey())
    assert text.startswith("GATEPOST OK - ready; 1 worker; 2 connections; 0 ready, 0 retrying, 0 dead | ")
    data = text.partition(" | ")[2].split(" ")
    assert all(PERFORMANCE.match(each) for each in data), data
    assert "accepted=10c" in data


def test_what_is_wrong_is_said_before_anything_else() -> None:
    assert line(survey(standing=waiting({"dead": 1}))).startswith("GATEPOST WARNING - 1 job given up: gatepost queue")
    bad = observation(0, Check(name="disk", ok=False, detail="full | rm -rf\n/"))
    text = line(survey(bad))
    assert text.startswith("GATEPOST CRITICAL - disk: full / rm -rf\\n/; ")
    assert text.count("|") == 1, "a second bar would end the text too early"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(gatepost, [*arguments], standalone_mode=False)


def test_without_a_server_it_is_critical_and_the_queue_is_told_all_the_same(tmp_path: Path) -> None:
    dead = Mail(number=1, state=MessageState.DEAD, left=JobState.DEAD, steps=(("a", "disk", Result.DEAD, ""),))
    fill(tmp_path / "var", dead)
    result = run("status", "--data", str(tmp_path / "var"))
    assert result.return_value == 2
    assert result.output.startswith("GATEPOST CRITICAL - not running (no server listens in ")
    assert "1 dead | " in result.output
    assert " dead=1 " in result.output
    assert len(result.output.splitlines()) == 1


def test_without_any_state_it_is_critical_and_makes_none(tmp_path: Path) -> None:
    result = run("status", "--data", str(tmp_path / "absent"))
    assert result.return_value == 2
    assert "not running" in result.output
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("made", "code", "word"),
    [
        (survey(), 0, "OK"),
        (survey(standing=waiting({"parked": 1})), 1, "WARNING"),
        (survey(observation(0, Check(name="rules", ok=False, detail="none"))), 2, "CRITICAL"),
    ],
)
def test_the_exit_code_is_the_level(
    made: Any, code: int, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(settings: object) -> Any:
        return made, made.standing, ()

    monkeypatch.setattr(status_command, "_look", look)
    result = run("status", "--json", "--data", str(tmp_path))
    assert result.return_value == code
    told = json.loads(result.output)
    assert told["level"] == word
    assert told["ready"] is (code != 2)
    assert [each["level"] for each in told["wrong"]] == ["critical" if code == 2 else "warning"] * (code > 0)


def test_settings_with_errors_are_critical_in_one_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gatepost.yaml").write_text("version: 1\nfoo: 2\n")
    result = CliRunner().invoke(gatepost, ["status"], standalone_mode=False)
    assert result.return_value == 2
    assert result.stdout.startswith("GATEPOST CRITICAL - the settings have errors, so it could not be started again: ")
    assert 'unknown key "foo"' in result.stderr


def test_a_state_that_cannot_be_read_is_critical_in_one_line_too(tmp_path: Path) -> None:
    shard = tmp_path / "shards" / "00"
    shard.mkdir(parents=True)
    (shard / "spool.db").write_bytes(b"no database" * 100)
    result = CliRunner().invoke(gatepost, ["status", "--data", str(tmp_path)], standalone_mode=False)
    assert result.return_value == 2
    (said,) = result.output.splitlines()
    assert said.startswith("GATEPOST CRITICAL - not running ")
    assert f"the store failed: {shard / 'spool.db'}: file is not a database" in said


def later(seconds: float = 2.0, *, refused: str = "550 5.1.1", jobs: Any = None) -> tuple[Any, Any]:
    """Two surveys of two workers, with some mail in between."""
    counters = Counters()
    histogram = counters.histogram("accept_seconds")
    before = survey(*(observation(number) for number in (0, 1)), now=NOW)
    for _ in range(99):
        histogram.observe(0.004)
    histogram.observe(3.0)
    counters.add("refusals_total", 4, phase="rcpt", reply=refused)
    counters.add("steps_total", 300, action="disk", outcome="done")
    more = samples(
        (key("connections"), 3),
        (key("workers"), 1),
        (key("messages_total", outcome="accepted"), 310),
        (key("disk_free_bytes"), 45e9),
        *counters.snapshot().items(),
    )
    after = survey(
        *(replace(observation(number), samples=more) for number in (0, 1)),
        standing=waiting(jobs or {"dead": 1, "retrying": 2}, oldest=NOW - timedelta(minutes=12)),
        now=NOW + timedelta(seconds=seconds),
    )
    return before, after


def test_a_frame_tells_rates_over_the_time_between_two_surveys() -> None:
    before, after = later()
    text = click.unstyle(frame(before, after, conditions(after, Thresholds())))
    lines = text.splitlines()
    assert "ready" in lines[0]
    assert lines[0].endswith("12:00:02Z")
    assert re.search(r"^per s +300 +0 ", text, re.MULTILINE), "600 more by both workers in two seconds"
    assert re.search(r"^in all +620 ", text, re.MULTILINE)
    assert "accept p50 ≤5 ms  p99 ≤5 ms" in text
    assert re.search(r"^jobs +ready +retrying .*\n +0 +2 +0 +1 +0 +0$", text, re.MULTILINE)
    assert "oldest retry 12 min" in text
    assert re.search(r"^warning +1 job given up", text, re.MULTILINE)
    assert re.search(r"^ +4.0  rcpt 550 5.1.1 +300  disk done$", text, re.MULTILINE)
    assert re.search(r"^0 +4000 ", text, re.MULTILINE)
    assert re.search(r"^1 +4001 ", text, re.MULTILINE)


def test_a_frame_fits_into_eighty_columns_whatever_it_shows() -> None:
    before, after = later(
        refused="5" * 200, jobs=dict.fromkeys(("ready", "retrying", "leased", "dead", "parked", "held"), 1_000_000)
    )
    wrong = (*conditions(after, Thresholds()),) * 2
    big = replace(wrong[0], text="x" * 300)
    for row in click.unstyle(frame(before, after, (*wrong, big), columns=80)).splitlines():
        assert len(row) <= 80, row


def test_a_name_cannot_move_the_cursor() -> None:
    before, after = later(refused="\x1b[2J")
    assert "\x1b[2J" not in frame(before, after, ())


def test_the_first_frame_of_an_idle_gateway_has_no_rates() -> None:
    idle = survey()
    text = click.unstyle(frame(idle, idle, ()))
    assert "accept -" in text.replace("p50 -  p99 -", "-")
    assert "refusals" not in text


def test_top_sends_no_sequences_to_a_terminal_that_knows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    async def once(*_: Any) -> None:
        drawn.append("one frame")

    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(top_command, "is_terminal", lambda: True)
    monkeypatch.setattr(top_command, "_once", once)
    result = CliRunner().invoke(gatepost, ["top", "--data", str(tmp_path)])
    assert (drawn, result.output, result.exit_code) == (["one frame"], "", 0)
    assert colours() is False


def test_top_without_a_server_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(gatepost, ["top", "--once", "--data", str(tmp_path)], standalone_mode=False)
    assert "not running: no server listens in" in result.output


def test_a_frame_never_scrolls_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    drawn = screen(click.style("one", bold=True) + "\ntwo\nthree", 2)
    assert click.unstyle(drawn) == "one\r\ntwo"
    assert "\x1b[1m" in drawn
    monkeypatch.setenv("NO_COLOR", "1")
    assert screen(click.style("one", bold=True), 9) == "\x1b[Hone\x1b[K\x1b[J"
