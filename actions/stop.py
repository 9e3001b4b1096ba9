"""stop: evaluation ends, for the message or for this rule's recipients (SES: Stop action, semantics.md §3).

The rule machine does the stopping; the step stands in the ledger so that explain can show it.
"""

from collections.abc import Mapping
from typing import Any

from actions.protocol import Context
from mail.outcome import Outcome, Result


class Stop:
    def destination(self, parameters: Mapping[str, Any]) -> str:  # noqa: ARG002
        return ""

    async def run(self, context: Context) -> Outcome:
        scope = str(context.parameters.get("scope", "RuleSet"))
        what = "these recipients" if scope.lower() == "recipients" else "the whole message"
        return Outcome(result=Result.DONE, detail=f"evaluation ends for {what}")
