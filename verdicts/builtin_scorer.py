"""A spam engine without a daemon: token statistics of the operator's own mail, and points for what the other checks found.

It is basic, and only as good as what it was trained with: nothing comes with it. Below 200 spam and 200 ham messages it says GRAY.

Theory of operation. The score runs from 0 to 100. Each of five shares of the training mail has its opinion
(`builtin_scorer_fisher`), and the score is their mean plus points (`builtin_scorer_features`). A training message belongs to one
share, so adding or removing one, whatever it holds, moves no score by more than `INFLUENCE`; and since PASS and FAIL are further
apart, it turns neither into the other.

*Trust.* The message is hostile, and so may be some of the mail that a person trained with.
*Failure.* A model that cannot be read is PROCESSING_FAILED. A list of domains that does not answer lists nothing.
"""

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path

from mail.errors import Permanent
from mail.message import Message
from mail.verdict import ScanResult, Status
from verdicts.builtin_scorer_features import Found, features, link_features
from verdicts.builtin_scorer_fisher import combined, probability
from verdicts.dns_lists import DnsList
from verdicts.gtube import GTUBE, gtube_result
from verdicts.inquiry import QUERIES, Ask
from verdicts.token_model import SHARES, Counts, ModelFile, TokenModel
from verdicts.token_text import RAW_OCTETS, MessageText, read_text
from verdicts.token_words import token_hash, tokens_of

NAME = "builtin"
ENOUGH = 200
THRESHOLD = 70.0
UNSURE = 30.0  # below the threshold: neither spam nor ham
INFLUENCE = 100.0 / SHARES
_SHOWN = 10
_LARGE_OCTETS = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMessage:
    """A message as the scorer sees it."""

    tokens: tuple[str, ...]
    domains: tuple[str, ...]
    is_gtube: bool


class BuiltinScorer:
    """The engine over one model file. `lists` are DNS lists of domains."""

    name = NAME

    def __init__(self, model: Path, *, lists: tuple[DnsList, ...] = (), threshold: float | None = None) -> None:
        self._model = ModelFile(model)
        self._lists = lists
        self._threshold = THRESHOLD if threshold is None else threshold

    async def read(self, message: Message) -> ReadMessage:
        """Large messages are read by a thread, so that no session waits for them."""
        if len(message.raw) <= _LARGE_OCTETS:
            return _read(message)
        return await asyncio.to_thread(_read, message)

    def score(self, ask: Ask, read: ReadMessage, found: Found) -> ScanResult:
        """The opinion on a message. Raises what `Ask` does."""
        if read.is_gtube:
            return gtube_result(self.name)
        # A list is asked about as many domains as the questions allow.
        each = QUERIES["spam"] // max(1, len(self._lists))
        links = link_features(ask, self._lists, read.domains[:each]) if self._lists else {}
        try:
            model = self._model.current()
        except (Permanent, OSError) as error:
            return ScanResult(status=Status.PROCESSING_FAILED, engine=self.name, reason=str(error))
        points = {**features(found), **links}
        opinions, clues = _opinions(model, read.tokens)
        value = 100.0 * math.fsum(opinions) / len(opinions) + sum(points.values())
        score = round(min(100.0, max(0.0, value)), 2)
        lacking = _lacking(model)
        return ScanResult(
            status=Status.GRAY if lacking else self._status(score),
            engine=self.name,
            version="" if model is None else model.version,
            reason=lacking,
            score=score,
            threshold=self._threshold,
            symbols=(*points, *clues),
        )

    def _status(self, score: float) -> Status:
        if score >= self._threshold:
            return Status.FAIL
        return Status.GRAY if score >= self._threshold - UNSURE else Status.PASS

    def close(self) -> None:
        self._model.close()


def _read(message: Message) -> ReadMessage:
    text: MessageText = read_text(message.raw[:RAW_OCTETS])
    return ReadMessage(
        tokens=tokens_of(message.header, text), domains=text.domains, is_gtube=GTUBE.decode("ascii") in text.text
    )


def _opinions(model: TokenModel | None, tokens: tuple[str, ...]) -> tuple[list[float], tuple[str, ...]]:
    """What each share says of these tokens, from 0 (ham) to 1 (spam), and the tokens that said most."""
    if model is None:
        return [0.5], ()
    known = {token: counts for token in tokens if (counts := model.counts(token_hash(token))) is not None}
    by_share: list[list[float]] = [
        [
            probability(counts[at], counts[at + 1], model.messages[at], model.messages[at + 1])
            for counts in known.values()
        ]
        if model.messages[at] and model.messages[at + 1]
        else []
        for at in range(0, 2 * SHARES, 2)
    ]
    return [combined(values) for values in by_share], _clues(known, by_share)


def _clues(known: dict[str, Counts], by_share: list[list[float]]) -> tuple[str, ...]:
    said = [values for values in by_share if values]
    weights = {token: sum(values[index] - 0.5 for values in said) for index, token in enumerate(known)}
    clearest = sorted((token for token in weights if weights[token]), key=lambda token: (-abs(weights[token]), token))
    return tuple(f"{'spam' if weights[token] > 0 else 'ham'}:{token}" for token in clearest[:_SHOWN])


def _lacking(model: TokenModel | None) -> str:
    if model is None:
        return "not trained: see gatepost train"
    if model.spam_messages < ENOUGH or model.ham_messages < ENOUGH:
        trained = f"{model.spam_messages} spam and {model.ham_messages} ham messages"
        return f"trained with {trained}; {ENOUGH} of each are needed"
    return ""
