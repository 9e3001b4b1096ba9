"""The gateway as a whole: workers added up, checks that hold everywhere or not at all, and what waits."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from stored_mail import T0, Mail, fill
from watched import NOW, observation, survey, waiting

from gatepost.health import pages_of
from gatepost.metrics import by_label
from gatepost.observation import Check, observations_of
from gatepost.survey import Surveyor, survey_of
from mail.counters import key
from mail.errors import Temporary
from mail.outcome import Result
from spool.control import NoServer
from spool.ports import JobState, MessageState

BAD_DISK = Check(name="disk", ok=False, detail="MAIL is answered 452")


def test_an_observation_survives_the_control_socket() -> None:
    before = observation(3, BAD_DISK)
    assert observations_of(json.loads(json.dumps([before.as_json()]))) == [before]


def test_what_is_no_observation_is_refused() -> None:
    with pytest.raises(Temporary, match="another version"):
        observations_of([{"worker": "first"}])


def test_workers_are_added_up() -> None:
    both = survey(observation(1), observation(0))
    assert both.samples[key("messages_total", outcome="accepted")] == 20
    assert both.samples[key("workers")] == 2
    assert [each.worker for each in both.workers] == [0, 1]


def test_a_check_holds_only_where_it_holds_in_every_worker() -> None:
    one = survey(observation(0), observation(1, BAD_DISK))
    assert not one.is_ready
    assert one.samples[key("ready")] == 0
    assert one.samples[key("check_ok", check="disk")] == 0
    assert one.samples[key("check_ok", check="spool")] == 1
    (disk,) = [check for check in one.checks if not check.ok]
    assert disk == Check(name="disk", ok=False, detail="worker 1: MAIL is answered 452")


def test_a_check_that_fails_everywhere_says_so_once() -> None:
    (disk,) = [check for check in survey(observation(0, BAD_DISK), observation(1, BAD_DISK)).checks if not check.ok]
    assert disk.detail == "MAIL is answered 452"


def test_without_a_worker_nothing_is_ready() -> None:
    assert not survey_of([], waiting(), NOW).is_ready


def test_the_age_of_the_oldest_retry_is_since_its_message_came() -> None:
    late = survey(standing=waiting({"retrying": 2}, oldest=NOW - timedelta(minutes=5)))
    assert late.samples[key("oldest_retry_age_seconds")] == 300
    assert late.samples[key("jobs", state="retrying")] == 2
    assert survey().samples[key("oldest_retry_age_seconds")] == 0


async def test_what_waits_is_counted_over_the_shards(tmp_path: Path) -> None:
    retried = Mail(
        number=3,
        state=MessageState.RETRYING,
        left=JobState.READY,
        last="refused",
        steps=(("a", "disk", Result.RETRYING, ""),),
    )
    dead = Mail(
        number=2, state=MessageState.DEAD, left=JobState.DEAD, last="gone", steps=(("a", "disk", Result.DEAD, ""),)
    )
    await asyncio.to_thread(fill, tmp_path, Mail(number=1), dead, retried, Mail(number=4, state=MessageState.UNHANDLED))
    times = iter([0.0, 0.5, 1.0, 11.0, 11.5])

    async def observe() -> object:
        return [observation().as_json()]

    surveyor = Surveyor(tmp_path, clock=lambda: NOW, monotonic=lambda: next(times), observe=observe)
    found = (await surveyor.survey()).samples
    assert by_label(found, "jobs", "state") == {
        "dead": 1,
        "held": 0,
        "leased": 0,
        "parked": 0,
        "ready": 0,
        "retrying": 1,
    }
    assert by_label(found, "messages", "state") == {
        "dead": 1,
        "parked": 0,
        "retrying": 1,
        "suppressed": 0,
        "unhandled": 1,
    }
    assert found[key("oldest_retry_age_seconds")] == (NOW - (T0 + timedelta(hours=3))).total_seconds()


async def test_a_queue_that_takes_long_to_count_is_counted_less_often(tmp_path: Path) -> None:
    await asyncio.to_thread(fill, tmp_path, Mail(number=1))
    now = [0.0]
    surveyor = Surveyor(tmp_path, clock=lambda: NOW, monotonic=lambda: now[0])
    asked = []

    class Reader:
        async def standing(self) -> object:
            asked.append(now[0])
            now[0] += 0.5
            return waiting()

    surveyor._reader = Reader()  # type: ignore[assignment]
    for moment in (0.0, 1.0, 9.0, 10.0, 10.6, 21.0):
        now[0] = moment
        await surveyor.standing()
    assert asked == [0.0, 10.6], "twenty times the half second that it took"


async def test_a_shard_that_cannot_be_read_hides_nothing_else(tmp_path: Path) -> None:
    shard = tmp_path / "shards" / "01"
    shard.mkdir(parents=True)
    (shard / "spool.db").write_bytes(b"no database" * 100)

    async def observe() -> object:
        return [observation(0).as_json(), observation(1).as_json()]

    surveyor = Surveyor(tmp_path, clock=lambda: NOW, observe=observe)
    found = await surveyor.survey()
    assert found.samples[key("messages_total", outcome="accepted")] == 20
    (wrong,) = [check for check in found.checks if not check.ok]
    assert wrong == Check(
        name="spool", ok=False, detail=f"the store failed: {shard / 'spool.db'}: file is not a database"
    )
    assert not found.is_whole, "that no job is dead is not known"
    assert await surveyor.newest() is None
    pages = pages_of(surveyor)
    assert ((await pages["/metrics"]()).status, (await pages["/readyz"]()).status) == (200, 503)


async def test_without_a_server_the_survey_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoServer):
        await Surveyor(tmp_path, clock=lambda: NOW).survey()


async def test_readiness_says_what_is_wrong_and_whether_the_rules_are_pinned(tmp_path: Path) -> None:
    answers = [[observation().as_json()], [observation(0, BAD_DISK).as_json()]]

    async def observe() -> object:
        return answers.pop(0)

    pages = pages_of(Surveyor(tmp_path, clock=lambda: NOW, observe=observe))
    good, bad = await pages["/readyz"](), await pages["/readyz"]()
    assert (good.status, bad.status) == (200, 503)
    assert json.loads(good.body)["rules"] == {"rule_set": "default", "version": "1f3c" * 16, "pinned": False}
    assert json.loads(bad.body)["ready"] is False
    assert json.loads(bad.body)["checks"]["disk"] == {"ok": False, "detail": "MAIL is answered 452"}
    assert json.loads(bad.body)["checks"]["spool"]["ok"] is True


async def test_readiness_without_an_answer_is_503_and_says_why(tmp_path: Path) -> None:
    served = await pages_of(Surveyor(tmp_path, clock=lambda: NOW))["/readyz"]()
    assert served.status == 503
    assert "no server listens" in json.loads(served.body)["error"]
