"""How a worker ended, in words, and how long the parent waits before it starts the next one. Pure."""

import signal
from dataclasses import dataclass

DRAINED = 0
CANNOT = 3  # it said why
BROKEN = 74  # EX_IOERR of sysexits.h
_WORDS = {
    DRAINED: "ended as it was told to",
    CANNOT: "could not go on",
    BROKEN: "closed its shard because the store failed",
}


def in_words(code: int) -> str:
    """`code` is as `subprocess` tells it: negative for a signal."""
    if code >= 0:
        return _WORDS.get(code, f"ended unexpectedly, with code {code}")
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """Seconds. A worker that ran for `stable` starts anew with `first`."""

    first: float = 0.1
    most: float = 30.0
    stable: float = 60.0

    def delay(self, deaths: int, chance: float) -> float:
        """After so many deaths without a stable run between them; `chance` is a random number from [0, 1).

        Doubled each time; between half of it and all, so that workers that died together do not start together.
        """
        longest = min(self.most, self.first * 2.0 ** min(deaths - 1, 16))
        return longest * (0.5 + 0.5 * chance)

    def deaths(self, before: int, ran_seconds: float) -> int:
        """The count after one more death."""
        return 1 if ran_seconds >= self.stable else before + 1
