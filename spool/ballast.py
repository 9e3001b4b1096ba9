"""Room held back for a full disk: what was promised must go on being worked off and swept when accepts no longer fit.

A file of fixed size beside the database. When a unit that is not an accept finds the disk full, the file is deleted and the unit
tried again; from then on every accept is `Full`, until a sweep can lay the file anew. It is larger than the WAL may grow before a
checkpoint, because a checkpoint needs that much room in the database before the WAL can be used again from its start.
"""

import os
from pathlib import Path

from spool.schema import create_private

OCTETS = 16 * 2**20
_PIECE = 2**20


class Ballast:
    """`octets` 0: none is held back."""

    def __init__(self, path: Path, octets: int = OCTETS) -> None:
        self._path = path
        self._octets = octets
        self.is_held = self._stands()

    def lay(self) -> None:
        """Take the room, where a quarter as much is left beside it."""
        if not self.is_held and self._has_room():
            create_private(self._path)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            try:
                _take(descriptor, self._octets)
            except OSError:
                self._path.unlink()  # others were quicker: nothing is held, and accepts stay refused
            finally:
                os.close(descriptor)
        self.is_held = self._stands()

    def drop(self) -> bool:
        """Give the room up; False if none was held."""
        held, self.is_held = self.is_held and self._octets > 0, self._octets == 0
        self._path.unlink(missing_ok=True)
        return held

    def _stands(self) -> bool:
        return self._octets == 0 or (self._path.exists() and self._path.stat().st_size >= self._octets)

    def _has_room(self) -> bool:
        room = os.statvfs(self._path.parent)
        return room.f_bavail * room.f_frsize > self._octets * 5 // 4


def _take(descriptor: int, octets: int) -> None:
    """Blocks of the disk for so many octets; where the system cannot give them (macOS), octets to fill them."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, octets)
        return
    for start in range(0, octets, _PIECE):
        os.pwrite(descriptor, bytes(min(_PIECE, octets - start)), start)


class Room:
    """What a file system has, asked at most once a second."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._asked_at: float | None = None
        self._found = (0, 0)

    def look(self, now: float) -> tuple[int, int]:
        """Octets that are free for us, and all octets; `now` is monotonic."""
        if self._asked_at is None or now - self._asked_at >= 1.0:
            room = os.statvfs(self._directory)
            self._asked_at = now
            self._found = (room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize)
        return self._found
