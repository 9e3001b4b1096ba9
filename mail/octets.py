"""The octets of a message, wherever they stand: in memory, or those of a large one in a file that is read a piece at a time.

*Trust.* Nothing here looks at what the octets say, but for the blank line that ends a header section.
*Failure.* OSError where they stand in a file that cannot be read.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

PIECE_OCTETS = 128 * 1024
_BLANK = b"\r\n\r\n"


class Octets(Protocol):
    """`bytes` are one. Of any other a slice is read where it stands, which may wait for a disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, span: slice, /) -> bytes: ...


def pieces(octets: Octets, start: int = 0, size: int = PIECE_OCTETS) -> Iterator[bytes]:
    """All of them from `start` on, in order."""
    for at in range(start, len(octets), size):
        yield octets[at : at + size]


def whole(octets: Octets) -> bytes:
    """All of them in memory."""
    return octets[:]


def sha256(octets: Octets) -> str:
    """In hex."""
    digest = hashlib.sha256()
    for piece in pieces(octets):
        digest.update(piece)
    return digest.hexdigest()


def header_section(raw: Octets, most: int = 2**40) -> bytes:
    """What begins with the header section and its blank line; where that does not come, everything up to `most`."""
    if isinstance(raw, bytes):
        return raw
    size = PIECE_OCTETS
    while True:
        head = raw[: min(size, most)]
        if len(head) < size or _BLANK in head:
            return head
        size *= 4


class Spliced:
    """Octets of several sources behind one another, none of them copied; each is (source, start, end)."""

    def __init__(self, spans: Sequence[tuple[Octets, int, int]]) -> None:
        self._spans = [span for span in spans if span[1] < span[2]]
        self._octets = sum(end - start for _, start, end in self._spans)

    def __len__(self) -> int:
        return self._octets

    def __getitem__(self, span: slice, /) -> bytes:
        at, stop, step = span.indices(self._octets)
        if step != 1:
            raise ValueError("octets are read in order")
        found: list[bytes] = []
        for source, start, end in self._spans:
            if at >= stop:
                break
            length = end - start
            if at < length:
                found.append(source[start + max(at, 0) : start + min(stop, length)])
                at = min(stop, length)
            at, stop = at - length, stop - length
        return b"".join(found)


def spliced(prefix: bytes, raw: Octets, cut: Sequence[tuple[int, int]]) -> Octets:
    """`prefix`, then `raw` without these spans, which are ordered and do not overlap: bytes where `raw` is."""
    kept: list[tuple[Octets, int, int]] = []
    position = 0
    for start, end in cut:
        kept.append((raw, position, start))
        position = end
    if isinstance(raw, bytes):
        return b"".join((prefix, *(raw[start:end] for _, start, end in kept), raw[position:]))
    return Spliced([(prefix, 0, len(prefix)), *kept, (raw, position, len(raw))])
