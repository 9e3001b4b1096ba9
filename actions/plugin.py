"""The contract of a plug-in: an action from another distribution (docs/adding-an-action.md).

A distribution offers it as an entry point of the group `gatepost.actions`: the name is the word in the rules, the object an
`ActionPlugin`. It is imported only if the setting `plugins` names the word.

It keeps the contract of every action (`actions.protocol`): one attempt per call, the same key after a crash, nothing that it is
given is its own. It runs in the gateway's own event loop beside everything else, as many attempts at once as `destination` allows
(16 for each), so whatever blocks belongs into a thread and every wait needs a limit of its own. Its steps never hold the walk, so
`Outcome.control` plays no part, and they count as handling the message.

*Failure.* What a plug-in does against this contract is its own step's affair: the job parks with the reason, and all else goes on.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actions.http_port import HttpClient
from actions.protocol import Action, Context
from mail.errors import Misuse
from mail.outcome import Control, Outcome, Result
from mail.values import changed
from rules.schema_actions import ActionSchema

log = logging.getLogger("gatepost.actions")
GROUP = "gatepost.actions"
_ANSWERS = frozenset({Result.DONE, Result.FAILED, Result.DEAD, Result.SKIPPED, Result.SUPPRESSED, Result.UNMAPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginPorts:
    """What a plug-in gets of the world: the HTTP client that webhooks use, the state directory, and our name."""

    http: HttpClient
    base: Path
    hostname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPlugin:
    """`schema` is what rules may write: its fields' readers report findings, and what they return must be JSON."""

    schema: ActionSchema
    make: Callable[[PluginPorts], Action]


class Guarded:
    """A plug-in's action whose misbehaviour stays its own: `actions.protocol.Action`."""

    def __init__(self, word: str, action: Action) -> None:
        self._word, self._action = word, action

    def destination(self, parameters: Mapping[str, Any]) -> str:
        try:
            return str(self._action.destination(parameters))
        except Exception as error:  # it is asked where nothing can be parked; its next attempt says the same and is
            log.error("the plug-in %s does not say where it goes: %s: %s", self._word, type(error).__name__, error)
            return ""

    async def run(self, context: Context) -> Outcome:
        try:
            outcome = await self._action.run(context)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Misuse(f"the plug-in {self._word} cancelled itself") from None
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:  # they would end the whole process
            raise Misuse(f"the plug-in {self._word} raised {type(error).__name__}") from error
        return self._checked(outcome)

    def _checked(self, outcome: Any) -> Outcome:
        if not isinstance(outcome, Outcome) or outcome.result not in _ANSWERS:
            raise Misuse(f"the plug-in {self._word} answered {str(outcome)[:100]}, which is no final or failed outcome")
        texts = (outcome.detail, *outcome.data.keys(), *outcome.data.values())
        if not all(isinstance(text, str) for text in texts):
            raise Misuse(f"the plug-in {self._word} answered with what is no text")
        return changed(outcome, control=Control.CONTINUE)
