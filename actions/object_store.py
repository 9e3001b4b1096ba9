"""Files that are durable when `put` returns, written in batches (semantics.md §6).

Theory of operation. Each root has rounds of its own, so that one that hangs holds up no other. In a round the objects whose
contents became durable in the round before get their names, what has gathered meanwhile is written into temporary files, and then
one `syncfs` for each file system makes both durable. So after a power cut a name never stands for half a message, a lone object
takes two syncs, and in a burst each sync serves the contents of one batch and the names of the one before.

A sync waits in a thread. The other calls are made on the loop where the file system is local and the objects are small: they end in
the page cache, and a thread would have to win the interpreter lock back after each of them (measured beside a busy loop: 186
futex calls and 0.9 ms of CPU an object). On any other file system, and with `sync: each`, the thread makes every call.

An object's metadata is a second file beside it, named before the object is: an object never stands there without what opens it.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from actions.object_files import Batch, Put, Syncfs, fail, load_syncfs, sync_file_systems
from mail.octets import Octets

BATCH = 32
GATHER_SECONDS = 0.025  # so long a batch gathers while one follows the other
_FOLLOW_SECONDS = 0.005  # a batch that begins so soon after another one follows it
_THREADS = 16  # so many roots may hang before another one waits
_ON_LOOP_OCTETS = 512 * 1024  # of a whole batch: about 0.1 ms of copying


class ObjectStore:
    """`sync` is `batch` or `each`; `each` is also what happens where the C library has no syncfs. Belongs to one event loop."""

    def __init__(self, sync: str = "batch") -> None:
        self._syncfs = load_syncfs() if sync == "batch" else None
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="objects")
        self._roots: dict[Path, _Root] = {}

    def put(
        self, root: Path, components: tuple[str, ...], content: Octets, metadata: bytes | None = None
    ) -> "asyncio.Future[None]":
        """Done when the object is durable under its name, 0600 in directories 0700.

        OSError: it could not be; then it may have its name and not be durable under it, or none. `metadata` goes beside it as
        `NAME.metadata.json`; without any, one that stands there is removed.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        at = self._roots.get(root)
        if at is None:
            at = self._roots[root] = _Root(root, self._syncfs, self._threads)
        at.add(Put(components=components, content=content, metadata=metadata, done=done))
        return done

    async def close(self) -> None:
        """Wait for what is on its way; no `put` may follow."""
        workers = {at.worker for at in self._roots.values() if at.worker is not None}
        if workers:
            await asyncio.wait(workers)
        self._threads.shutdown()


class _Root:
    """The rounds below one root. `worker` is None while nothing is on its way."""

    def __init__(self, root: Path, syncfs: Syncfs | None, threads: ThreadPoolExecutor) -> None:
        self.worker: asyncio.Task[None] | None = None
        self._root = root
        self._syncfs = syncfs
        self._threads = threads
        self._waiting: list[Put] = []
        self._is_local = False  # known after the first round
        self._ended_at = -_FOLLOW_SECONDS

    def add(self, put: Put) -> None:
        self._waiting.append(put)
        if self.worker is None:
            self.worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            written = Batch(self._root, [])
            if loop.time() - self._ended_at < _FOLLOW_SECONDS:
                await asyncio.sleep(GATHER_SECONDS)
            while self._waiting or written.puts:
                naming, written = written, Batch(self._root, self._waiting[:BATCH])
                del self._waiting[:BATCH]
                try:
                    await self._round(naming, written)
                except Exception as error:
                    # Our own fault, and every waiting step must learn of it: each parks with this error.
                    fail((*naming.puts, *written.puts), error)
                naming.remove_failed()
                naming.release()
                for put in (*naming.puts, *written.remove_failed()):
                    _settle(put)
                if 0 < len(self._waiting) < BATCH:
                    await asyncio.sleep(GATHER_SECONDS)
        finally:
            self._ended_at = loop.time()
            self.worker = None

    async def _round(self, naming: Batch, writing: Batch) -> None:
        loop, syncfs = asyncio.get_running_loop(), self._syncfs
        octets = sum(len(put.content) for put in writing.puts)
        if syncfs is None or not self._is_local or octets > _ON_LOOP_OCTETS:
            is_local = await loop.run_in_executor(self._threads, _whole_round, naming, writing, syncfs)
            self._is_local = is_local if writing.puts else self._is_local
            return
        naming.name()
        writing.write(sync=False)
        await loop.run_in_executor(self._threads, sync_file_systems, (naming, writing), syncfs)


def _whole_round(naming: Batch, writing: Batch, syncfs: Syncfs | None) -> bool:
    """All of a round; whether the next one's calls may be made on the loop."""
    naming.name()
    writing.write(sync=syncfs is None)
    if syncfs is None:
        naming.sync_directories()
    else:
        sync_file_systems((naming, writing), syncfs)
    return writing.is_local


def _settle(put: Put) -> None:
    if put.done.done():  # its step was cancelled
        return
    if put.error is None:
        put.done.set_result(None)
    else:
        put.done.set_exception(put.error)
