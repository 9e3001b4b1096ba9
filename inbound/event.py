"""One transaction as it ended, for the live line and whoever else listens."""

from datetime import datetime

from mail.outcome import Outcome, Result
from mail.receipt import Receipt
from mail.reply import Reply
from mail.values import Value
from mail.verdict import VERDICTS, Status
from rules.compiled import CompiledBook
from rules.machine import Evaluation, walk


class Event(Value, frozen=True, kw_only=True):
    """`message_id`, `receipt` and `book` are None where no message was taken; `by` names the filter or rule that decided.

    `summary` and `rules` are worked out when they are asked for, so that an event nobody prints costs nothing.
    """

    at: datetime
    session: str
    client_ip: str
    mail_from: str | None
    rcpt_to: tuple[str, ...]
    phase: str
    outcome: str
    reply: Reply | None
    by: str = ""
    message_id: str | None = None
    receipt: Receipt | None = None
    book: CompiledBook | None = None

    @property
    def summary(self) -> str:
        """`spf=PASS dkim=FAIL ...`, without what is DISABLED."""
        if self.receipt is None:
            return ""
        statuses = {method: self.receipt.verdicts.status(method) for method in VERDICTS}
        return " ".join(f"{method}={status}" for method, status in statuses.items() if status is not Status.DISABLED)

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that take some recipient if every step of theirs runs."""
        if self.receipt is None or self.book is None:
            return ()
        *_, end = walk(Evaluation.start(self.book, self.receipt), Outcome(result=Result.WOULD_RUN))
        return tuple(rule.name for rule in end.rules if rule.recipients)
