"""A message as a file of a Maildir: whole and durable before its name is in `new`, and there once however often it is written.

*Standards.* The maildir form (tmp, new, cur; unique names), with our idempotency key in place of process id and counter.
*Trust.* Names are hashes; whoever may write into the mailbox could put a link in our way, so none is followed below it.
*Failure.* OSError, and then `new` does not have it.
"""

import hashlib
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from mail.octets import Octets
from spool.durable import make_durable, write_new

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]")


def file_name(key: str, seconds: int, hostname: str) -> str:
    """The same for the same key, and for no other one."""
    return (
        f"{seconds}.{hashlib.sha256(key.encode()).hexdigest()[:32]}.{_NOT_IN_NAMES.sub('_', hostname) or 'localhost'}"
    )


def write(path: Path, name: str, content: Octets) -> bool:
    """Durable in `path/new` when this returns; False where it is there already, read (in `cur`) or not."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened: dict[str, int] = {}
    try:
        opened[""] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for each in ("tmp", "new", "cur"):
            opened[each] = _enter(opened[""], each)
        if _has(opened["new"], opened["cur"], name):
            return False
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=opened["tmp"])  # what an attempt left that was cut off
        write_new(name, content, directory=opened["tmp"])
        os.rename(name, name, src_dir_fd=opened["tmp"], dst_dir_fd=opened["new"])
        make_durable(opened["new"])
        return True
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def _enter(parent: int, name: str) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
        make_durable(parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def _has(new: int, cur: int, name: str) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISREG(os.stat(name, dir_fd=new, follow_symlinks=False).st_mode)
    # A reader moves it to cur and puts its flags behind a colon, which may be any.
    with os.scandir(cur) as entries:
        return any(entry.name == name or entry.name.startswith(name + ":") for entry in entries)
