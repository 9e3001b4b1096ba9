"""A finished walk as JSON: every rule, matched or not, with what it saw, and every step with its outcome (promise 3)."""

from typing import Any

from mail.outcome import Outcome, Result
from rules.machine import Evaluation
from rules.step import Step


def assume(_: Step) -> Outcome:
    """The outcome of a step that is not run: a replay without --run."""
    return Outcome(result=Result.WOULD_RUN)


def explanation(evaluation: Evaluation) -> dict[str, Any]:
    """`rules` and `steps` as `gatepost replay --json` prints them. Each rule of the set stands there once, in order."""
    return {
        "rules": [
            {
                "name": rule.name,
                "matched": rule.matched,
                "reason": rule.reason,
                "conditions": [
                    {"condition": one.condition, "saw": one.saw, "result": one.result} for one in rule.conditions
                ],
            }
            for rule in evaluation.rules
        ],
        "steps": [
            {
                "rule": trace.step.rule,
                "action": trace.step.spec.type,
                "recipients": [str(mailbox) for mailbox in trace.step.recipients],
                "outcome": trace.outcome.result.value,
                "detail": trace.outcome.detail,
            }
            for trace in evaluation.steps
        ],
    }
