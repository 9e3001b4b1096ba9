"""Files that are there whole or not at all, for us alone (0600): a key or a secret that is made once and then stays, and others.

*Failure.* OSError, with what stood there untouched.
"""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from mail.errors import Permanent
from spool.durable import sync_directory, write_new


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
    unfinished = _unfinished(path)
    try:
        write_new(unfinished, content)
        path.hardlink_to(unfinished)
    except FileExistsError:
        return
    finally:
        unfinished.unlink(missing_ok=True)


def replace_whole(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Put it in the place of what stood there, a link too: a reader has the old content or the new. Durable when this returns."""
    unfinished = _unfinished(path)
    try:
        write_new(unfinished, content, durable=durable)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}")
