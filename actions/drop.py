"""drop: the message is let go on purpose, counted and explained."""

from collections.abc import Mapping
from typing import Any

from actions.protocol import Context
from mail.outcome import Outcome, Result


class Drop:
    def destination(self, parameters: Mapping[str, Any]) -> str:  # noqa: ARG002
        return ""

    async def run(self, context: Context) -> Outcome:  # noqa: ARG002
        return Outcome(result=Result.DONE, detail="dropped on purpose")
