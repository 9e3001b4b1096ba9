"""What a worker's C library is told about memory: glibc reads it in the environment at its start, others do not know it.

Theory of operation. Left alone, glibc gives each of a worker's dozen threads a heap of its own; and when a large buffer is freed it
takes that for the size of things to come: from then on buffers of that size (up to 32 MiB) come out of the heaps, and each
heap keeps twice as much that nobody uses. Under mixed mail every heap so comes to hold, one unlucky moment after the
other, the most that ever lay in it at once: what is in use stays the same, what is kept grows for hours. Hence one heap, which
few want at a time, since the interpreter's lock is in front of it; and limits that stand still, as they do once they are named.
"""

from collections.abc import Mapping

from smtp.content import LARGE_OCTETS

_VARIABLES = {
    "MALLOC_ARENA_MAX": "1",
    # What is larger than a message that stands in memory is mapped alone, and is gone when it is freed.
    "MALLOC_MMAP_THRESHOLD_": str(LARGE_OCTETS),
    # So much may lie free at the heap's end: less, and it is given back and fetched again with every message of 50 KB.
    "MALLOC_TRIM_THRESHOLD_": str(2**20),
}


def thrifty(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a worker. What its owner has set of these variables stays (and `GLIBC_TUNABLES` wins over them)."""
    return {**_VARIABLES, **environment}
