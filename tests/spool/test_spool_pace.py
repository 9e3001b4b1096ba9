"""A group begins when the least patient of those who wait has no more patience."""

import math

import pytest

from spool.pace import ACCEPT_SECONDS, CLOSE_SECONDS, OUTCOME_SECONDS, Company, Pace


class Loop:
    """A loop whose clock stands still, and that keeps what it was asked to call."""

    def __init__(self):
        self.now = 100.0
        self.called = []

    def time(self):
        return self.now

    def call_soon(self, begin):
        return self.call_at(-math.inf, begin)

    def call_at(self, when, begin):
        handle = Handle(self, when)
        self.called.append(handle)
        return handle

    @property
    def due(self):
        return [handle.when for handle in self.called]


class Handle:
    def __init__(self, loop, when):
        self.loop, self.when = loop, when

    def cancel(self):
        self.loop.called.remove(self)


@pytest.fixture
def made():
    return Pace(lambda: None), Loop()


def test_without_patience_it_begins_at_once(made):
    pace, loop = made
    pace.note(loop, 0)
    pace.arm(loop)
    assert loop.due == [-math.inf]


def test_the_least_patient_decides_whoever_came_first(made):
    pace, loop = made
    for patience, due in ((0.25, 100.25), (3600, 100.25), (0.005, 100.005), (0, -math.inf), (0.005, -math.inf)):
        pace.note(loop, patience)
        pace.arm(loop)
        assert loop.due == [due]


def test_what_was_noted_under_way_counts_when_the_group_has_ended(made):
    pace, loop = made
    pace.clear()
    pace.note(loop, 0.005)
    assert loop.due == []
    loop.now += 0.004
    pace.arm(loop)
    assert loop.due == [100.005]
    pace.clear()
    pace.note(loop, 0.005)
    loop.now += 0.006
    pace.arm(loop)
    assert loop.due == [-math.inf]


def test_nothing_begins_where_nobody_waits(made):
    pace, loop = made
    pace.arm(loop)
    pace.note(loop, 0)
    pace.arm(loop)
    pace.clear()
    pace.arm(loop)
    assert loop.due == []


def test_an_accept_waits_until_all_that_are_expected_wait():
    company = Company()
    assert company.of_accept(1, 3, 100.0) == 0
    company.answered(1, 1, 100.0)
    assert [company.of_accept(waiting, 3, 100.01) for waiting in (1, 2, 3, 4)] == [ACCEPT_SECONDS, ACCEPT_SECONDS, 0, 0]


def test_a_client_who_is_alone_never_waits():
    company, now = Company(), 100.0
    for _ in range(10):
        assert company.of_accept(1, 1, now) == 0
        company.answered(1, 1, now)
        company.answered(1, 0, now + 0.001)  # a group of outcomes
        now += 0.002


def test_nobody_is_expected_after_a_lull():
    company = Company()
    company.answered(9, 9, 100.0)
    assert [company.of_accept(1, 9, 100.0 + CLOSE_SECONDS * apart) for apart in (0.9, 1.1)] == [ACCEPT_SECONDS, 0]


def test_an_outcome_waits_while_groups_follow_each_other():
    company = Company()
    assert company.of_outcome(100.0) == 0
    company.answered(2, 0, 100.0)
    assert [company.of_outcome(100.004), company.of_outcome(100.006)] == [OUTCOME_SECONDS, 0]


def test_an_outcome_waits_between_messages_that_come_within_ten_milliseconds_and_no_longer():
    company, now = Company(), 100.0
    for apart, patience in ((0.5, 0), (0.006, OUTCOME_SECONDS), (0.015, 0), (0.009, OUTCOME_SECONDS)):
        now += apart
        company.answered(1, 1, now)
        assert company.of_outcome(now + 0.003) == patience


def test_an_outcome_that_found_nobody_does_not_make_the_next_one_wait():
    company = Company()
    company.answered(2, 1, 100.0)
    company.answered(1, 0, 100.006)
    assert company.of_outcome(100.007) == 0
