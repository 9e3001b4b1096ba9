"""Training: messages that a person called spam or ham become token statistics.

The result depends on the set of messages and on nothing else: not on their order, nor on how often one of them is given. A message
that is given as spam and as ham is left out.

*Trust.* Labels are the operator's, messages are strangers'. What one message can do is bounded (`verdicts.token_model`).
"""

from collections import Counter
from hashlib import sha256

from mail.headers import parse_header
from verdicts.token_model import FEWEST_MESSAGES, SHARES, TokenModel, Trained, packed_one
from verdicts.token_text import read_text
from verdicts.token_words import token_hash, tokens_of

_FIELD = (1 << 32) - 1


class Tally:
    """Statistics under way. `messages` that count, by label (True: spam); `duplicates` and `contradicted` do not."""

    def __init__(self) -> None:
        self.messages = Counter[bool]()
        self.duplicates = 0
        self.contradicted = 0
        self._labels: dict[bytes, bool | None] = {}
        self._shares = [0] * (2 * SHARES)
        self._tokens: dict[int, int] = {}

    def add(self, raw: bytes, *, is_spam: bool) -> None:
        """Count one message, as on the wire (CRLF)."""
        digest = sha256(raw).digest()
        known = digest in self._labels
        label = self._labels.get(digest)
        if not known:
            self._labels[digest] = is_spam
            self._count(raw, digest, is_spam=is_spam, by=1)
        elif label is None or label is is_spam:
            self.duplicates += 1
        else:
            self._labels[digest] = None
            self.contradicted += 1
            self._count(raw, digest, is_spam=label, by=-1)

    def trained(self) -> Trained:
        """What is known now, without the tokens that are too rare to say anything in any share."""
        kept = {token: counts for token, counts in self._tokens.items() if _is_frequent(counts)}
        return Trained(messages=tuple(self._shares), tokens=kept)

    def _count(self, raw: bytes, digest: bytes, *, is_spam: bool, by: int) -> None:
        share = share_of(digest)
        one = by * packed_one(share, is_spam=is_spam)
        self.messages[is_spam] += by
        self._shares[2 * share + (0 if is_spam else 1)] += by
        for token in tokens_of(parse_header(raw), read_text(raw)):
            name = token_hash(token)
            self._tokens[name] = self._tokens.get(name, 0) + one


def with_one(model: TokenModel | None, raw: bytes, *, is_spam: bool) -> Trained:
    """The statistics of a model and one message more. Whether it was counted before is the caller's to know.

    Tokens that only this message has are kept, so that messages which come one by one add up.
    """
    share = share_of(sha256(raw).digest())
    one = packed_one(share, is_spam=is_spam)
    messages = list(model.messages if model is not None else (0,) * (2 * SHARES))
    messages[2 * share + (0 if is_spam else 1)] += 1
    tokens = dict(model.tokens()) if model is not None else {}
    for token in tokens_of(parse_header(raw), read_text(raw)):
        name = token_hash(token)
        tokens[name] = tokens.get(name, 0) + one
    return Trained(messages=tuple(messages), tokens=tokens)


def share_of(digest: bytes) -> int:
    """The share that a message belongs to, by the SHA-256 of its bytes."""
    return int.from_bytes(digest[:8], "big") % SHARES


def _is_frequent(counts: int) -> bool:
    while counts:
        if (counts & _FIELD) + (counts >> 32 & _FIELD) >= FEWEST_MESSAGES:
            return True
        counts >>= 64
    return False
