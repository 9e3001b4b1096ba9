"""DNS as it was when a message was judged: answers from its evidence, so that a replay gives the same verdicts."""

from mail.receipt import Evidence
from verdicts.ports import Answer, Lookup

NOT_RECORDED = Answer(outcome=Lookup.TEMPORARY, detail="not recorded")


class RecordedResolver:
    """Answers what the evidence holds. A question that was not asked then has no answer now, and that is temporary."""

    def __init__(self, evidence: Evidence) -> None:
        self._answers: dict[tuple[str, str], Answer] = {}
        for query in evidence.queries:
            content = evidence.answers.get(query.digest, ())
            outcome = Lookup(query.outcome)
            has_records = outcome is Lookup.RECORDS
            self._answers[query.name, query.type] = Answer(
                outcome=outcome,
                records=content if has_records else (),
                ttl=query.ttl_left,
                detail="" if has_records else "".join(content),
            )

    async def lookup(self, name: str, type: str) -> Answer:  # noqa: A002
        return self.cached(name, type)

    def cached(self, name: str, type: str) -> Answer:  # noqa: A002
        question = (name.lower().removesuffix("."), type)
        return self._answers.get(question, NOT_RECORDED)
