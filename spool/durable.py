"""Octets on the disk itself, on every system.

*Standards.* POSIX fsync; Apple's fcntl(2): fsync stops at the drive's cache, F_FULLFSYNC does not.
*Failure.* OSError. It is never tried again (semantics.md §6).
"""

import errno
import fcntl
import os
from pathlib import Path

from mail.octets import Octets, pieces

# A file system without F_FULLFSYNC (a network share, say) answers one of these, and has fsync.
_UNKNOWN = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY})


def make_durable(descriptor: int) -> None:
    """What was written to this file, or the names in this directory, outlive a power cut."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(descriptor, full)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
        else:
            return
    os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        make_durable(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, octets: bytes) -> None:
    """A disk that fills up, or a signal, may end a write before its end."""
    rest = memoryview(octets)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def write_new(name: str | Path, content: Octets, *, directory: int | None = None, durable: bool = True) -> None:
    """A file that was not there, 0600; `directory` is the descriptor that `name` is below. Its name is not durable by this.

    Raises FileExistsError, for a link too; where anything else fails, a part of it may stand there.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        for piece in pieces(content):
            write_all(descriptor, piece)
        if durable:
            make_durable(descriptor)
    finally:
        os.close(descriptor)
