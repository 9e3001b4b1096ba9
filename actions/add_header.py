"""add_header: one more field above the message, for every later step (SES: AddHeader action).

The rule machine carries the field (`Step.added`); the action only refuses what can be no field.
"""

from collections.abc import Mapping
from typing import Any

from actions.protocol import Context
from mail.errors import Misuse
from mail.headers import header_field
from mail.outcome import DONE, Outcome, Result


class AddHeader:
    def destination(self, parameters: Mapping[str, Any]) -> str:  # noqa: ARG002
        return ""

    async def run(self, context: Context) -> Outcome:
        parameters = context.parameters
        try:
            header_field(str(parameters["header_name"]), str(parameters["header_value"]))
        except Misuse as error:
            return Outcome(result=Result.DEAD, detail=str(error))
        return DONE
