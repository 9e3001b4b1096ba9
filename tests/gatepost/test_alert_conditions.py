"""What is wrong is said once, by name, with what to do about it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from watched import NOW, observation, samples, survey, waiting

from gatepost.alert_conditions import Memory, Thresholds, conditions, remembered
from gatepost.observation import Check
from mail.counters import key

WELL = Thresholds(silence_seconds=3600)


def names(*arguments: object, **more: object) -> list[str]:
    return [condition.name for condition in conditions(*arguments, **more)]  # type: ignore[arg-type]


def test_a_gateway_that_stands_well_has_none() -> None:
    assert conditions(survey(), WELL) == ()


def test_a_check_that_fails_is_critical_and_comes_first() -> None:
    found = conditions(
        survey(observation(0, Check(name="rules", ok=False, detail="none is active")), standing=waiting({"dead": 1})),
        WELL,
    )
    assert [(each.name, each.level) for each in found] == [("rules", "critical"), ("dead", "warning")]
    assert found[0].text == "rules: none is active"


@pytest.mark.parametrize(
    ("standing", "name"),
    [
        (waiting({"dead": 2}), "dead"),
        (waiting({"parked": 1}), "parked"),
        (waiting(messages={"unhandled": 1}), "unhandled"),
        (waiting({"retrying": 1}, oldest=NOW - timedelta(hours=1)), "oldest_retry"),
    ],
)
def test_what_waits_for_somebody_is_wrong(standing: object, name: str) -> None:
    assert names(survey(standing=standing), WELL) == [name]  # type: ignore[arg-type]


def test_zero_means_never() -> None:
    never = Thresholds(dead=0, unhandled=0, unscanned=0, oldest_retry_seconds=0, disk_octets=0, certificate_seconds=0)
    everything = survey(
        observation(samples=samples((key("disk_free_bytes"), 0), (key("certificate_expiry_timestamp_seconds"), 9e12))),
        standing=waiting({"dead": 9, "retrying": 1}, {"unhandled": 9}, NOW - timedelta(days=30)),
    )
    assert names(everything, never) == []


def test_a_disk_and_a_certificate_that_run_out_are_said_once() -> None:
    soon = (NOW + timedelta(days=3)).timestamp()
    low = samples((key("disk_free_bytes"), 2**30), (key("certificate_expiry_timestamp_seconds"), soon))
    assert names(survey(observation(samples=low)), WELL) == ["disk_low", "certificate_ends"]
    full = Check(name="disk", ok=False, detail="MAIL is answered 452")
    assert names(survey(observation(0, full, samples=low)), WELL) == ["disk", "certificate_ends"]


def counted(accepted: int = 0, unscanned: int = 0) -> object:
    return observation(
        samples=samples((key("messages_total", outcome="accepted"), accepted), (key("unscanned_total"), unscanned))
    )


def test_silence_is_since_the_last_message_and_ends_with_the_next() -> None:
    memory = remembered(None, survey(counted(5)))  # type: ignore[arg-type]
    for minutes, accepted, silent in ((30, 5, False), (61, 5, True), (62, 6, False), (121, 6, False), (122, 6, True)):
        later = survey(counted(accepted), now=NOW + timedelta(minutes=minutes))  # type: ignore[arg-type]
        memory = remembered(memory, later)
        assert ("silence" in names(later, WELL, memory)) is silent, minutes


def test_a_restart_is_no_message() -> None:
    memory = remembered(None, survey(counted(5)))  # type: ignore[arg-type]
    later = survey(counted(0), now=NOW + timedelta(hours=2))  # type: ignore[arg-type]
    assert "silence" in names(later, WELL, remembered(memory, later))


def test_mail_that_went_on_unscanned_is_counted_by_the_hour() -> None:
    memory: Memory | None = None
    for minutes, unscanned, expected in (
        (0, 3, []),
        (5, 4, ["unscanned"]),
        (50, 4, ["unscanned"]),
        (61, 4, []),
        (62, 4, []),
    ):
        later = survey(counted(1, unscanned), now=NOW + timedelta(minutes=minutes))  # type: ignore[arg-type]
        memory = remembered(memory, later)
        assert names(later, Thresholds(), memory) == expected, minutes


def test_a_worker_that_begins_to_count_anew_hides_nothing() -> None:
    memory = remembered(None, survey(counted(1, 8)))  # type: ignore[arg-type]
    later = survey(counted(1, 2), now=NOW + timedelta(minutes=1))  # type: ignore[arg-type]
    assert names(later, Thresholds(), remembered(memory, later)) == ["unscanned"]
