"""Back-off, placeholders and message states: the pure parts of the runner."""

from __future__ import annotations

from datetime import timedelta

import pytest
from acting import NOW
from hypothesis import given
from hypothesis import strategies as st

from actions.message_state import state_after
from actions.placeholders import resolve
from actions.retry import Schedule
from mail.errors import Temporary
from mail.outcome import Result
from spool.ports import Job, JobKind, JobState, MessageState

LATER = NOW + timedelta(hours=4)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e9))
def test_next_attempt_lies_ahead_and_not_behind_the_end(attempt: int, chance: float, wait: float | None) -> None:
    at = Schedule().next_attempt(attempt, NOW, LATER, chance=chance, retry_after_seconds=wait)
    assert at is not None
    assert NOW < at <= LATER


@given(st.floats(0, 1, exclude_max=True))
def test_jitter_moves_a_delay_by_a_fifth_at_most(chance: float) -> None:
    at = Schedule(first_seconds=100, factor=1).next_attempt(3, NOW, LATER, chance=chance)
    assert at is not None
    assert 80 <= (at - NOW).total_seconds() <= 120


def test_last_attempt_falls_on_the_end_and_then_it_is_over() -> None:
    almost = LATER - timedelta(seconds=1)
    assert Schedule().next_attempt(9, almost, LATER, chance=0.5) == LATER
    assert Schedule().next_attempt(10, LATER, LATER, chance=0.5) is None


def test_placeholders_are_resolved_in_nested_values_and_once() -> None:
    environment = {"A": "${B}", "B": "b"}
    parameters = {"url": "https://${B}.example/${A}", "headers": {"X": "${B}"}, "list": ["${B}", 7], "n": 5}
    assert resolve(parameters, environment) == {
        "url": "https://b.example/${B}",
        "headers": {"X": "b"},
        "list": ["b", 7],
        "n": 5,
    }


def test_name_that_is_not_set_is_named() -> None:
    with pytest.raises(Temporary, match=r"\$\{HOOK_SECRET\} is not set"):
        resolve({"secret": "${HOOK_SECRET}"}, {})


def job(kind: JobKind, state: JobState) -> Job:
    return Job(id=1, kind=kind, message_id="m", key="k", state=state, attempts=1, not_before=NOW)


@pytest.mark.parametrize(
    ("results", "handled", "others", "was", "state"),
    [
        ([], False, [], "active", "unhandled"),
        (["done"], False, [], "active", "unhandled"),
        (["done"], True, [], "active", "done"),
        (["suppressed"], False, [], "active", "suppressed"),
        (["suppressed", "done"], True, [], "active", "done"),
        (["unmapped", "skipped"], False, [], "active", "unhandled"),
        (["retrying", "done"], True, [], "active", "retrying"),
        (["dead", "retrying"], True, [], "active", "dead"),
        (["done"], True, [(JobKind.WALK, JobState.LEASED)], "active", None),
        (["done"], True, [(JobKind.WALK, JobState.DEAD)], "active", "dead"),
        (["done"], True, [(JobKind.STEP, JobState.PARKED)], "active", "parked"),
        (["dead"], True, [(JobKind.WALK, JobState.PARKED)], "active", "parked"),
        (["done"], True, [], "rejected", None),
        ([], False, [], "rejected", None),
        (["dead"], True, [], "rejected", "dead"),
    ],
)
def test_state_follows_from_what_is_left(
    results: list[str], handled: bool, others: list[tuple[JobKind, JobState]], was: str, state: str | None
) -> None:
    found = state_after(
        [Result(result) for result in results],
        handled=handled,
        others=[job(*other) for other in others],
        was=MessageState(was),
    )
    assert found == state
