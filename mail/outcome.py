"""What came of a step: a closed list, shared by the rule machine, the ledger and the actions (semantics.md §3)."""

from collections.abc import Mapping
from enum import StrEnum

from mail.values import Value, field


class Result(StrEnum):
    """The word that explain, find, the ledger and the JSON use for the outcome of one step."""

    DONE = "done"
    RETRYING = "retrying"  # it runs on as its own job and the walk has gone on
    FAILED = "failed"  # this attempt failed; a later one follows
    DEAD = "dead"  # given up, kept, redrivable
    SKIPPED = "skipped"
    SUPPRESSED = "suppressed"  # a bounce that would have answered somebody not vouched for
    UNMAPPED = "unmapped"  # an ARN that no local target stands for
    WOULD_RUN = "would_run"  # a replay without --run


class Control(StrEnum):
    """What a synchronous function answered (SES: Lambda disposition)."""

    CONTINUE = "CONTINUE"
    STOP_RULE = "STOP_RULE"
    STOP_RULE_SET = "STOP_RULE_SET"


class Outcome(Value, frozen=True, kw_only=True):
    """One step's outcome. `detail` is a sentence for the operator; `data` are facts such as `object_key` or `status`.

    `retry_after_seconds` is what the destination asked for; it is meaningful with FAILED only.
    """

    result: Result
    detail: str = ""
    control: Control = Control.CONTINUE
    data: Mapping[str, str] = field(default_factory=dict)
    retry_after_seconds: float | None = None


DONE = Outcome(result=Result.DONE)
