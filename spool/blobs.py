"""Large bodies: one file each, the whole message as it came, durable before the transaction that names it.

Written under another name, fsynced, renamed, and the directory fsynced: a file under its own name is whole. A crash before the
commit leaves a file that no row names; it is deleted when the shard is opened. Everything here blocks and runs in a thread.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from mail.errors import Misuse
from mail.ids import is_message_id
from mail.octets import Octets
from spool.arriving import NO_DESCRIPTOR, NO_ROOM, UNFINISHED, FileOctets
from spool.durable import make_durable, sync_directory, write_new
from spool.ports import Broken, Full, NotFound


class BlobFiles:
    """The files of one shard; a name is a message id."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)

    def path(self, message_id: str) -> Path:
        if not is_message_id(message_id):
            raise Misuse("a large body is named by a message id")
        return self._directory / message_id

    def keep(self, message_id: str, raw: Octets) -> None:
        """Durable under the message's name when it returns. Raises `Full`, with nothing left behind, or `Broken`.

        Octets that arrived in a file of this directory are that file from then on; any other are copied.
        """
        path = self.path(message_id)
        if path.exists():
            raise Misuse(f"the id {message_id} exists already")
        arrived = raw.unfinished if isinstance(raw, FileOctets) else None
        unfinished = arrived or path.with_name(path.name + UNFINISHED)
        try:
            if isinstance(raw, FileOctets) and arrived is not None:
                make_durable(raw.descriptor)
                raw.unfinished = None
            else:
                write_new(unfinished, raw)
            unfinished.rename(path)
            sync_directory(self._directory)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            if error.errno in NO_ROOM:
                raise Full("the disk is full") from error
            if error.errno in NO_DESCRIPTOR:
                raise Full(f"{error.strerror} (body file)") from error
            raise Broken(f"the store failed: {error.strerror} (body file)") from error

    def open(self, message_id: str) -> FileOctets:
        """Raises `NotFound`, and `Full` where there is no descriptor for it now."""
        try:
            descriptor = os.open(self.path(message_id), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"the body of {message_id} is gone") from None
        except OSError as error:
            if error.errno in NO_DESCRIPTOR:
                raise Full(f"{error.strerror} (body file)") from error
            raise
        return FileOctets(descriptor, os.fstat(descriptor).st_size)

    def remove(self, message_ids: Iterable[str]) -> None:
        for message_id in message_ids:
            self.path(message_id).unlink(missing_ok=True)

    def remove_orphans(self, is_named: Callable[[str], bool]) -> int:
        """Delete every file that no committed row names."""
        orphans = [
            entry for entry in self._directory.iterdir() if entry.suffix == UNFINISHED or not is_named(entry.name)
        ]
        for orphan in orphans:
            orphan.unlink()
        return len(orphans)
