"""A large message on its way into the spool: written into a file of the shard while it comes, and read from there ever after.

The file stands among the bodies under a name that means nothing; the next opening of the shard deletes it, whatever became of the
process. `BlobFiles.keep` gives it the message's name, and none of it is copied.

*Failure.* `Full` where there is no room, or no descriptor, for this message; `Broken` for any other failure of the disk. After
either what still comes is for nothing.
"""

import asyncio
import errno
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spool.durable import write_all
from spool.ports import Broken, Full

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
UNFINISHED = ".tmp"
WRITE_OCTETS = 256 * 1024
_THREADS = 2  # they copy into the page cache; where they wait for the disk, more of them would wait for the same one


class FileOctets:
    """`mail.octets.Octets` of a file, which may lose its name before; it is closed when nobody refers to it any more.

    `unfinished` is where it stands until the spool has accepted it.
    """

    __slots__ = ("_octets", "descriptor", "unfinished")

    def __init__(self, descriptor: int, octets: int, unfinished: Path | None = None) -> None:
        self.descriptor = descriptor
        self.unfinished = unfinished
        self._octets = octets

    def __len__(self) -> int:
        return self._octets

    def __getitem__(self, span: slice, /) -> bytes:
        start, stop, step = span.indices(self._octets)
        if step != 1:
            raise ValueError("octets are read in order")
        found = b""
        while len(found) < stop - start:  # one read of a regular file ends at 2 GiB
            more = os.pread(self.descriptor, stop - start - len(found), start + len(found))
            if not more:
                raise OSError(errno.EIO, "the file is shorter than it was")
            found = found + more if found else more
        return found

    def __del__(self) -> None:
        os.close(self.descriptor)

    def append(self, parts: list[bytes]) -> None:
        for part in parts:
            write_all(self.descriptor, part)
            self._octets += len(part)


class ArrivingFile:
    """`spool.ports.Arriving`. `broke` is told of a failure that is the disk's and not this message's."""

    def __init__(self, path: Path, threads: ThreadPoolExecutor, broke: Callable[[Broken], None]) -> None:
        self._path = path
        self._threads = threads
        self._broke = broke
        self._file: FileOctets | None = None
        self._gathered: list[bytes] = []
        self._octets = 0  # in `_gathered`
        self._writing: asyncio.Future[None] | None = None

    async def write(self, piece: bytes) -> None:
        self._gathered.append(piece)
        self._octets += len(piece)
        if self._octets >= WRITE_OCTETS:
            await self._flush()

    async def finish(self) -> FileOctets:
        await self._flush()
        await self._written()
        assert self._file is not None
        return self._file

    async def discard(self) -> None:
        if self._writing is not None:
            await asyncio.wait((self._writing,))
            self._writing.exception()  # whoever discards it has heard of that, or need not
            self._writing = None
        file, self._file = self._file, None
        self._gathered.clear()
        if file is not None and file.unfinished is not None:
            file.unfinished = None
            await asyncio.get_running_loop().run_in_executor(self._threads, self._path.unlink, True)

    async def _flush(self) -> None:
        """Have written what has gathered; at most this much more is in memory until the next call."""
        await self._written()
        gathered, self._gathered, self._octets = self._gathered, [], 0
        self._writing = asyncio.get_running_loop().run_in_executor(self._threads, self._write, gathered)

    async def _written(self) -> None:
        if self._writing is not None:
            try:
                await asyncio.shield(self._writing)
            except Broken as failure:
                self._broke(failure)
                raise

    def _write(self, parts: list[bytes]) -> None:
        try:
            if self._file is None:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                self._file = FileOctets(descriptor, 0, self._path)
            self._file.append(parts)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise Full("the disk is full") from error
            if error.errno in NO_DESCRIPTOR:
                raise Full(f"{error.strerror} (body file)") from error
            raise Broken(f"the store failed: {error.strerror} (body file)") from error


class Arrivals:
    """The arriving files of one shard, in the directory of its bodies. Belongs to one event loop."""

    def __init__(self, directory: Path, broke: Callable[[Broken], None]) -> None:
        self._directory = directory
        self._broke = broke
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="arriving")
        self._numbers = itertools.count(1)

    def begin(self) -> ArrivingFile:
        path = self._directory / f"arriving-{next(self._numbers)}{UNFINISHED}"
        return ArrivingFile(path, self._threads, self._broke)

    def close(self) -> None:
        """Blocks until what was begun is written."""
        self._threads.shutdown()


class MemoryArriving:
    """The in-memory twin: `room_octets` are what is left of its disk."""

    def __init__(self, room_octets: int | None) -> None:
        self._room_octets = room_octets
        self._raw = bytearray()

    async def write(self, piece: bytes) -> None:
        self._raw += piece
        if self._room_octets is not None and len(self._raw) > self._room_octets:
            raise Full("the disk is full")

    async def finish(self) -> bytes:
        return bytes(self._raw)

    async def discard(self) -> None:
        self._raw.clear()
