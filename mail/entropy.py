"""Random bytes for ids, drawn in larger pieces: each draw is a system call, during which another thread may take the lock."""

from collections.abc import Callable

_DRAWN_OCTETS = 4096


def entropy(draw: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A source of random bytes over `draw` (`secrets.token_bytes`). What it gave is never given again.

    It belongs to one thread of one process: a fork would give the same bytes again.
    """
    pool = memoryview(b"")

    def take(octets: int) -> bytes:
        nonlocal pool
        if len(pool) < octets:
            pool = memoryview(draw(max(_DRAWN_OCTETS, octets)))
        taken, pool = bytes(pool[:octets]), pool[octets:]
        return taken

    return take
