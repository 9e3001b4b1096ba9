"""A job's message as the runner works on it: read from the spool, with the evaluation rebuilt from the ledger.

Recovery is the same loop as live work: outcomes recorded before a crash are walked past, the next step is run.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from actions.ledger import APART, RELEASED_AS, of_evaluation, outcome_as_walked
from actions.topic_notification import TYPE
from mail.errors import Misuse
from mail.octets import Octets
from mail.outcome import Result
from mail.receipt import Receipt, decode_receipt
from rules.compiled import CompiledBook
from rules.machine import Evaluation
from rules.step import Step
from spool.ports import Full, Job, JobKind, LedgerRow, Messages, MessageState, NotFound, StoredMessage

log = logging.getLogger("gatepost.actions")

Books = Callable[[str], CompiledBook]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """`evaluation` stands behind every outcome that the walk went on with. `rows` are the ledger's of this evaluation.

    `prepended` keeps what was put above the message, by what a step sees: `scanned` and `added`.
    """

    state: MessageState
    receipt: Receipt
    raw: Octets
    book: CompiledBook
    evaluation: Evaluation
    rows: tuple[LedgerRow, ...]
    prepended: dict[tuple[bool, tuple[tuple[str, str], ...]], bytes] = field(default_factory=dict)

    def row(self, step: Step) -> LedgerRow | None:
        return next((row for row in self.rows if (row.position, row.recipient) == (step.position, step.part)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """A message that was accepted this moment, as the spool has it too: its first walk begins at `start` and reads nothing back."""

    state: MessageState
    raw: Octets
    start: Evaluation

    def loaded(self) -> Loaded:
        start = self.start
        return Loaded(
            state=self.state, receipt=start.receipt, raw=self.raw, book=start.compiled, evaluation=start, rows=()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of a stored message before its body is read."""

    message: StoredMessage
    receipt: Receipt


async def find(spool: Messages, job: Job) -> Found:
    """Raises `NotFound` when retention has removed the message."""
    message = await spool.message(job.message_id)
    if message.header is None or not message.has_body:
        raise NotFound("the message's bytes are no longer kept")
    return Found(message=message, receipt=decode_receipt(message.receipt, message.header, message.answers))


async def load(spool: Messages, books: Books, job: Job, found: Found) -> Loaded:
    message, receipt = found.message, found.receipt
    raw = await spool.content(job.message_id)
    ledger = await spool.ledger(job.message_id)
    rows = of_evaluation(ledger, job.evaluation)
    # Only the newest evaluation's book stands in the message; the first one's is the one that the receipt was pinned to.
    is_newest = origin(ledger, job.evaluation) == origin(ledger, message.evaluation)
    book = books(message.rule_book if is_newest else receipt.rule_set)
    start = begun(ledger, job.evaluation, partial(Evaluation.start, book, receipt))
    return Loaded(
        state=message.state,
        receipt=receipt,
        raw=raw,
        book=book,
        evaluation=walked(start, rows, redriven=job.kind is JobKind.WALK),
        rows=tuple(rows),
    )


async def load_patiently(
    load: Callable[[], Awaitable[Loaded]], stopping: Callable[[], bool], wait_seconds: float
) -> Loaded:
    """A body that there is no descriptor for now is waited for; raises `Full` only while stopping."""
    while True:
        try:
            return await load()
        except Full as lacking:
            if stopping():
                raise
            log.warning("%s: trying again", lacking)
            await asyncio.sleep(wait_seconds)


def origin(ledger: Sequence[LedgerRow], evaluation: int) -> int:
    """The evaluation under whose rule book this one walks: its own number, or that of the one that a release goes on with."""
    held = _released(ledger, evaluation)
    return evaluation if held is None else origin(ledger, held.evaluation)


def begun(ledger: Sequence[LedgerRow], evaluation: int, start: Callable[..., Evaluation]) -> Evaluation:
    """The evaluation before its first step: a walk from the beginning, or, after a release, from behind the rule that held."""
    held = _released(ledger, evaluation)
    if held is None:
        return start(evaluation=evaluation)
    before = [row for row in of_evaluation(ledger, held.evaluation) if row.position <= held.position]
    return walked(begun(ledger, held.evaluation, start), before, redriven=False).released(evaluation)


def _released(ledger: Sequence[LedgerRow], evaluation: int) -> LedgerRow | None:
    number = str(evaluation)
    return next((row for row in ledger if row.data.get(RELEASED_AS) == number), None)


def walked(evaluation: Evaluation, rows: Sequence[LedgerRow], *, redriven: bool) -> Evaluation:
    """The evaluation behind the recorded outcomes.

    A FAILED row is of the step that comes next. So is, when a walk that it ended is `redriven`, a dead step under
    `on_failure: stop`: the walk's job was kept dead at that step.
    """
    for row in rows:
        if row.action == TYPE:
            continue  # it tells of an action that was walked past, and goes its own way
        step = evaluation.step
        if step is None or (step.rule, step.index, step.position) != (row.rule, row.index, row.position):
            raise Misuse(f"the ledger's step {row.rule}/{row.index} is not where the rule set goes")
        if row.result is Result.FAILED:
            return evaluation
        if redriven and row.result is Result.DEAD and step.on_failure == "stop" and APART not in row.data:
            return evaluation
        evaluation = evaluation.advance(outcome_as_walked(row, step))
    return evaluation
