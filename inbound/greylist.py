"""Greylisting (RFC 6647): who comes for the first time is asked to come again, which those who do not queue never do.

*Trust.* The triplet is a stranger's, and may be new for ever: the table is of fixed size, and the oldest makes way.
*Failure.* A table that is lost, or that a crash cut short, costs one more delay and nothing else.

The table is one file that all workers map and that outlives them. A triplet is the client's network, the reverse-path and the
recipient; its cell holds when it was first seen (upper half, seconds since 1970) and when it last passed (lower half, 0: never).
"""

from dataclasses import dataclass
from pathlib import Path

from inbound.shared_cells import SharedCells, create_cells
from mail.address import Mailbox
from smtp.door import network_of

BUCKETS = 65_536  # 262,144 triplets in 4 MiB
_HALF_BITS = 32
_HALF = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class GreylistSettings:
    """Seconds: the first attempt waits `wait`, the next must come `retry_within` of it, and then the triplet is known for `keep`
    after its last message."""

    wait: int
    retry_within: int
    keep: int


class Greylist:
    def __init__(self, path: Path, settings: GreylistSettings, *, buckets: int = BUCKETS) -> None:
        """The table of this file, which is made if there is none, or none of this kind. Raises `OSError`."""
        try:
            self._cells = SharedCells(path, columns=1, buckets=buckets)
        except (FileNotFoundError, ValueError):
            create_cells(path, columns=1, buckets=buckets)
            self._cells = SharedCells(path, columns=1, buckets=buckets)
        self._settings = settings

    def wait_for(self, ip: str, reverse_path: Mailbox | None, recipient: Mailbox, now: float) -> int:
        """The seconds that this triplet must still wait; 0 where it may pass. `now` is in seconds since 1970."""
        moment = int(now)
        sender = "" if reverse_path is None else str(reverse_path).lower()
        tag = self._cells.tag(f"{network_of(ip)}\n{sender}\n{str(recipient).lower()}")
        words = self._cells.words
        places = self._cells.bucket(0, tag)
        at = next((place for place in places if words[place] == tag), None)
        if at is not None:
            first = words[at + 1] >> _HALF_BITS
            passed = words[at + 1] & _HALF
            if passed and moment - passed <= self._settings.keep:
                words[at + 1] = _value(first, moment)
                return 0
            if not passed and moment - first <= self._settings.retry_within:
                left = max(0, first + self._settings.wait - moment)
                if left == 0:
                    words[at + 1] = _value(first, moment)
                return left
        else:
            # Free cells have value 0 and are the oldest.
            at = min(places, key=lambda place: _last_seen(words[place + 1]))
        words[at + 1] = _value(moment, 0)
        words[at] = tag
        return self._settings.wait


def _value(first: int, passed: int) -> int:
    return first << _HALF_BITS | passed


def _last_seen(value: int) -> int:
    return max(value >> _HALF_BITS, value & _HALF)
