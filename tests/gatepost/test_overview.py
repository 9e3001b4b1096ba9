"""The parent puts the workers' answers together, and a worker that does not answer hides no other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from watched import NOW, observation

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
