"""A file of the state directory that is made once and then stays: a key, a secret (0600, whole or not at all)."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from mail.errors import Permanent


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """What the file holds, made first if it is not there. Of two processes that make it at once, one's stands for both.

    Raises `Permanent` for a link, and for a file that others can read or write: they could sign in our name.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _put(path, make())
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise Permanent(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            raise Permanent(f"{path} can be used by others; make a new one of it, or chmod 600")
        return file.read()


def _put(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(unfinished)
        except FileExistsError:
            return
    finally:
        unfinished.unlink()
