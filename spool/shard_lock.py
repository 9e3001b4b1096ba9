"""Where a shard stands, and its lock: whoever holds it is the one process that writes there (semantics.md §6).

The kernel drops it with the process, however that ends, so it is never stale.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from spool.ports import Locked
from spool.schema import create_private

SHARDS = "shards"
FILE = "spool.db"
BODIES = "bodies"
_RECHECK_SECONDS = 0.02


def shard_directory(directory: Path, shard: int) -> Path:
    return directory / SHARDS / f"{shard:02d}"


class ShardLock:
    """An exclusive flock on `DIR/shards/NN/lock`, which holds the holder's process id as text."""

    def __init__(self, shard_path: Path) -> None:
        """Raises `Locked`."""
        path = shard_path / "lock"
        create_private(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise Locked(f"{shard_path} is in use" + (f" by process {holder}" if holder.isdecimal() else "")) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)


def locked(shard_path: Path, wait_seconds: float, monotonic: Callable[[], float]) -> ShardLock:
    """The lock, waited for so long: whoever holds it may be about to die. Raises `Locked`."""
    until = monotonic() + wait_seconds
    while True:
        try:
            return ShardLock(shard_path)
        except Locked:
            if monotonic() >= until:
                raise
        time.sleep(_RECHECK_SECONDS)
