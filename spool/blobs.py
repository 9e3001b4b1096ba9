"""Large bodies: one file each, the whole message as it came, durable before the transaction that names it.

Written under another name, fsynced, renamed, and the directory fsynced: a file under its own name is whole. A crash before the
commit leaves a file that no row names; it is deleted when the shard is opened. Everything here blocks and runs in a thread.
"""

import errno
from collections.abc import Callable, Iterable
from pathlib import Path

from mail.errors import Misuse
from mail.ids import is_message_id
from spool.durable import sync_directory, write_new
from spool.ports import Broken, Full

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_UNFINISHED = ".tmp"


class BlobFiles:
    """The files of one shard; a name is a message id."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)

    def path(self, message_id: str) -> Path:
        if not is_message_id(message_id):
            raise Misuse("a large body is named by a message id")
        return self._directory / message_id

    def write(self, message_id: str, raw: bytes) -> None:
        """Durable when it returns. Raises `Full`, with nothing left behind, or `Broken`."""
        path = self.path(message_id)
        if path.exists():
            raise Misuse(f"the id {message_id} exists already")
        unfinished = path.with_name(path.name + _UNFINISHED)
        try:
            write_new(unfinished, raw)
            unfinished.rename(path)
            sync_directory(self._directory)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            if error.errno in _NO_ROOM:
                raise Full("the disk is full") from error
            raise Broken(f"the store failed: {error.strerror} (body file)") from error

    def read(self, message_id: str) -> bytes | None:
        """None when the file is gone."""
        try:
            return self.path(message_id).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, message_ids: Iterable[str]) -> None:
        for message_id in message_ids:
            self.path(message_id).unlink(missing_ok=True)

    def remove_orphans(self, is_named: Callable[[str], bool]) -> int:
        """Delete every file that no committed row names."""
        orphans = [
            entry for entry in self._directory.iterdir() if entry.suffix == _UNFINISHED or not is_named(entry.name)
        ]
        for orphan in orphans:
            orphan.unlink()
        return len(orphans)
