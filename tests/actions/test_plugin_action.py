"""A plug-in's action: whatever it does wrong is its own step's affair, and mail goes on (`actions.plugin`)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from acting import DONE, House, Told, book_of, context_of, failed, rule, webhook

from actions.plugin import ActionPlugin, Guarded, PluginPorts
from actions.protocol import Action, Context
from actions.table import _made
from mail.errors import Misuse, Permanent
from mail.outcome import Control, Outcome, Result
from rules.model import ActionSpec
from rules.schema_actions import ActionSchema
from spool.ports import JobState, MessageState

PLUGIN = ActionSpec(type="told", parameters={})


class Raises:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def destination(self, parameters: Any) -> str:
        raise ValueError("nowhere")

    async def run(self, context: Context) -> Outcome:
        raise self.error


class Returns:
    def __init__(self, found: Any) -> None:
        self.found = found

    def destination(self, parameters: Any) -> str:
        return self.found  # type: ignore[no-any-return]

    async def run(self, context: Context) -> Outcome:
        return self.found  # type: ignore[no-any-return]


WRONG: list[Action] = [
    *(Raises(each) for each in (ValueError("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError())),
    *(
        Returns(each)
        for each in (
            None,
            "done",
            Outcome(result=Result.RETRYING),
            Outcome(result=Result.WOULD_RUN),
            Outcome(result=Result.DONE, detail=b"bytes"),  # type: ignore[arg-type]
            Outcome(result=Result.DONE, data={"count": 7}),  # type: ignore[dict-item]
        )
    ),
]


@pytest.mark.parametrize("action", WRONG, ids=range(len(WRONG)))
async def test_what_a_plug_in_does_wrong_parks_its_own_step_and_nothing_else(action: Action) -> None:
    behind = Told(DONE)
    house = House(book_of(rule("all", PLUGIN, webhook())), {"told": Guarded("told", action), "webhook": behind}).start()
    await house.deliver()
    (job,) = await house.jobs()
    assert job.state is JobState.PARKED
    assert await house.state() is MessageState.PARKED
    # The gateway goes on, and so does another message.
    assert house.running is not None
    assert not house.running.done()
    house.actions["told"] = Told(DONE)
    await house.stop()


async def test_an_answer_of_the_contract_is_passed_on_but_for_what_steers_the_walk() -> None:
    found = Outcome(result=Result.DONE, detail="done", control=Control.STOP_RULE_SET, data={"a": "b"})
    told = Guarded("told", Told(found, destination="there"))
    assert told.destination({}) == "there"
    outcome = await told.run(context_of("told", {}))
    assert (outcome.result, outcome.detail, outcome.data) == (Result.DONE, "done", {"a": "b"})
    assert outcome.control is Control.CONTINUE
    assert (await Guarded("told", Told(failed())).run(context_of("told", {}))).result is Result.FAILED


async def test_a_cancelled_attempt_is_cancelled() -> None:
    async def forever(context: Context) -> Outcome:
        await asyncio.Event().wait()
        return DONE

    task = asyncio.create_task(Guarded("told", Told(forever)).run(context_of("told", {})))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(Misuse, match="cancelled itself"):
        await Guarded("told", Raises(asyncio.CancelledError())).run(context_of("told", {}))


def test_a_destination_never_raises() -> None:
    assert Guarded("told", Raises(ValueError())).destination({}) == ""


def test_a_plug_in_that_cannot_be_made_says_so_at_the_start(tmp_path: Path) -> None:
    class Ports:
        http, base, hostname = None, tmp_path, "mx.example.com"

    def make(ports: PluginPorts) -> Action:
        assert (ports.base, ports.hostname) == (tmp_path, "mx.example.com")
        raise RuntimeError("no licence")

    plugin = ActionPlugin(schema=ActionSchema(description="x", fields={}), make=make)
    with pytest.raises(Permanent, match="the plug-in told cannot be made: RuntimeError: no licence"):
        _made("told", plugin, Ports())  # type: ignore[arg-type]
