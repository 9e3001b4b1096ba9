"""Octets that are no bytes, as those of a file are none."""

from __future__ import annotations


class Elsewhere:
    """`mail.octets.Octets`; `most` is how many were read at once."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.most = 0

    def __len__(self) -> int:
        return len(self._octets)

    def __getitem__(self, span: slice) -> bytes:
        found = self._octets[span]
        self.most = max(self.most, len(found))
        return found
