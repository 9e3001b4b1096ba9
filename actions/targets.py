"""Which action a step runs, with what parameters and where to: made once for each action of a rule set.

Only what names `${NAME}` is made anew each time, since the environment may have changed (semantics.md §4).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actions.placeholders import names_any, resolve
from actions.protocol import Action
from actions.table import Unmapped
from actions.topic_notification import TYPE
from mail.errors import Temporary
from rules.model import ActionSpec

_MOST_KEPT = 1024  # actions of the rule sets in use; beyond that some are made again
_UNMAPPED = Unmapped()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`parameters` with `${NAME}` resolved, shared by all attempts: nobody changes them. `destination` "" is none."""

    spec: ActionSpec
    action: Action
    parameters: dict[str, Any]
    destination: str


class Targets:
    def __init__(self, actions: Mapping[str, Action], environment: Mapping[str, str]) -> None:
        self._actions = actions
        self._environment = environment
        self._kept: dict[int, Target] = {}  # by the identity of their specs, which they hold on to

    def of(self, spec: ActionSpec) -> Target:
        """Raises `Temporary` for a name that is not set."""
        kept = self._kept.get(id(spec))
        if kept is not None:
            return kept
        action = self._actions.get(spec.type, _UNMAPPED)
        parameters = resolve(spec.parameters, self._environment)
        made = Target(spec=spec, action=action, parameters=parameters, destination=action.destination(parameters))
        # A notification's spec is made anew for each message.
        if spec.type != TYPE and not names_any(spec.parameters):
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[id(spec)] = made
        return made

    def destination(self, spec: ActionSpec) -> str:
        """Where it goes; "" too for parameters that cannot be resolved now."""
        try:
            return self.of(spec).destination
        except Temporary:
            return ""
