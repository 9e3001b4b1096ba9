"""One attempt of one step: the action's answer, or its exception in the ledger's words."""

from __future__ import annotations  # those of inner functions are made anew at every call otherwise

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from actions.destinations import Destinations
from actions.ledger import recorded
from actions.loading import Loaded
from actions.placeholders import resolve
from actions.protocol import Context, Prepend
from actions.reach import STORING
from actions.targets import Target, Targets
from actions.topic_notification import TYPE, told_part
from actions.topics import Topic, find_topic, topic_of
from mail.errors import Malformed, Permanent, Temporary
from mail.outcome import Outcome, Result
from mail.values import changed
from rules.compiled import CompiledBook
from rules.model import ActionSpec
from rules.step import Step
from spool.ports import MessageState


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Runs attempts.

    `running` are all that are under way. `detached` are those that a walk did not wait for, by key, kept until the step's own job
    takes them over, finished or not: so no attempt is made twice because it was slow.
    """

    targets: Targets
    prepend: Prepend
    environment: Mapping[str, str]
    clock: Callable[[], datetime]
    destinations: Destinations
    running: set[asyncio.Task[Outcome]] = field(default_factory=set)
    detached: dict[str, asyncio.Task[Outcome]] = field(default_factory=dict)

    def destination(self, step: Step) -> str:
        """Where the step goes; "" is no destination."""
        return self.targets.destination(step.spec)

    def start(self, loaded: Loaded, step: Step, attempt: int, destination: str) -> asyncio.Task[Outcome]:
        """Begin an attempt whose place at `destination` is taken; the place is given back when it ends."""
        task = asyncio.create_task(self._run(loaded, step, attempt), name=step.key)
        self.running.add(task)

        def ended(task: asyncio.Task[Outcome]) -> None:
            self.running.discard(task)
            self.destinations.leave(destination)

        task.add_done_callback(ended)
        return task

    async def stop(self) -> None:
        """Cancel what is under way and forget what nobody took over; their jobs begin again at the next start."""
        tasks = {*self.running, *self.detached.values()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.detached.clear()

    async def _run(self, loaded: Loaded, step: Step, attempt: int) -> Outcome:
        time = asyncio.get_running_loop().time
        try:
            target = self.targets.of(step.spec)
            context = self._context(loaded, step, attempt, target)
        except (Temporary, Permanent, Malformed) as error:
            return _said(error)  # nothing of it reached the destination
        began = time()
        try:
            outcome = await target.action.run(context)
        except (Temporary, Permanent, Malformed) as error:
            outcome = _said(error)
        self.destinations.came_of(target.destination, outcome, time() - began)
        return outcome

    def _context(self, loaded: Loaded, step: Step, attempt: int, target: Target) -> Context:
        return Context(
            step=step,
            receipt=loaded.receipt,
            raw=loaded.raw,
            prepended=self._prepended(loaded, step),
            parameters=target.parameters,
            now=self.clock(),
            attempt=attempt,
            in_session=loaded.state is MessageState.REJECTED,
            bounce_always=loaded.book.book.bounce == "always",
            topic=self._topic(loaded, target.parameters),
            earlier=_recorded(loaded, step),
            whole=_recorded(loaded, changed(step, part=told_part(step))) if step.spec.type == TYPE else None,
            stores=partial(self._stores, loaded.book),
        )

    def _prepended(self, loaded: Loaded, step: Step) -> bytes:
        """The steps of a message mostly see the same fields above it."""
        seen = step.scanned, step.added
        fields = loaded.prepended.get(seen)
        if fields is None:
            fields = loaded.prepended[seen] = self.prepend(loaded.receipt, step)
        return fields

    def _stores(self, book: CompiledBook) -> tuple[tuple[str, ActionSpec], ...]:
        found = []
        for rule in book.book.rule_set.rules:
            for spec in rule.actions:
                if spec.type in STORING:
                    # What cannot be resolved stores nothing either.
                    with contextlib.suppress(Temporary):
                        parameters = resolve(spec.parameters, self.environment)
                        found.append((rule.name, ActionSpec(type=spec.type, parameters=parameters)))
        return tuple(found)

    def _topic(self, loaded: Loaded, parameters: Mapping[str, Any]) -> Topic | None:
        found = find_topic(loaded.book.book.topics, str(parameters.get("topic_arn") or ""))
        return None if found is None else topic_of(found[0], resolve(found[1], self.environment))


def _recorded(loaded: Loaded, step: Step) -> Outcome | None:
    row = loaded.row(step)
    return None if row is None else recorded(row)


def _said(error: Exception) -> Outcome:
    return Outcome(result=Result.FAILED if isinstance(error, Temporary) else Result.DEAD, detail=str(error))
