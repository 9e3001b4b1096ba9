"""Why a worker ended is said in words, and the next one is not started in a hurry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.worker_ends import BROKEN, CANNOT, DRAINED, BackOff, in_words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "was killed by SIGKILL"),
        (-11, "was killed by SIGSEGV"),
        (-64, "was killed by SIGRTMAX"),
        (-99, "was killed by signal 99"),
        (BROKEN, "closed its shard because the store failed"),
        (CANNOT, "could not go on"),
        (DRAINED, "ended as it was told to"),
        (1, "ended unexpectedly, with code 1"),
    ],
)
def test_an_end_has_words(code, words):
    assert in_words(code) == words


@given(deaths=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_a_delay_is_capped_and_never_nothing(deaths, chance):
    back_off = BackOff(first=0.1, most=30.0)
    assert 0.05 <= back_off.delay(deaths, chance) <= 30.0
    assert back_off.delay(deaths + 1, chance) >= back_off.delay(deaths, chance)


def test_each_death_doubles_the_delay():
    assert [BackOff(first=1, most=6).delay(deaths, 0.999999) for deaths in (1, 2, 3, 4)] == pytest.approx(
        [1, 2, 4, 6], rel=1e-3
    )


def test_workers_that_died_together_do_not_start_together():
    assert BackOff().delay(5, 0.0) < BackOff().delay(5, 0.9)


def test_a_stable_run_is_forgiven():
    back_off = BackOff(stable=60)
    assert back_off.deaths(7, 3.0) == 8
    assert back_off.deaths(7, 61.0) == 1
