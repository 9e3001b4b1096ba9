"""Token statistics on disk: for each token, in how many spam and ham messages of each share of the training mail it stands.

Theory of operation. A message belongs to one of five shares, by its own digest, and each share is a model of its own (scored in
`builtin_scorer`). So one message, whatever is in it, can move one of five opinions, and no more.

The file is a header, then the hashes of all tokens in ascending order, then their counts: bisected in place through mmap, so that
nothing is loaded and a new file can take the old one's name at any time.

*Failure.* `Permanent` for a file that is no model, with what to do.
"""

import mmap
import struct
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mail.errors import Permanent

SHARES = 5
FEWEST_MESSAGES = 2  # a token in fewer messages of a share says nothing there
MAGIC = b"GPSPAM1\n"
_MARK = 0x0102030405060708  # reads otherwise on a machine of the other byte order
_HEADER = struct.Struct(f"=8sQQ32s{2 * SHARES}I")
_COUNTS = struct.Struct(f"<{2 * SHARES}I")
_HASH_OCTETS = 8

Counts = tuple[int, ...]
"""Spam and ham of each share in turn: share `i` has its spam at `2 * i`, its ham at `2 * i + 1`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Statistics to be written. `messages` are counts of messages, `tokens` those of each token by hash, packed (`add_to`)."""

    messages: Counts
    tokens: Mapping[int, int]


def packed_one(share: int, *, is_spam: bool) -> int:
    """What to add to a token's packed counts for one message."""
    return 1 << (32 * (2 * share + (0 if is_spam else 1)))


def encode(trained: Trained) -> bytes:
    """The bytes of a model: the same for the same statistics."""
    hashes = sorted(trained.tokens)
    body = b"".join(
        (
            *(token.to_bytes(_HASH_OCTETS, sys.byteorder) for token in hashes),
            *(trained.tokens[token].to_bytes(_COUNTS.size, "little") for token in hashes),
        )
    )
    digest = sha256(struct.pack(f"<{2 * SHARES}I", *trained.messages) + body).digest()
    return _HEADER.pack(MAGIC, _MARK, len(hashes), digest, *trained.messages) + body


class TokenModel:
    """A model that is being read. `version` is the digest of its content."""

    def __init__(self, path: Path) -> None:
        """Raises `Permanent` for what is no model, OSError for what cannot be read."""
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
            size = path.stat().st_size
            if len(head) < _HEADER.size or not head.startswith(MAGIC):
                raise Permanent(f"{path} is no spam model of this version; train again")
            _, mark, entries, digest, *messages = _HEADER.unpack(head)
            if mark != _MARK:
                raise Permanent(f"{path} was trained on a machine of another byte order; train again")
            if size != _HEADER.size + entries * (_HASH_OCTETS + _COUNTS.size):
                raise Permanent(f"{path} is not complete; train again")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._counts_at = _HEADER.size + entries * _HASH_OCTETS
        self._hashes = memoryview(self._map)[_HEADER.size : self._counts_at].cast("Q")
        self.messages: Counts = tuple(messages)
        self.version: str = digest.hex()[:16]

    @property
    def spam_messages(self) -> int:
        return sum(self.messages[::2])

    @property
    def ham_messages(self) -> int:
        return sum(self.messages[1::2])

    def counts(self, token: int) -> Counts | None:
        """The counts of a token by its hash; None if training met it too rarely to keep it."""
        index = bisect_left(self._hashes, token)
        if index == len(self._hashes) or self._hashes[index] != token:
            return None
        return _COUNTS.unpack_from(self._map, self._counts_at + index * _COUNTS.size)

    def tokens(self) -> Iterator[tuple[int, int]]:
        """Every token by its hash, with its counts packed as in `Trained`."""
        for index, token in enumerate(self._hashes):
            at = self._counts_at + index * _COUNTS.size
            yield token, int.from_bytes(self._map[at : at + _COUNTS.size], "little")

    def close(self) -> None:
        self._hashes.release()
        self._map.close()


class ModelFile:
    """The model at a path, opened when it is asked for and again when another file has taken its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._model: TokenModel | None = None

    def current(self) -> TokenModel | None:
        """The model, None where nothing was trained yet. Raises `Permanent`, OSError."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self.close()
            return None
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen or self._model is None:
            self.close()
            self._model = TokenModel(self._path)
            self._seen = seen
        return self._model

    def close(self) -> None:
        if self._model is not None:
            self._model.close()
        self._model = self._seen = None
