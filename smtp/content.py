"""The octets of one message as they arrive by DATA or BDAT: found whole chunks at a time, never line by line.

*Standards.* RFC 5321 §4.1.1.4 and §4.5.2 (the end of data, dots), RFC 3030 §2 (BDAT), RFC 5321 §2.3.8 (CRLF only).
*Trust.* A peer may send anything for ever: what exceeds the limit is counted and dropped, and reading stops at a grace beyond it.
*Failure.* None raised; `Content` says what is wrong, and the machine answers.
"""

from collections.abc import Iterator
from io import BytesIO

from mail.crlf import normalise

END = b"\r\n.\r\n"
_DOTTED = b"\r\n."
LARGE_OCTETS = 256 * 1024
TELL_OCTETS = 64 * 1024  # what a session makes of one piece should hold up nobody
_TEXT = bytes(octet for octet in range(256) if octet not in b"\r\n")
_DOT_LINE = len(b".\r\n")
_END_KEPT = len(b"\r\n")  # what is left of the end of data when its dot is removed as every other


class Content:
    """Kept up to `limit`, counted beyond it, and watched for a CR or LF that stands alone, across the borders of the pieces.

    Most messages come in one piece, which is kept as it is. More pieces are gathered in one buffer, which is handed over in the
    end without a copy. Of a large message that buffer holds only what `arrived` has not given away yet. Where it is not `strict`,
    every line end is put right as it comes.
    """

    __slots__ = (
        "_after_cr",
        "_buffer",
        "_first",
        "_large_from",
        "_limit",
        "_size",
        "_strict",
        "has_bare_newline",
        "octets",
        "told",
    )

    def __init__(self, limit: int, *, strict: bool) -> None:
        self._limit = limit
        self._strict = strict
        self._first = b""
        self._buffer: BytesIO | None = None
        self._large_from = LARGE_OCTETS
        self._size = 0  # of what is to be kept, and of what was told with it
        self._after_cr = False
        self.octets = 0
        self.told = 0
        self.has_bare_newline = False

    @property
    def is_over(self) -> bool:
        """Whether there is more of it than `limit`; dots that were doubled on the way are not of it (RFC 1870 §3)."""
        return self._size > self._limit

    @property
    def ends_with_cr(self) -> bool:
        """Whether the last octet is a CR whose LF has not come."""
        return self._after_cr

    @property
    def held(self) -> int:
        """The octets that lie in memory."""
        return 0 if self.is_over else self._size - self.told

    def add(self, piece: bytes, kept: bytes) -> None:
        """The next octets, and what is to be kept of them: all, or all but dots."""
        self.octets += len(piece)
        if not self._strict:
            kept = self._put_right(kept)
        elif piece:
            self._watch(piece)
        self._size += len(kept)
        if self._size > self._limit:
            self._first, self._buffer = b"", None
            return
        if self._buffer is not None:
            self._buffer.write(kept)
        elif not self._first:
            self._first = kept
        else:
            self._buffer = BytesIO()
            self._buffer.write(self._first)
            self._buffer.write(kept)
            self._first = b""

    def _watch(self, piece: bytes) -> None:
        # Every CR and every LF must be half of a pair; one pass counts both.
        alone = len(piece.translate(None, _TEXT)) - 2 * piece.count(b"\r\n")
        if self._after_cr:
            # The CR that ended the last piece was left open there; its LF must be the first octet of this one.
            alone -= 1
            if not piece.startswith(b"\n"):
                self.has_bare_newline = True
        self._after_cr = piece.endswith(b"\r")
        if alone != self._after_cr:
            self.has_bare_newline = True

    def _put_right(self, kept: bytes) -> bytes:
        """Every line end as CRLF. A CR at the very end is held back: the next piece may bring its LF."""
        if self._after_cr:
            kept = b"\r" + kept
        self._after_cr = kept.endswith(b"\r")
        return normalise(kept[:-1] if self._after_cr else kept)

    def arrived(self) -> Iterator[bytes]:
        """What has come since the last call, in pieces of `TELL_OCTETS`, once the message is a large one; the rest waits.

        They are kept no longer. Never the last two: they may belong to the end of data.
        """
        if self._size < self._large_from or self._buffer is None:
            return
        end = (self.held - _END_KEPT) // TELL_OCTETS * TELL_OCTETS
        if end <= 0:
            return
        octets = self._buffer.getvalue()
        self._buffer = BytesIO()
        self._buffer.write(octets[end:])
        self.told += end
        for at in range(0, end, TELL_OCTETS):
            yield octets[at : at + TELL_OCTETS]

    def unload(self) -> bool:
        """From now on it is a large one, however small it is; False where there is nothing of it here."""
        if self._buffer is None:
            if not self._first:
                return False
            self._buffer = BytesIO()
            self._buffer.write(self._first)
            self._first = b""
        self._large_from = 0
        return True

    def take(self, *, without_last: int = 0) -> bytes:
        """All that was kept and not told, once; `without_last` octets fewer at its end."""
        if self._after_cr:
            self.add(b"", b"\n")  # of content whose line ends are put right; the strict one was refused
        first, buffer = self._first, self._buffer
        self._first, self._buffer = b"", None
        if buffer is None:
            return first[: len(first) - without_last]
        buffer.truncate(self._size - self.told - without_last)
        return buffer.getvalue()


