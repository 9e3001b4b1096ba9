"""The octets of one message as they arrive by DATA or BDAT: found whole chunks at a time, never line by line.

*Standards.* RFC 5321 §4.1.1.4 and §4.5.2 (the end of data, dots), RFC 3030 §2 (BDAT), RFC 5321 §2.3.8 (CRLF only).
*Trust.* A peer may send anything for ever: what exceeds the limit is counted and dropped, and reading stops at a grace beyond it.
*Failure.* None raised; `Content` says what is wrong, and the machine answers.
"""

END = b"\r\n.\r\n"
_DOT_LINE = len(b".\r\n")
_COALESCE_BELOW = 4096
_COALESCE_TO = 64 * 1024


class Content:
    """Kept up to `limit`, counted beyond it, and watched for a CR or LF that stands alone, across the borders of the pieces."""

    __slots__ = ("_after_cr", "_limit", "_parts", "_strict", "has_bare_newline", "octets")

    def __init__(self, limit: int, *, strict: bool) -> None:
        self._limit = limit
        self._strict = strict
        self._parts: list[bytes | bytearray] = []
        self._after_cr = False
        self.octets = 0
        self.has_bare_newline = False

    @property
    def is_over(self) -> bool:
        return self.octets > self._limit

    @property
    def ends_with_cr(self) -> bool:
        """Whether the last octet is a CR whose LF has not come (only watched when strict)."""
        return self._after_cr

    @property
    def held(self) -> int:
        """The octets that lie in memory."""
        return 0 if self.is_over else self.octets

    def add(self, piece: bytes) -> None:
        self.octets += len(piece)
        if self._strict and piece:
            self._watch(piece)
        if self.octets > self._limit:
            self._parts.clear()
        elif len(piece) >= _COALESCE_BELOW or not self._parts:
            self._parts.append(piece)
        else:
            self._coalesce(piece)

    def _watch(self, piece: bytes) -> None:
        pairs = piece.count(b"\r\n")
        feeds = piece.count(b"\n")
        returns = piece.count(b"\r")
        if self._after_cr:
            # The CR that ended the last piece was left open there; its LF must be the first octet of this one.
            feeds -= 1
            if not piece.startswith(b"\n"):
                self.has_bare_newline = True
        self._after_cr = piece.endswith(b"\r")
        if feeds != pairs or returns - self._after_cr != pairs:
            self.has_bare_newline = True

    def _coalesce(self, piece: bytes) -> None:
        # A client that sends two octets a packet must not make us hold an object for each.
        last = self._parts[-1]
        if isinstance(last, bytearray) and len(last) < _COALESCE_TO:
            last += piece
        else:
            self._parts.append(bytearray(piece))

    def take(self, *, without_last: int = 0) -> bytes:
        """All that was kept, once; `without_last` octets fewer at its end. Copies once, or not at all if it came in one piece."""
        parts, self._parts = self._parts, []
        while without_last and parts:
            last = parts.pop()
            kept = len(last) - without_last
            if kept > 0:
                parts.append(last[:kept])
            without_last = max(0, -kept)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)


class DotContent:
    """A message sent by DATA: it ends with a line of one dot and CRLF line ends, and with nothing else.

    `feed` takes octets from a position and returns the one behind what it took. `is_finished` then says that the end was found,
    `is_exhausted` that `limit` and `grace` octets went by without it.
    """

    __slots__ = ("_bound", "_tail", "content", "is_exhausted", "is_finished")

    def __init__(self, limit: int, grace: int, *, strict: bool) -> None:
        self.content = Content(limit + _DOT_LINE, strict=strict)
        self._bound = limit + _DOT_LINE + grace
        self._tail = b"\r\n"  # the end of the line "DATA": a dot line may be the first
        self.is_finished = False
        self.is_exhausted = False

    def feed(self, data: bytes, at: int) -> int:
        # Where this stops depends on positions in the stream only, so that every chunking gives the same answer.
        stop = min(len(data), at + self._bound - self.content.octets)
        tail = self._tail
        across = (tail + data[at : min(stop, at + len(END) - 1)]).find(END)
        if across >= 0:
            stop = at + across + len(END) - len(tail)
            self.is_finished = True
        else:
            inside = data.find(END, at, stop)
            if inside >= 0:
                stop = inside + len(END)
                self.is_finished = True
        piece = data[at:stop]
        self._tail = piece[-4:] if len(piece) >= 4 else (tail + piece)[-4:]
        self.content.add(piece)
        self.is_exhausted = not self.is_finished and self.content.octets >= self._bound
        return stop

    def take(self) -> bytes:
        """The message, its dots removed (RFC 5321 §4.5.2)."""
        raw = self.content.take(without_last=_DOT_LINE)
        if raw.startswith(b"."):
            raw = raw[1:]
        return raw.replace(b"\r\n.", b"\r\n")
