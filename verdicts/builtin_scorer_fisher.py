"""How spammy a message's tokens are together: Robinson's estimate for each, Fisher's method for all.

*Source.* G. Robinson, "A Statistical Approach to the Spam Problem", Linux Journal 107 (2003); SpamBayes, whose constants these are
but for the limits on a single token.
"""

import math
from collections.abc import Iterable

from verdicts.token_model import FEWEST_MESSAGES

STRENGTH = 0.45  # of the assumption that a token says nothing
LEAST, MOST = 0.02, 0.98  # no token alone says more
CLUES = 150
_DULL = 0.1


def probability(spam: int, ham: int, spam_messages: int, ham_messages: int) -> float:
    """That a message with this token is spam, as far as this share knows; 0.5 is not known."""
    seen = spam + ham
    if seen < FEWEST_MESSAGES:
        return 0.5
    in_spam, in_ham = spam / spam_messages, ham / ham_messages
    estimate = (STRENGTH * 0.5 + seen * in_spam / (in_spam + in_ham)) / (STRENGTH + seen)
    return min(MOST, max(LEAST, estimate))


def combined(probabilities: Iterable[float]) -> float:
    """Fisher's method over the clearest clues, from 0 (ham) to 1 (spam); 0.5 where there are none or they contradict."""
    clues = sorted((each for each in probabilities if abs(each - 0.5) >= _DULL), key=_clearest)[:CLUES]
    if not clues:
        return 0.5
    spam = _chi_square_tail(-2.0 * math.fsum(math.log(1.0 - each) for each in clues), len(clues))
    ham = _chi_square_tail(-2.0 * math.fsum(math.log(each) for each in clues), len(clues))
    return (1.0 + ham - spam) / 2.0


def _clearest(value: float) -> tuple[float, float]:
    return -abs(value - 0.5), value


def _chi_square_tail(value: float, pairs: int) -> float:
    """The chance that chi-square with `2 * pairs` degrees of freedom exceeds `value`."""
    half = value / 2.0
    term = math.exp(-half)
    total = term
    for step in range(1, pairs):
        term *= half / step
        total += term
    return min(1.0, total)