class DotContent:
    """A message sent by DATA: it ends with a line of one dot and CRLF line ends, and with nothing else.

    `feed` takes octets from a position and returns the one behind what it took. `is_finished` then says that the end was found,
    `is_exhausted` that `limit` and `grace` octets went by without it.
    """

    __slots__ = ("_bound", "_tail", "content", "is_exhausted", "is_finished")

    def __init__(self, limit: int, grace: int, *, strict: bool) -> None:
        self.content = Content(limit + _END_KEPT, strict=strict)
        self._bound = limit + _DOT_LINE + grace
        self._tail = b"\r\n"  # the end of the line "DATA": a dot line may be the first
        self.is_finished = False
        self.is_exhausted = False

    def feed(self, data: bytes, at: int) -> int:
        # Where this stops depends on positions in the stream only, so that every chunking gives the same answer.
        stop = min(len(data), at + self._bound - self.content.octets)
        tail = self._tail
        across = (tail + data[at : min(stop, at + len(END) - 1)]).find(END)
        dotted = -1
        if across >= 0:
            stop = at + across + len(END) - len(tail)
            self.is_finished = True
        else:
            # The first line that begins with a dot is the end of nearly every message: then one search was enough.
            dotted = data.find(_DOTTED, at, stop)
            inside = dotted if dotted < 0 or data.startswith(END, dotted, stop) else data.find(END, dotted, stop)
            if inside >= 0:
                stop = inside + len(END)
                self.is_finished = True
        piece = data[at:stop]
        self._tail = piece[-4:] if len(piece) >= 4 else (tail + piece)[-4:]
        self.content.add(piece, _without_dots(piece, tail, dotted - at))
        self.is_exhausted = not self.is_finished and self.content.octets >= self._bound
        return stop

    def take(self) -> bytes:
        """The message, its dots removed."""
        return self.content.take(without_last=_END_KEPT)


def _without_dots(piece: bytes, tail: bytes, dotted: int) -> bytes:
    """A piece without the dot that begins a line (RFC 5321 §4.5.2).

    `tail` is what came before it, `dotted` where the first such line's CR is inside it; below 0 there is none.
    """
    if piece.startswith(b".") and tail.endswith(b"\r\n"):
        piece, dotted = piece[1:], dotted - 1
    elif piece.startswith(b"\n.") and tail.endswith(b"\r"):
        piece, dotted = b"\n" + piece[2:], dotted - 1
    if dotted < 0:
        return piece
    if dotted == len(piece) - len(END):  # it is the only one, most often the end
        return piece[: dotted + 2] + piece[dotted + 3 :]
    return piece.replace(_DOTTED, b"\r\n")
