"""quarantine: the message stays here for its recipients until somebody releases or deletes it, or its time is over.

The step itself only says how long; the walk queues the hold beside it in the same unit (`actions.hold`), and the rule machine ends
the evaluation for the rule's recipients.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from actions.ledger import HELD, HELD_UNTIL
from actions.protocol import Context
from mail.outcome import Outcome, Result


class Quarantine:
    def destination(self, parameters: Mapping[str, Any]) -> str:  # noqa: ARG002
        return ""

    async def run(self, context: Context) -> Outcome:
        until = context.now + timedelta(seconds=float(context.parameters["keep"]))
        reason = str(context.parameters.get("reason", "quarantined"))
        data = {
            HELD: "held",
            HELD_UNTIL: until.isoformat(),
            "reason": reason,
            "recipients": ", ".join(context.recipients),
        }
        return Outcome(result=Result.DONE, detail=f"held until {until:%Y-%m-%d %H:%M}Z: {reason}", data=data)
