"""Octets as a library reads a file: in order, and from the beginning as often as it likes."""

import io
from typing import Any

from mail.octets import Octets


class OctetsFile(io.RawIOBase):
    def __init__(self, octets: Octets) -> None:
        self._octets = octets
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._octets[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, len(self._octets))[whence])
        return self._at
