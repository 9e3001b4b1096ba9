"""Octets on the disk itself, on every system.

*Standards.* POSIX fsync; Apple's fcntl(2): fsync stops at the drive's cache, F_FULLFSYNC does not.
*Failure.* OSError. It is never tried again (semantics.md §6).
"""

import errno
import fcntl
import os

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
