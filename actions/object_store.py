"""Files that are durable when `put` returns, written in batches (semantics.md §6).

A thread owns every system call. While it works on one batch the next one gathers, so a lone object never waits and a burst
shares its syncs. The order is: contents into temporary files, one `syncfs` for each file system (or an `fsync` for each file),
then the names, then the directories: after a power cut a name never stands for half a message.

An object's metadata is a second file beside it, named before the object is: an object never stands there without what opens it.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from actions.object_key import SIDECAR

BATCH = 32
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(slots=True, kw_only=True)
class _Put:
    """One object on its way. `directory` and `temporary` are set while a batch has it in hand."""

    root: Path
    components: tuple[str, ...]
    content: bytes
    metadata: bytes | None
    done: "asyncio.Future[None]"
    directory: int = -1
    temporary: str = ""
    sidecar: str = ""
    error: Exception | None = None


class ObjectStore:
    """`sync` is `batch` or `each`; `each` is also what happens where the C library has no syncfs."""

    def __init__(self, sync: str = "batch") -> None:
        self._syncfs = _load_syncfs() if sync == "batch" else None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="objects")
        self._waiting: list[_Put] = []
        self._worker: asyncio.Task[None] | None = None

    async def put(self, root: Path, components: tuple[str, ...], content: bytes, metadata: bytes | None = None) -> None:
        """Durable under its name, 0600 in directories 0700, when this returns. Raises OSError, and then nothing has the name.

        `metadata` goes beside it as `NAME.metadata.json`; without any, one that stands there is removed.
        """
        done = asyncio.get_running_loop().create_future()
        put = _Put(root=root, components=components, content=content, metadata=metadata, done=done)
        self._waiting.append(put)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        await put.done

    async def close(self) -> None:
        """Wait for what is on its way; no `put` may follow."""
        if self._worker is not None:
            await asyncio.wait({self._worker})
        self._thread.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                try:
                    await loop.run_in_executor(self._thread, _write_batch, batch, self._syncfs)
                except Exception as error:
                    # Our own fault, and every waiting step must learn of it: each parks with this error.
                    _fail(batch, error)
                for put in batch:
                    _settle(put)
        finally:
            self._worker = None


def _settle(put: _Put) -> None:
    if put.done.done():  # its step was cancelled
        return
    if put.error is None:
        put.done.set_result(None)
    else:
        put.done.set_exception(put.error)


def _write_batch(batch: list[_Put], syncfs: Callable[[int], None] | None) -> None:
    try:
        for put in batch:
            _attempt(put, lambda put: _write(put, sync=syncfs is None))
        if syncfs is not None:
            _sync_file_systems(batch, syncfs)
        for put in batch:
            _attempt(put, _name)
        for directory, puts in _by_directory(batch).items():
            try:
                os.fsync(directory)
            except OSError as error:
                _fail(puts, error)
    finally:
        for put in batch:
            _release(put)


def _attempt(put: _Put, act: Callable[[_Put], None]) -> None:
    if put.error is None:
        try:
            act(put)
        except (OSError, ValueError) as error:  # ValueError: a NUL in a configured path
            put.error = error


def _fail(puts: Iterable[_Put], error: Exception) -> None:
    for put in puts:
        put.error = put.error or error


def _write(put: _Put, *, sync: bool) -> None:
    put.directory = _open_directory(put.root, put.components[:-1])
    # Each name is noted before it is made, so that `_release` finds it whatever happens.
    name = f".{put.components[-1][:40]}.{secrets.token_hex(6)}"
    if put.metadata is not None:
        _write_sidecar(put, put.metadata, name + ".m", sync=sync)
    put.temporary = name
    _write_file(put.directory, put.temporary, put.content, sync=sync)


def _write_sidecar(put: _Put, content: bytes, temporary: str, *, sync: bool) -> None:
    """Under its own name at once where none stands there: it means nothing before the object is named, and a rename costs."""
    final = put.components[-1] + SIDECAR
    put.sidecar = final
    try:
        _write_file(put.directory, final, content, sync=sync)
    except FileExistsError:
        put.sidecar = temporary
        _write_file(put.directory, temporary, content, sync=sync)


def _write_file(directory: int, name: str, content: bytes, *, sync: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(file, rest) :]
        if sync:
            os.fsync(file)
    finally:
        os.close(file)


def _open_directory(root: Path, below: tuple[str, ...]) -> int:
    """A descriptor of the directory, made where it is missing. No link is followed below the root."""
    missing = [path for path in (root, *root.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        _fsync_path(path.parent)
    here = os.open(root, _DIRECTORY)
    try:
        for name in below:
            following = _enter(here, name)
            os.close(here)
            here = following
    except BaseException:
        os.close(here)
        raise
    return here


def _fsync_path(path: Path) -> None:
    descriptor = os.open(path, _DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _enter(directory: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
            # The new name lives in its parent: without this a power cut could take the whole directory.
            os.fsync(directory)
        except FileExistsError:
            pass  # somebody else made it, or a dangling link stands there, which the next line refuses
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise OSError(error.errno, f"{name!r} in the store is a symbolic link or no directory, refused") from None
        raise


def _name(put: _Put) -> None:
    sidecar = put.components[-1] + SIDECAR
    if put.sidecar and put.sidecar != sidecar:
        os.rename(put.sidecar, sidecar, src_dir_fd=put.directory, dst_dir_fd=put.directory)
    os.rename(put.temporary, put.components[-1], src_dir_fd=put.directory, dst_dir_fd=put.directory)
    put.temporary = put.sidecar = ""
    if put.metadata is None:
        # What an earlier evaluation left would make this object look encrypted.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(sidecar, dir_fd=put.directory)


def _sync_file_systems(batch: list[_Put], syncfs: Callable[[int], None]) -> None:
    by_device: dict[int, list[_Put]] = {}
    for put in batch:
        if put.error is None:
            by_device.setdefault(os.fstat(put.directory).st_dev, []).append(put)
    for puts in by_device.values():
        try:
            syncfs(puts[0].directory)
        except OSError as error:
            _fail(puts, error)


def _by_directory(batch: list[_Put]) -> dict[int, list[_Put]]:
    """The puts by one descriptor of each distinct directory."""
    directories: dict[tuple[int, int], list[_Put]] = {}
    for put in batch:
        if put.error is None:
            status = os.fstat(put.directory)
            directories.setdefault((status.st_dev, status.st_ino), []).append(put)
    return {puts[0].directory: puts for puts in directories.values()}


def _release(put: _Put) -> None:
    if put.directory < 0:
        return
    for name in filter(None, (put.temporary, put.sidecar)):
        try:
            os.unlink(name, dir_fd=put.directory)
        except FileNotFoundError:
            continue  # it could not even be made, and that is the error
        except OSError as error:
            put.error = put.error or error
    os.close(put.directory)
    put.directory = -1


def _load_syncfs() -> Callable[[int], None] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return None

    def syncfs(descriptor: int) -> None:
        # Since Linux 5.8 a failed write-back of any file is reported here; older kernels need `disk.sync: each`.
        if function(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs
