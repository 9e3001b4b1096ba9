"""How well a spam engine's verdicts agree with the labels of a corpus: counts, precision, recall, and both over the threshold."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mail.verdict import ScanResult, Status

POINTS = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an engine said of a message that a person called spam or ham."""

    is_spam: bool
    result: ScanResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What would be called spam from this score on: so much of it is (`precision`), so much of all spam (`recall`)."""

    threshold: float
    precision: float
    recall: float
    ham_called_spam: int


@dataclass(frozen=True, slots=True)
class Measures:
    """Over the messages that were scanned. A ratio is None where nothing could be counted."""

    verdicts: tuple[Verdict, ...]

    def count(self, *statuses: Status, is_spam: bool) -> int:
        return sum(each.is_spam is is_spam and each.result.status in statuses for each in self.verdicts)

    @property
    def unscanned(self) -> int:
        return sum(each.result.status in (Status.PROCESSING_FAILED, Status.DISABLED) for each in self.verdicts)

    def scanned(self, *, is_spam: bool) -> int:
        return self.count(Status.PASS, Status.GRAY, Status.FAIL, is_spam=is_spam)

    @property
    def precision(self) -> float | None:
        """Of what the engine called spam, the part that is."""
        right = self.count(Status.FAIL, is_spam=True)
        return _ratio(right, right + self.count(Status.FAIL, is_spam=False))

    @property
    def recall(self) -> float | None:
        """Of all spam, the part that the engine called spam; unsure is not spam."""
        return _ratio(self.count(Status.FAIL, is_spam=True), self.scanned(is_spam=True))

    def curve(self) -> tuple[Point, ...]:
        """At most `POINTS` thresholds among the scores that occur, ascending."""
        scored = [(each.result.score, each.is_spam) for each in self.verdicts if each.result.score is not None]
        total = sum(is_spam for _, is_spam in scored)
        points = []
        for threshold in _spread(sorted({score for score, _ in scored})):
            called = Counter(is_spam for score, is_spam in scored if score >= threshold)
            points.append(
                Point(
                    threshold=threshold,
                    precision=called[True] / called.total(),
                    recall=called[True] / total if total else 0.0,
                    ham_called_spam=called[False],
                )
            )
        return tuple(points)

    def as_json(self) -> dict[str, Any]:
        results = [each.result for each in self.verdicts]
        words = (Status.FAIL, Status.GRAY, Status.PASS, Status.PROCESSING_FAILED)
        return {
            "engine": _same(result.engine for result in results),
            "version": _same(result.version for result in results if result.version),
            "threshold": next((result.threshold for result in results if result.threshold is not None), None),
            "messages": len(results),
            "unscanned": self.unscanned,
            "counts": {
                name: {word.value: self.count(word, is_spam=is_spam) for word in words}
                for name, is_spam in (("spam", True), ("ham", False))
            },
            "precision": self.precision,
            "recall": self.recall,
            "curve": [
                {
                    "threshold": point.threshold,
                    "precision": point.precision,
                    "recall": point.recall,
                    "ham_called_spam": point.ham_called_spam,
                }
                for point in self.curve()
            ],
        }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _same(words: Iterable[str]) -> str:
    return ", ".join(sorted(set(words)))


def _spread(values: list[float]) -> list[float]:
    if len(values) <= POINTS:
        return values
    return [values[round(number * (len(values) - 1) / (POINTS - 1))] for number in range(POINTS)]
