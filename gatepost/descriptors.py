"""How many files a process may have open: shells allow 1,024, and `smtp.connections` alone is 5,000."""

import contextlib
import resource
import sys

_ENOUGH = 65_536  # as the unit of systemd has it


def attainable() -> int:
    """What `raise_limit` comes to, where the system agrees."""
    soft, hard = (
        sys.maxsize if limit == resource.RLIM_INFINITY else limit
        for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return max(soft, min(hard, _ENOUGH))


def raise_limit() -> None:
    """For this process and all that it starts. Where the system does not agree it stays, and `gatepost doctor` says so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        with contextlib.suppress(OSError, ValueError):  # macOS has a limit of its own below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (attainable(), hard))
