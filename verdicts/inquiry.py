"""What the checks of one message ask of DNS: answered from what is known, recorded, and within a budget.

Theory of operation. A check is a pure function that asks for what it needs and gets an `Answer` at once. What is not known
is raised as `Need`; the driver (judge.py) waits for it and runs the check again from the start, now further. So checks have no
await, no thread and no task of their own, a warm cache never touches the scheduler, and the evidence of a check is the
list of its last run: complete, and in the check's own order whatever order the answers came in.

*Standards.* semantics.md §5 (evidence; 60 queries and 256 KiB of answers a message).
*Trust.* Answers are hostile. The budget is divided among the checks, so that a stranger's SPF record cannot use up
the queries that the From domain's DMARC policy needs.
*Failure.* `OverBudget`, which the driver reports as that check's permerror. DNS failures are answers, never exceptions.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mail.receipt import Evidence, Query
from verdicts.ports import Answer, Lookup, Resolver

Question = tuple[str, str]


class BodySpec(NamedTuple):
    """A body hash that a check needs: `relaxed` or `simple`, over the first `limit` octets of the canonical body (None: all)."""

    canonicalization: str
    limit: int | None = None


# Those of authentication add up to 60 queries and 256 KiB; the operator's own lists come on top: of clients, and of domains.
QUERIES = {"client": 40, "spf": 30, "dkim": 10, "arc": 10, "dmarc": 10, "spam": 60}
OCTETS = 64 * 1024
_NOTHING: Mapping[Question, Answer] = {}


class Need(BaseException):
    """Control flow: the check cannot go on without these. Not an Exception, so that no library's handler eats it."""

    def __init__(self, questions: Sequence[Question] = (), work: Sequence[BodySpec] = ()) -> None:
        super().__init__()
        self.questions = questions
        self.work = work


class OverBudget(Exception):
    """The check wants more DNS than a message may cost. The text is fixed prose."""


class Ask:
    """One check's view of DNS."""

    __slots__ = ("_inquiry", "_limit", "_octets", "used")

    def __init__(self, inquiry: "Inquiry", limit: int) -> None:
        self._inquiry = inquiry
        self._limit = limit
        self._octets = 0
        self.used: dict[Question, Answer] = {}

    def __call__(self, name: str, type: str) -> Answer:  # noqa: A002
        """The answer to one question. Raises `Need`, `OverBudget`."""
        question = (name.lower().removesuffix("."), type)
        answer = self.used.get(question)
        if answer is None:
            answer = self._inquiry.known(question)
            if answer is None:
                raise Need(questions=(question,))
            self._use(question, answer)
        return answer

    def peek(self, question: Question) -> Answer | None:
        """What would be answered, if it is known; nothing is recorded, since nothing rests on it yet."""
        return self._inquiry.known(question)

    def all(self, questions: Iterable[Question]) -> list[Answer]:
        """The answers to several questions, which are waited for side by side. Raises `Need`, `OverBudget`."""
        folded = [(name.lower().removesuffix("."), type_) for name, type_ in questions]
        if len(folded) + len(self.used) > self._limit and len({*self.used, *folded}) > self._limit:
            raise OverBudget(f"needs more than {self._limit} DNS queries")
        missing = dict.fromkeys(question for question in folded if self._inquiry.known(question) is None)
        if missing:
            raise Need(questions=tuple(missing))
        return [self(*question) for question in folded]

    def _use(self, question: Question, answer: Answer) -> None:
        self._octets += sum(map(len, answer.records))
        if len(self.used) >= self._limit:
            raise OverBudget(f"needs more than {self._limit} DNS queries")
        if self._octets > OCTETS:
            raise OverBudget(f"needs more than {OCTETS // 1024} KiB of DNS answers")
        self.used[question] = answer


class Inquiry:
    """Everything that one message asked, and what it was told. One question has one answer for the whole message."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._answers: dict[Question, Answer] = {}
        # What each check used, not its Ask: that refers to us, and the two would be left to the garbage collector.
        self._used: dict[str, dict[Question, Answer]] = {}
        self._closed: Answer | None = None

    def begin(self, check: str) -> Ask:
        """A fresh run of this check; what an earlier run used is forgotten."""
        ask = Ask(self, QUERIES[check])
        self._used[check] = ask.used
        return ask

    def known(self, question: Question) -> Answer | None:
        answer = self._answers.get(question)
        if answer is None:
            answer = self._resolver.cached(*question) or self._closed
            if answer is not None:
                self._answers[question] = answer
        return answer

    async def fetch(self, questions: Iterable[Question], deadline: float) -> None:
        """Learn the answers, or at `deadline` (the loop's clock) that there were none in time."""
        first, *others = questions
        if not others:  # as nearly always: no task for it
            await self._fetch_one(first, deadline)
            return
        await asyncio.gather(*(self._fetch_one(question, deadline) for question in (first, *others)))

    async def _fetch_one(self, question: Question, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                answer = await self._resolver.lookup(*question)
        except TimeoutError:
            answer = self._closed = Answer(outcome=Lookup.TEMPORARY, detail="no DNS answer before the deadline")
        except Exception as error:  # the port's contract is broken: say so and stay temporary
            answer = Answer(outcome=Lookup.TEMPORARY, detail=f"resolver failed ({type(error).__name__})")
        self._answers.setdefault(question, answer)

    def evidence(self, checks: Iterable[str], scanner_replies: Mapping[str, str]) -> Evidence:
        """What the last run of each check used, in the order of `checks`, then of use (semantics.md §5)."""
        queries: list[Query] = []
        answers: dict[str, tuple[str, ...]] = {}
        for check in checks:
            for (name, type_), answer in self._used.get(check, _NOTHING).items():
                digest = answer.digest
                answers[digest] = answer.content
                queries.append(
                    Query(
                        check=check,
                        name=name,
                        type=type_,
                        outcome=str(answer.outcome),
                        digest=digest,
                        ttl_left=answer.ttl,
                    )
                )
        return Evidence(queries=tuple(queries), answers=answers, scanner_replies=scanner_replies)
