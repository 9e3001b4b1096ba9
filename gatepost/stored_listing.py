"""The objects below a disk action's root in the order of their keys, a page at a time (`gatepost.stored_files` reads one).

*Trust.* Links are not followed below the root, and are no objects; nor are names that begin with a dot, sidecars and names that are
no UTF-8.
*Failure.* OSError.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from actions.object_key import SIDECAR
from gatepost.stored_files import Identity, identity_of, open_below, open_directory, read_metadata

MOST_LOOKED_AT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One object; good until the walk goes on."""

    key: str
    facts: Identity
    directory: int
    name: str

    def metadata(self) -> dict[str, str]:
        return read_metadata(Path(self.name), self.directory)


class Walk:
    """Keys that begin with `prefix` and come after `after`; those that begin with `passed` are passed over.

    `passed` may be set while the walk goes on. After `MOST_LOOKED_AT` files and directories it ends early: `cut` is how far it
    came.
    """

    def __init__(self, root: Path, prefix: str, after: str = "", passed: str = "") -> None:
        self._root, self._prefix, self._after = root, prefix, after
        self.passed = passed
        self.cut = ""
        self._last = ""
        self._left = MOST_LOOKED_AT

    def __iter__(self) -> Iterator[Entry]:
        *below, _ = self._prefix.split("/")
        with ExitStack() as stack:
            directory = open_below(self._root, below, stack)
            if directory is not None:
                yield from self._of_directory(directory, "".join(f"{part}/" for part in below))

    def _of_directory(self, directory: int, lead: str) -> Iterator[Entry]:
        for key, name in sorted(_names(directory, lead)):
            if self.cut or not self._is_wanted(key):
                continue
            self._left -= 1
            if self._left < 0:
                self.cut = self._last
                return
            self._last = key
            if key.endswith("/"):
                with ExitStack() as stack:
                    inner = open_directory(name, directory, stack)
                    if inner is not None:
                        yield from self._of_directory(inner, key)
                continue
            try:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield Entry(key=key, facts=identity_of(status), directory=directory, name=name)

    def _is_wanted(self, key: str) -> bool:
        if self.passed and key.startswith(self.passed):
            return False
        if key.endswith("/"):  # a directory: whether any key below it may be wanted
            is_within = key.startswith(self._prefix) or self._prefix.startswith(key)
            return is_within and (key > self._after or self._after.startswith(key))
        return key.startswith(self._prefix) and key > self._after


def _names(directory: int, lead: str) -> Iterator[tuple[str, str]]:
    """The key of each entry, that of a directory with a slash, as the order of keys wants it; and its name."""
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or name.endswith(SIDECAR) or not _is_text(name):
                continue
            yield (f"{lead}{name}/" if entry.is_dir(follow_symlinks=False) else lead + name), name


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
