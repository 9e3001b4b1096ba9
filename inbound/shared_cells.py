"""A small hash table in a file that processes map together: fixed in size, found by a keyed hash, never locked.

*Trust.* Keys are a stranger's (addresses, domains): the hash is keyed with a secret in the file, so that nobody can choose
keys that fall together. *Failure.* `OSError` where the file cannot be made.

A cell is two numbers of 64 bits: the key's tag, 0 where it is free, and a value. Eight octets are written at once; a reader
that sees a tag with the value of the one before is wrong for a moment, and by one key.
"""

import hashlib
import mmap
import os
import secrets
from functools import lru_cache
from pathlib import Path

_MAGIC = b"gpcells1"
_SECRET_OCTETS = 16
_HEADER_OCTETS = 64
WAYS = 4  # cells of a bucket: one cache line
_CELL_WORDS = 2
_KEPT_TAGS = 4096


class SharedCells:
    """`columns` tables of `buckets` x 4 cells in one file. The words of a cell are `words[at]` (tag) and `words[at + 1]`."""

    def __init__(self, path: Path, *, columns: int, buckets: int) -> None:
        self._buckets = buckets
        self._column_words = buckets * WAYS * _CELL_WORDS
        octets = _HEADER_OCTETS + columns * self._column_words * 8
        with path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size != octets:
                raise ValueError(f"{path} is not of this size")
            self._map = mmap.mmap(file.fileno(), octets)
        if self._map[: len(_MAGIC)] != _MAGIC:
            raise ValueError(f"{path} is not ours")
        self._secret = self._map[16 : 16 + _SECRET_OCTETS]
        self.tag = lru_cache(maxsize=_KEPT_TAGS)(
            self._tag
        )  # what is counted when it comes is counted again when it goes
        self.words: memoryview[int] = memoryview(self._map)[_HEADER_OCTETS:].cast("Q")

    def close(self) -> None:
        self.words.release()
        self._map.close()

    def _tag(self, key: str) -> int:
        """What stands for the key; never 0."""
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=self._secret).digest()
        return int.from_bytes(digest, "little") or 1

    def bucket(self, column: int, tag: int) -> range:
        """Where the cells that may hold this tag stand in `words`."""
        start = column * self._column_words + tag % self._buckets * WAYS * _CELL_WORDS
        return range(start, start + WAYS * _CELL_WORDS, _CELL_WORDS)

    def wipe(self, column: int) -> None:
        """Free every cell of the column."""
        start = _HEADER_OCTETS + column * self._column_words * 8
        self._map[start : start + self._column_words * 8] = bytes(self._column_words * 8)


def create_cells(path: Path, *, columns: int, buckets: int) -> None:
    """An empty file under this name, put there whole: who had the old one mapped keeps that."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_MAGIC.ljust(16, b"\0") + secrets.token_bytes(_SECRET_OCTETS))
        file.truncate(_HEADER_OCTETS + columns * buckets * WAYS * _CELL_WORDS * 8)
    unfinished.replace(path)
