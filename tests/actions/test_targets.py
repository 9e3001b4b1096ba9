"""Parameters are resolved when an action runs, and what nothing in the environment can change is made once (semantics.md §4)."""

from __future__ import annotations

import pytest
from acting import Told, context_of, disk, webhook

from actions.targets import Targets
from mail.errors import Temporary
from mail.outcome import Result


def test_an_action_without_variables_is_made_once() -> None:
    spec, targets = disk("mail"), Targets({"disk": Told(destination="there")}, {})
    assert targets.of(spec) is targets.of(spec)
    assert (targets.of(spec).parameters, targets.destination(spec)) == ({"path": "mail"}, "there")


@pytest.mark.parametrize("headers", [{}, {"x-key": "${KEY}"}, {"x-keys": ["a", "${KEY}"]}])
def test_a_variable_is_looked_up_each_time_wherever_it_stands(headers: dict[str, object]) -> None:
    environment = {"KEY": "one"}
    spec = webhook("https://hooks.example/${KEY}" if not headers else "https://hooks.example/in", headers=headers)
    targets = Targets({"webhook": Told()}, environment)
    assert "one" in str(targets.of(spec).parameters)
    environment["KEY"] = "two"
    assert "two" in str(targets.of(spec).parameters)
    del environment["KEY"]
    with pytest.raises(Temporary, match="KEY"):
        targets.of(spec)
    assert targets.destination(spec) == ""


def test_what_one_rule_set_says_is_not_taken_for_anothers() -> None:
    targets = Targets({"disk": Told()}, {})
    assert [targets.of(disk(f"mail{number}")).parameters["path"] for number in range(3000)] == [
        f"mail{number}" for number in range(3000)
    ]


async def test_an_action_that_nothing_stands_for_is_unmapped() -> None:
    context = context_of("workmail", {})
    outcome = await Targets({}, {}).of(context.step.spec).action.run(context)
    assert outcome.result is Result.UNMAPPED
