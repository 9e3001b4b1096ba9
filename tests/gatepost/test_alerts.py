"""An operator is told when something begins and when it is over, and never more than once an hour of one thing."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from watched import NOW, observation, waiting

from actions.http_port import HttpReply
from gatepost.alert_conditions import Condition, Thresholds, alert_warnings
from gatepost.alert_sinks import FILE, Alerting, composed, keep_alerting, sinks_of
from gatepost.alerts import Alert, AlertBook, judge
from gatepost.control import OBSERVE
from gatepost.observation import observations_of
from gatepost.overview import Overview
from gatepost.settings import Settings
from gatepost.settings_file import load_settings
from gatepost.survey import survey_of
from mail.delivery import DeliveryStatus
from mail.errors import Temporary

DEAD = Condition(name="dead", level="warning", text="1 job given up: gatepost queue list --state dead")
ALERT = Alert(condition="dead", level="warning", state="raised", text=DEAD.text, at=NOW)


def told(*script: tuple[int, bool]) -> list[tuple[int, str]]:
    """At which minutes the condition held, and what was told when."""
    book, heard = AlertBook(), []
    for minute, holds in script:
        alerts, book = judge(book, [DEAD] if holds else [], NOW + timedelta(minutes=minute))
        heard += [(minute, alert.state) for alert in alerts]
    return heard


def test_the_beginning_and_the_end_are_told_once() -> None:
    assert told((0, True), (1, True), (59, True), (60, False), (61, False)) == [(0, "raised"), (60, "resolved")]


def test_what_comes_and_goes_is_told_once_an_hour() -> None:
    script = [(minute, minute % 2 == 0) for minute in range(120)]
    heard = told(*script)
    assert [state for _, state in heard] == ["raised", "resolved", "raised", "resolved"]
    raised = [minute for minute, state in heard if state == "raised"]
    assert raised == [0, 60]


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    assert told((5000, True), (0, True), (1, True)) == [(5000, "raised"), (0, "repeated")]
    assert told((5000, True), (5001, False), (0, True)) == [(5000, "raised"), (5001, "resolved"), (0, "raised")]


def test_what_lasts_is_told_again_a_day_later() -> None:
    assert told((0, True), (1439, True), (1440, True), (1441, True)) == [(0, "raised"), (1440, "repeated")]


def test_a_reminder_is_never_more_frequent_than_an_hour() -> None:
    _, book = judge(AlertBook(), [DEAD], NOW)
    alerts, _ = judge(book, [DEAD], NOW + timedelta(minutes=59), remind_after=timedelta(seconds=1))
    assert alerts == ()


def test_one_condition_does_not_silence_another() -> None:
    _, book = judge(AlertBook(), [DEAD], NOW)
    other = Condition(name="disk", level="critical", text="disk: full")
    alerts, _ = judge(book, [DEAD, other], NOW + timedelta(minutes=1))
    assert [(alert.condition, alert.state) for alert in alerts] == [("disk", "raised")]


class World:
    """A clock, a survey and a sink that the test holds in its hands."""

    def __init__(self, directory: Path) -> None:
        self.now = NOW
        self.dead = self.parked = 0
        self.refused: set[str] = set()
        self.unread = ""
        self.answers = True
        self.last_mail: datetime | None = None
        self.works = True
        self.told: list[Alert] = []
        self.directory = directory
        self.alerting = self.restarted()

    def restarted(self) -> Alerting:
        return Alerting(self, (self._sink,), Thresholds(silence_seconds=7200), self.directory / FILE, lambda: self.now)

    async def newest(self) -> datetime | None:
        return self.last_mail

    async def survey(self) -> Any:
        if not self.answers:
            raise Temporary("no answer in time")
        standing = waiting({"dead": self.dead, "parked": self.parked})
        return survey_of([observation()], standing, self.now, unread=self.unread)

    async def _sink(self, alert: Alert) -> None:
        if not self.works or alert.condition in self.refused:
            raise Temporary("the relay is gone")
        self.told.append(alert)

    async def later(self, minutes: int) -> list[tuple[str, str]]:
        """What is told at the look so many minutes later."""
        self.now += timedelta(minutes=minutes)
        self.told.clear()
        await self.alerting.look()
        return [(alert.condition, alert.state) for alert in self.told]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_job_given_up_is_told_and_so_is_its_end(world: World) -> None:
    assert await world.later(0) == []
    world.dead = 1
    assert await world.later(1) == [("dead", "raised")]
    world.dead = 0
    assert await world.later(1) == [("dead", "resolved")]


async def test_a_restart_tells_nothing_twice(world: World) -> None:
    world.dead = 1
    assert await world.later(0) == [("dead", "raised")]
    world.alerting = world.restarted()
    assert await world.later(1) == []
    world.dead = 0
    assert await world.later(1) == [("dead", "resolved")]
    assert stat.S_IMODE((world.directory / FILE).stat().st_mode) == 0o600


async def test_a_silence_does_not_begin_anew_with_a_restart(world: World) -> None:
    world.last_mail = NOW - timedelta(hours=3)
    assert await world.later(0) == [("silence", "raised")]
    world.alerting = world.restarted()
    assert await world.later(1) == []


async def test_what_could_not_be_told_is_told_at_the_next_look(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.dead, world.works = 1, False
    assert await world.later(0) == []
    assert "could not be sent: the relay is gone" in caplog.text
    world.works = True
    assert await world.later(1) == [("dead", "raised")]


async def test_what_was_told_is_not_told_again_because_another_could_not_be(world: World) -> None:
    world.dead, world.refused = 1, {"answer"}
    assert await world.later(0) == [("dead", "raised")]
    world.answers = False
    assert await world.later(1) == []
    world.answers, world.dead = True, 0
    assert await world.later(1) == [("dead", "resolved")]
    world.dead, world.answers = 1, False
    assert await world.later(60) == []
    world.refused = set()
    assert await world.later(1) == [("answer", "raised")]


async def test_two_at_once_of_which_one_cannot_be_told_are_each_told_once(world: World) -> None:
    world.dead, world.parked, world.refused = 1, 1, {"parked"}
    assert await world.later(0) == [("dead", "raised")]
    assert await world.later(1) == []
    world.refused = set()
    assert await world.later(1) == [("parked", "raised")]


async def test_what_cannot_be_seen_is_not_over(world: World) -> None:
    world.dead = 1
    assert await world.later(0) == [("dead", "raised")]
    world.answers = False
    assert await world.later(1) == [("answer", "raised")]
    world.answers = True
    assert await world.later(1) == [("answer", "resolved")]
    world.dead = 0
    assert await world.later(1) == [("dead", "resolved")]


async def test_what_waits_in_a_shard_that_cannot_be_read_is_not_over(world: World) -> None:
    world.dead = 1
    assert await world.later(0) == [("dead", "raised")]
    world.dead, world.unread = 0, "the store failed"
    assert await world.later(1) == [("spool", "raised")]
    world.unread = ""
    assert await world.later(1) == [("dead", "resolved"), ("spool", "resolved")]


async def test_workers_that_do_not_answer_are_the_alert(world: World) -> None:
    world.answers = False
    assert await world.later(0) == [("answer", "raised")]
    assert "no answer in time" in world.told[0].text
    world.answers = True
    assert await world.later(1) == [("answer", "resolved")]


async def test_a_book_that_cannot_be_read_is_begun_anew(world: World) -> None:
    (world.directory / FILE).write_text("{")
    world.alerting = world.restarted()
    world.dead = 1
    assert await world.later(0) == [("dead", "raised")]


class Relay:
    def __init__(self, action: str) -> None:
        self.action = action
        self.sent: list[tuple[Any, Any, bytes]] = []

    async def send_all(self, mail_from: Any, recipients: Sequence[Any], raw: bytes) -> tuple[DeliveryStatus, ...]:
        self.sent.append((mail_from, tuple(map(str, recipients)), raw))
        status = DeliveryStatus(
            recipient=str(recipients[0]), action=self.action, status="2.0.0", diagnostic="550 no", attempted_at=NOW
        )
        return (status,)


class Http:
    def __init__(self, status: int) -> None:
        self.status = status
        self.posted: list[tuple[str, bytes]] = []

    async def post(self, url: str, headers: Any, body: bytes, timeout_seconds: float) -> HttpReply:
        self.posted.append((url, body))
        return HttpReply(status=self.status, headers={}, body=b"")


def sink(settings: Settings, *, relay: Any = None, http: Any = None) -> Any:
    (made,) = sinks_of(settings, http, relay, "mx.example.com")
    return made


async def test_mail_goes_through_the_relay_under_the_null_reverse_path() -> None:
    relay = Relay("relayed")
    await sink(Settings(alerts_mail=("ops@example.com",)), relay=relay)(ALERT)
    ((mail_from, recipients, raw),) = relay.sent
    assert (mail_from, recipients) == (None, ("ops@example.com",))
    message = message_from_bytes(raw, policy=policy.default)
    assert message["Subject"] == "[gatepost mx.example.com] warning raised: dead"
    assert message["Auto-Submitted"] == "auto-generated"
    assert DEAD.text in message.get_content()


def test_a_resolved_alert_says_that_it_is_over() -> None:
    over = Alert(condition="dead", level="warning", state="resolved", text=DEAD.text, at=NOW)
    raw = composed(over, recipients=("ops@example.com",), hostname="mx.example.com")
    assert b"It is over." in raw
    assert raw.replace(b"\r\n", b"").find(b"\n") < 0


async def test_a_relay_that_refuses_is_a_failure() -> None:
    with pytest.raises(Temporary, match="550 no"):
        await sink(Settings(alerts_mail=("ops@example.com",)), relay=Relay("failed"))(ALERT)


async def test_a_webhook_gets_json_and_must_answer_2xx() -> None:
    good, bad = Http(204), Http(500)
    settings = Settings(alerts_webhook="https://hooks.example/a")
    await sink(settings, http=good)(ALERT)
    ((url, body),) = good.posted
    assert url == "https://hooks.example/a"
    assert json.loads(body) == {
        "source": "gatepost",
        "host": "mx.example.com",
        "condition": "dead",
        "level": "warning",
        "state": "raised",
        "text": DEAD.text,
        "at": "2026-11-21T12:00:00Z",
    }
    with pytest.raises(Temporary, match="500"):
        await sink(settings, http=bad)(ALERT)


async def test_a_command_gets_json_on_standard_input(tmp_path: Path) -> None:
    written = tmp_path / "alert.json"
    copy = f"import sys; open({str(written)!r}, 'w').write(sys.stdin.read())"
    await sink(Settings(alerts_command=(sys.executable, "-c", copy)))(ALERT)
    assert json.loads(await asyncio.to_thread(written.read_text))["condition"] == "dead"


async def test_a_command_that_fails_or_is_not_there_is_a_failure() -> None:
    with pytest.raises(Temporary, match="ended with 3"):
        await sink(Settings(alerts_command=(sys.executable, "-c", "raise SystemExit(3)")))(ALERT)
    with pytest.raises(OSError, match="absent"):
        await sink(Settings(alerts_command=("/absent/program",)))(ALERT)


def test_mail_without_a_relay_is_warned_of() -> None:
    assert alert_warnings(Settings(alerts_mail=("ops@example.com",))) == [
        "alerts.mail has no way to its readers: set relay.host"
    ]
    assert alert_warnings(Settings(alerts_mail=("ops@example.com",), relay_host="smtp.example.net")) == []


def test_a_command_that_cannot_be_run_is_warned_of() -> None:
    assert alert_warnings(Settings(alerts_command=("/absent/program", "x"))) == [
        "alerts.command names no program that can be run: /absent/program"
    ]
    assert alert_warnings(Settings(alerts_command=(sys.executable,))) == []


@pytest.mark.parametrize("url", ["nothing", "ftp://hooks.example/s3cret", "http://[::1", "http://", "https://h/a b"])
def test_a_webhook_that_is_no_url_is_an_error_that_does_not_repeat_it(url: str, tmp_path: Path) -> None:
    (tmp_path / "gatepost.yaml").write_text(json.dumps({"version": 1, "alerts": {"webhook": url}}))
    loaded = load_settings(tmp_path / "gatepost.yaml", {})
    (said,) = [finding.message for finding in loaded.findings]
    assert said == "alerts.webhook is not a URL; expected one, as in https://hooks.example.com/gatepost"


def test_no_sink_is_made_without_a_setting() -> None:
    assert sinks_of(Settings(), Http(200), None, "mx.example.com") == ()  # type: ignore[arg-type]


class Watched:
    """A server whose first worker does not answer."""

    def __init__(self) -> None:
        self.looks = 0
        self.enough = asyncio.Event()

    async def newest(self) -> None:
        return None

    async def survey(self) -> Any:
        self.looks += 1
        if self.looks == 4:
            self.enough.set()
        if self.looks == 1:
            raise RuntimeError("a bug")
        return survey_of(observations_of(await Overview(2, self._ask, NOW).everywhere(OBSERVE)), waiting(), NOW)

    async def _ask(self, number: int, request: dict[str, Any]) -> Any:
        if number == 0:
            raise Temporary("worker 0 is not running")
        assert request == OBSERVE
        return [observation(number).as_json()]


async def test_a_worker_that_cannot_be_started_is_told_and_a_bug_of_ours_ends_no_alerts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = tmp_path / "alerts"
    append = f"import sys; open({str(written)!r}, 'a').write(sys.stdin.read())"
    settings = Settings(data=tmp_path, alerts_command=(sys.executable, "-c", append))
    watched = Watched()
    looking = asyncio.create_task(keep_alerting(settings, watched, lambda: NOW, pause=0))
    async with asyncio.timeout(30):
        await watched.enough.wait()
    looking.cancel()
    assert "a bug" in caplog.text
    (told,) = [json.loads(line) for line in written.read_text().splitlines()]
    assert (told["condition"], told["state"]) == ("workers", "raised")
    assert told["text"] == "workers: worker 0 does not answer; the log says why"
