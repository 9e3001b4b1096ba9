"""The parent puts the workers' answers together, and a worker that does not answer hides no other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from watched import NOW, observation, samples

from gatepost.control import OBSERVE
from gatepost.observation import PARENT, observations_of
from gatepost.overview import Overview
from gatepost.survey import survey_of
from mail.counters import key
from mail.errors import Temporary
from spool.standing import Standing

BEGAN = datetime(2026, 11, 21, 11, 0, tzinfo=UTC)


def asking(*silent: int) -> Any:
    async def ask(number: int, request: dict[str, Any]) -> Any:
        if number in silent:
            raise Temporary(f"worker {number} is not running")
        return [observation(number).as_json()] if request == OBSERVE else [f"{request['operation']} {number}"]

    return ask


async def test_all_workers_and_the_parent_are_one_survey() -> None:
    overview = Overview(2, asking(), BEGAN)
    overview.restarts = 3
    found = observations_of(await overview.everywhere(OBSERVE))
    assert [each.worker for each in found] == [0, 1, PARENT]
    survey = survey_of(found, Standing(), NOW)
    assert survey.is_ready
    assert len(survey.workers) == 2, "the parent takes no mail"
    assert survey.samples[key("workers")] == 2
    assert survey.samples[key("worker_restarts_total")] == 3


async def test_a_worker_that_does_not_answer_is_named_and_the_others_are_told() -> None:
    survey = survey_of(observations_of(await Overview(3, asking(1), BEGAN).everywhere(OBSERVE)), Standing(), NOW)
    assert not survey.is_ready
    (wrong,) = [check for check in survey.checks if not check.ok]
    assert wrong.name == "workers"
    assert wrong.detail == "worker 1 does not answer; the log says why"
    assert survey.samples[key("messages_total", outcome="accepted")] == 20


async def test_a_trace_is_begun_everywhere_or_fails() -> None:
    assert await Overview(2, asking(), BEGAN).everywhere({"operation": "trace"}) == ["trace 0", "trace 1"]
    with pytest.raises(Temporary, match="worker 1 is not running"):
        await Overview(2, asking(1), BEGAN).everywhere({"operation": "trace"})


class Mortal:
    """Two workers whose counts a test sets; a new process of one begins to count anew."""

    def __init__(self) -> None:
        self.accepted = [10, 10]
        self.pids = [4000, 4001]
        self.silent: set[int] = set()

    async def ask(self, number: int, request: dict[str, Any]) -> Any:
        assert request == OBSERVE
        if number in self.silent:
            raise Temporary(f"worker {number} is not running")
        own = samples(
            (key("messages_total", outcome="accepted"), self.accepted[number]),
            (key("accept_seconds_bucket", le="0.1"), self.accepted[number]),
            (key("connections"), 2),
            (key("worker_cpu_seconds_total", worker=str(number)), 1.5),
        )
        return [observation(number, pid=self.pids[number], samples=own).as_json()]


async def counted(overview: Overview) -> tuple[float, float, float]:
    """Accepted messages, a bucket of their latency, and open connections, over all workers."""
    found = survey_of(observations_of(await overview.everywhere(OBSERVE)), Standing(), NOW).samples
    return (
        found[key("messages_total", outcome="accepted")],
        found[key("accept_seconds_bucket", le="0.1")],
        found[key("connections")],
    )


async def test_no_count_falls_when_a_worker_ends_and_the_next_begins() -> None:
    workers = Mortal()
    overview = Overview(2, workers.ask, BEGAN)
    assert await counted(overview) == (20, 20, 4)
    workers.silent = {1}
    assert await counted(overview) == (20, 20, 2), "what it counted stays; what it held is gone"
    workers.silent, workers.pids[1], workers.accepted[1] = set(), 4711, 3
    assert await counted(overview) == (23, 23, 4)
    workers.pids[1], workers.accepted[1] = 4712, 1
    assert await counted(overview) == (24, 24, 4), "and again"


async def test_a_process_s_own_time_begins_with_it() -> None:
    workers = Mortal()
    overview = Overview(2, workers.ask, BEGAN)
    await counted(overview)
    workers.pids[1] = 4711
    found = survey_of(observations_of(await overview.everywhere(OBSERVE)), Standing(), NOW)
    assert found.samples[key("worker_cpu_seconds_total", worker="1")] == 1.5


async def test_an_answer_that_was_overtaken_takes_nothing_back() -> None:
    workers = Mortal()
    overview = Overview(2, workers.ask, BEGAN)
    workers.accepted[1] = 12
    assert (await counted(overview))[0] == 22
    workers.accepted[1] = 11
    await counted(overview)
    workers.silent = {1}
    assert (await counted(overview))[0] == 22
