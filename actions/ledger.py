"""Outcomes as ledger rows, and back: what is recorded of a step is enough to walk past it again (semantics.md §4)."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from mail.outcome import Control, Outcome, Result
from rules.step import Step
from spool.ports import LedgerRow

EXPIRES_AT = "expires_at"  # when a step that holds its walk is given up; a walk's job has no such time of its own
APART = "apart"  # the step went on as its own job, so the walk has passed it whatever became of it

HELD = "quarantine"  # what became of a hold: held, released, expired or deleted
HELD_UNTIL = "held_until"  # when it ends by itself
RELEASED_AS = "released_as"  # the evaluation that goes on from behind the rule that held


def row_for(
    step: Step, outcome: Outcome, *, at: datetime, attempts: int, notes: Mapping[str, str] | None = None
) -> LedgerRow:
    return LedgerRow(
        message_id=step.message_id,
        evaluation=step.evaluation,
        rule=step.rule,
        index=step.index,
        recipient=step.part,
        action=step.spec.type,
        position=step.position,
        result=outcome.result,
        at=at,
        attempts=attempts,
        detail=outcome.detail,
        control=outcome.control.value,
        data={**outcome.data, **(notes or {})},
    )


def outcome_as_walked(row: LedgerRow, step: Step) -> Outcome:
    """The outcome that the walk went on with, whatever became of a step that has its own job since then.

    Such a step retries (RETRYING) unless it holds the walk: then it was given up (DEAD) before the walk went on.
    """
    if row.data.get(APART):
        return Outcome(result=Result.DEAD if step.holds else Result.RETRYING, detail=row.detail)
    return Outcome(result=row.result, detail=row.detail, control=Control(row.control), data=row.data)


def of_evaluation(rows: Iterable[LedgerRow], evaluation: int) -> list[LedgerRow]:
    """One evaluation's rows in the order in which the walk reached them; a part of an action stands behind it."""
    found = (row for row in rows if row.evaluation == evaluation)
    return sorted(found, key=lambda row: (row.position, row.recipient))


def recorded(row: LedgerRow) -> Outcome:
    """The outcome that the row says, for an action that goes on from it."""
    return Outcome(result=row.result, detail=row.detail, data=row.data)
