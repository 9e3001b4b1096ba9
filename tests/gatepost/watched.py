"""Observations and surveys of a gateway that stands well, to be made worse by a test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gatepost.observation import Check, Observation, Rules
from gatepost.survey import Survey, survey_of
from mail.counters import Key, key
from spool.standing import JOB_STATES, MESSAGE_STATES, Standing

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CHECKS = ("spool", "disk", "resolver", "listeners", "certificate", "rules")
VERSION = "1f3c" * 16


def observation(worker: int = 0, *failing: Check, **more: Any) -> Observation:
    """One worker; `failing` take the place of the checks of their names."""
    wrong = {check.name: check for check in failing}
    made = Observation(
        worker=worker,
        pid=4000 + worker,
        started_at=NOW,
        samples=((key("connections"), 2), (key("workers"), 1), (key("messages_total", outcome="accepted"), 10)),
        checks=tuple(wrong.get(name, Check(name=name, ok=True, detail="fine")) for name in CHECKS),
        rules=Rules(rule_set="default", version=VERSION, pinned=False),
    )
    return replace(made, **more)


def samples(*pairs: tuple[Key, float]) -> tuple[tuple[Key, float], ...]:
    return pairs


def waiting(jobs: dict[str, int] | None = None, messages: dict[str, int] | None = None, oldest: Any = None) -> Standing:
    return Standing(
        jobs={**dict.fromkeys(JOB_STATES, 0), **(jobs or {})},
        messages={**dict.fromkeys(MESSAGE_STATES, 0), **(messages or {})},
        oldest_retry=oldest,
    )


def survey(*observations: Observation, standing: Standing | None = None, now: datetime = NOW) -> Survey:
    return survey_of(observations or (observation(),), standing or waiting(), now)
