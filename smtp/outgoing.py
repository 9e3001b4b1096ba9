"""A message as it goes out by DATA: its dots doubled, a piece at a time (RFC 5321 §4.5.2)."""

import asyncio
from collections.abc import AsyncIterator

from mail.octets import PIECE_OCTETS, Octets, pieces


async def stuffed(raw: Octets) -> AsyncIterator[bytes]:
    """The message with the dot that ends it; what stands in a file is read beside the loop."""
    tail = b"\r\n"
    for start in range(0, len(raw), PIECE_OCTETS):
        span = slice(start, start + PIECE_OCTETS)
        piece = raw[span] if isinstance(raw, bytes) else await asyncio.to_thread(raw.__getitem__, span)
        doubled = piece.replace(b"\r\n.", b"\r\n..")
        if tail.endswith(b"\r\n") and piece.startswith(b"."):
            doubled = b"." + doubled
        elif tail.endswith(b"\r") and piece.startswith(b"\n."):
            doubled = b"\n." + doubled[1:]
        tail = (tail + piece[-2:])[-2:]
        is_last = span.stop >= len(raw)
        yield doubled + (_end(tail) if is_last else b"")
    if not len(raw):
        yield _end(tail)


def _end(tail: bytes) -> bytes:
    return b".\r\n" if tail == b"\r\n" else b"\r\n.\r\n"


async def is_ascii(raw: Octets) -> bool:
    if isinstance(raw, bytes):
        return raw.isascii()
    return await asyncio.to_thread(lambda: all(piece.isascii() for piece in pieces(raw)))
