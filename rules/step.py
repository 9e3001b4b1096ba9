"""What the rule machine says: the next step, and the trace that explains every rule, matched or not."""

from typing import Any

from mail.address import Mailbox
from mail.outcome import Outcome
from mail.reply import Reply
from mail.values import Value
from rules.model import ActionSpec

_HOLDING = frozenset(("add_header", "stop", "bounce", "drop", "quarantine"))


def is_answering(spec: ActionSpec) -> bool:
    """Whether this is a function whose answer can stop the rule or the rule set (SES: Lambda disposition)."""
    return spec.type == "lambda" and spec.parameters.get("invocation_type") == "RequestResponse"


def holds_the_walk(spec: ActionSpec) -> bool:
    """Whether an action of this kind can change what follows it (semantics.md §4)."""
    return spec.type in _HOLDING or is_answering(spec)


class Step(Value, frozen=True, kw_only=True):
    """One action to run now, for these recipients.

    `position` counts the steps of the walk from 0. `scanned` says whether this rule sees spam and virus verdicts. `added` are the
    header fields that add_header steps before this one put on top, oldest first. `part` names what of the action this is, where
    that goes its own way: `topic` is its topic notification, a recipient its object for that one (`rules.units`), and both may
    come together as `RECIPIENT/topic`; "" is the action itself. `captured` is what `{match.NAME}` stands for.
    """

    message_id: str
    evaluation: int
    rule: str
    index: int
    position: int
    spec: ActionSpec
    recipients: tuple[Mailbox, ...]
    scanned: bool = False
    added: tuple[tuple[str, str], ...] = ()
    on_failure: str = "continue"
    ordered: bool = False
    part: str = ""
    captured: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """The idempotency key (semantics.md §4)."""
        key = f"{self.message_id}/{self.evaluation}/{self.rule}/{self.index}"
        return f"{key}/{self.part}" if self.part else key

    @property
    def holds(self) -> bool:
        """Whether the walk must wait for this step's outcome, because it can change what follows (semantics.md §4).

        `on_failure: stop` is such a case: had the walk gone on, a step that dies later would contradict what has run.
        """
        return self.ordered or self.on_failure == "stop" or holds_the_walk(self.spec)


class ConditionTrace(Value, frozen=True, kw_only=True):
    """One condition as it was evaluated. `condition` is its YAML form on one line; `saw` the value; None: cannot tell."""

    condition: str
    saw: Any
    result: bool | None


class RuleTrace(Value, frozen=True, kw_only=True):
    """One rule's part in the decision. `reason` is a sentence; `recipients` are those that the rule took."""

    name: str
    matched: bool | None
    reason: str
    conditions: tuple[ConditionTrace, ...] = ()
    recipients: tuple[Mailbox, ...] = ()


class StepTrace(Value, frozen=True, kw_only=True):
    """One step of the walk with its outcome."""

    step: Step
    outcome: Outcome


class Disposition(Value, frozen=True, kw_only=True):
    """What to answer at the end of DATA (semantics.md §3).

    `kind` is accept, reject (every recipient is bounced on every path; `runs_on` says whether other steps remain to be run),
    defer (4xx, no job), or unhandled-reject; `reply` is set unless `kind` is accept; `rule` names the deciding rule.
    """

    kind: str
    reply: Reply | None = None
    rule: str = ""
    runs_on: bool = True
