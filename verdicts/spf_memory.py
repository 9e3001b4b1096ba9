"""What pyspf found is found again without it, as long as every DNS answer that it rested on is still the same.

A big sender's mail comes from few addresses and few domains, and evaluating its record is a fifth of what judging a small message
costs. The evaluation is a function of the client's address, the domain and the answers, and through macros of the rest: what has
a macro is not kept.

*Trust.* Nothing is taken from here but after each of its answers was asked for again and is equal, so a changed record counts at
once, and evidence and budget are those of the evaluation. What is kept is bounded in number and octets.
"""

from mail.values import Value
from verdicts.inquiry import Ask, Question
from verdicts.ports import Answer

ENTRIES = 4096
ANSWER_OCTETS = 4096


class Finding(Value, frozen=True, kw_only=True):
    """A result with its reason, and the answers that it rests on, in the order in which they were asked for."""

    result: str
    reason: str
    answers: tuple[tuple[Question, Answer], ...]


class SpfMemory:
    """Findings by client address and domain, the oldest forgotten first."""

    def __init__(self) -> None:
        self._findings: dict[tuple[str, str], Finding] = {}

    def recall(self, ask: Ask, ip: str, domain: str) -> tuple[str, str] | None:
        """The finding, if it still stands; what it rests on is then used. Raises `OverBudget` as the evaluation would."""
        finding = self._findings.get((ip, domain))
        if finding is None or not all(_is_same(ask.peek(question), answer) for question, answer in finding.answers):
            return None
        for question, _ in finding.answers:
            ask(*question)
        return finding.result, finding.reason

    def keep(self, ask: Ask, ip: str, domain: str, result: str, reason: str) -> None:
        """Keep what was found by the answers that `ask` has used."""
        octets = 0
        for answer in ask.used.values():
            octets += sum(map(len, answer.records))
            if octets > ANSWER_OCTETS or any("%" in record for record in answer.records):
                return
        if len(self._findings) >= ENTRIES:
            del self._findings[next(iter(self._findings))]
        self._findings[ip, domain] = Finding(result=result, reason=reason, answers=tuple(ask.used.items()))


def _is_same(known: Answer | None, kept: Answer) -> bool:
    return known is kept or (
        known is not None
        and known.records == kept.records
        and known.outcome is kept.outcome
        and known.detail == kept.detail
    )
