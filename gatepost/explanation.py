"""One message's whole story as a JSON object: the line of `gatepost replay --json` and of `gatepost explain --json`."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from actions.ledger import of_evaluation
from actions.loading import begun, walked
from actions.protocol import Prepend
from actions.topic_notification import TYPE as NOTIFICATION
from mail.envelope import Envelope
from mail.headers import parse_header
from mail.outcome import Outcome, Result
from mail.receipt import Receipt
from mail.reply import Reply
from mail.values import changed
from mail.verdict import VERDICTS, Verdicts
from rules.compiled import CompiledBook
from rules.disposition import disposition
from rules.explain import explanation
from rules.machine import Evaluation, walk
from rules.model import ActionSpec
from rules.step import Step
from spool.ports import LedgerRow

_ANSWERED = Outcome(result=Result.DONE, detail="answered in the session")
_NO_STEP = ActionSpec(type="none")


def story(
    *,
    file: str | None,
    receipt: Receipt,
    reply: dict[str, Any],
    evaluation: Evaluation | None,
    prepend: Prepend,
    guessed: Iterable[str] = (),
) -> dict[str, Any]:
    """`evaluation` is None where no rule was reached, because every recipient was refused before."""
    walk = {"rules": [], "steps": []} if evaluation is None else explanation(evaluation)
    return {
        "file": file,
        "message_id": receipt.message_id,
        "envelope": {**envelope_object(receipt.envelope), **client_object(receipt), "guessed": list(guessed)},
        "verdicts": verdict_objects(receipt.verdicts),
        "reply": reply,
        **walk,
        "prepended": _fields(prepend(receipt, _last_step(receipt, evaluation))),
        "cut": [_text(receipt.header[start:end]) for start, end in receipt.cut],
    }


def stored_story(
    receipt: Receipt,
    book: CompiledBook,
    rows: list[LedgerRow],
    evaluation: int,
    reply: dict[str, Any],
    prepend: Prepend,
) -> dict[str, Any]:
    """The story of a message in the spool: what the ledger says became of its steps, not what was assumed of them."""
    recorded = of_evaluation(rows, evaluation)
    start = begun(rows, evaluation, partial(Evaluation.start, book, receipt))
    # Refused with nothing else to do: it never had a job, so its ledger is not behind, it stays empty.
    over = not recorded and reply["code"] >= 400 and not disposition(Evaluation.start(book, receipt)).runs_on
    reached = _answered(start) if over else walked(start, recorded, redriven=False)
    told = story(file=None, receipt=receipt, reply=reply, evaluation=reached, prepend=prepend)
    if over:
        return told
    # The notification of an action's topic is no step of the walk: it is told behind them.
    whole = [row for row in recorded if row.action != NOTIFICATION]
    parts = [row for row in recorded if row.action == NOTIFICATION]
    waiting = [] if reached.step is None else [str(mailbox) for mailbox in reached.step.recipients]
    steps = [
        {**step, "outcome": row.result.value, "detail": row.detail}
        for step, row in zip(told["steps"], whole, strict=False)
    ] + [_reached(row, waiting) for row in whole[len(told["steps"]) :]]
    whose = {(row.rule, row.index): step["recipients"] for row, step in zip(whole, steps, strict=True)}
    told["steps"] = steps + [_reached(row, whose.get((row.rule, row.index), [])) for row in parts]
    return told


def _answered(start: Evaluation) -> Evaluation:
    """The whole walk of a message that the session's reply has dealt with."""
    *_, end = walk(start, _ANSWERED)
    return end


def _reached(row: LedgerRow, recipients: list[str]) -> dict[str, Any]:
    """A notification, or a step whose attempt failed and holds the walk: it was reached, and the walk has not gone on."""
    return {
        "rule": row.rule,
        "action": row.action,
        "recipients": recipients,
        "outcome": row.result.value,
        "detail": row.detail,
    }


def reply_object(reply: Reply) -> dict[str, Any]:
    return {"code": reply.code, "enhanced": reply.enhanced, "text": reply.text}


def recorded_reply(text: str) -> dict[str, Any]:
    """A history row's reply (`250 2.0.0 Ok ...`) in its parts."""
    code, _, rest = text.partition(" ")
    enhanced, _, prose = rest.partition(" ")
    if not code.isdigit():
        return {"code": 0, "enhanced": None, "text": text}
    if enhanced[:2] not in ("2.", "4.", "5."):
        return {"code": int(code), "enhanced": None, "text": rest}
    return {"code": int(code), "enhanced": enhanced, "text": prose}


def envelope_object(envelope: Envelope) -> dict[str, Any]:
    return {
        "mail_from": None if envelope.reverse_path is None else str(envelope.reverse_path),
        "rcpt_to": [str(mailbox) for mailbox in envelope.mailboxes],
    }


def client_object(receipt: Receipt) -> dict[str, Any]:
    return {"client_ip": receipt.client.ip, "helo": receipt.client.helo}


def verdict_objects(verdicts: Verdicts) -> dict[str, Any]:
    return {
        method: {
            "status": verdicts.status(method).value,
            "results": [
                {
                    "method": each.method,
                    "result": each.result,
                    "reason": each.reason,
                    "properties": dict(each.properties),
                }
                for each in verdicts.results(method)
            ],
        }
        for method in VERDICTS
    }


def _last_step(receipt: Receipt, evaluation: Evaluation | None) -> Step:
    """What the last step of the walk saw above the message: all added fields, and scan fields if any rule scanned."""
    if evaluation is not None and evaluation.steps:
        last = evaluation.steps[-1].step
        return changed(last, scanned=any(trace.step.scanned for trace in evaluation.steps))
    return Step(message_id=receipt.message_id, evaluation=0, rule="", index=0, position=0, spec=_NO_STEP, recipients=())


def _fields(block: bytes) -> list[str]:
    return [_text(field.raw) for field in parse_header(block + b"\r\n").fields]


def _text(raw: bytes) -> str:
    raw = raw.removesuffix(b"\r\n")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
