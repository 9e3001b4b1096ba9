"""The files of one batch of objects: written under temporary names, named when their contents are durable.

`ObjectStore` has the order of the steps. *Trust.* No component is followed that is a symbolic link: each directory is opened in its
parent. *Failure.* What befalls one object is its own `error`; the others of its batch go on.
"""

import asyncio
import contextlib
import ctypes
import errno
import itertools
import os
import secrets
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from actions.object_key import SIDECAR
from mail.octets import Octets
from spool.durable import make_durable, write_new

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# statfs(2): ext2 to ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs, overlayfs. Any other may be on a network.
_LOCAL = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E, 0x01021994, 0x794C7630})
_OURS = secrets.token_hex(6)  # of this process; a counter follows
_numbers = itertools.count()

Syncfs = Callable[[int], None]


@dataclass(slots=True, kw_only=True)
class Put:
    """One object on its way. `directory`, `temporary` and `sidecar` are set while its batch has it in hand."""

    components: tuple[str, ...]
    content: Octets
    metadata: bytes | None
    done: "asyncio.Future[None]"
    directory: int = -1
    temporary: str = ""
    sidecar: str = ""
    error: Exception | None = None


class Batch:
    """Objects below one root. Whoever makes it calls `remove_failed` and `release` at the end, whatever happened."""

    def __init__(self, root: Path, puts: list[Put]) -> None:
        self.puts = puts
        self._root = root
        self._directories: dict[tuple[str, ...], int] = {}

    def write(self, *, sync: bool) -> None:
        """Every content into its temporary file, with `sync` durable there."""
        for put in self.puts:
            _attempt(put, lambda put: self._write(put, sync=sync))

    def name(self) -> None:
        for put in self.puts:
            _attempt(put, _name)

    def remove_failed(self) -> list[Put]:
        """What failed, with nothing left of it that has no name."""
        failed = [put for put in self.puts if put.error is not None]
        for put in failed:
            _remove(put)
        return failed

    def release(self) -> None:
        """Let the directories go."""
        for descriptor in self._directories.values():
            os.close(descriptor)
        self._directories.clear()

    def sync_directories(self) -> None:
        for descriptor, puts in self._by_directory().items():
            try:
                make_durable(descriptor)
            except OSError as error:
                fail(puts, error)

    def devices(self) -> dict[int, tuple[int, list[Put]]]:
        """A descriptor on each file system, with the objects that are on their way there."""
        found: dict[int, tuple[int, list[Put]]] = {}
        for descriptor, puts in self._by_directory().items():
            found.setdefault(os.fstat(descriptor).st_dev, (descriptor, []))[1].extend(puts)
        return found

    @property
    def is_local(self) -> bool:
        """Whether every directory in hand is on a file system of this machine's, whose calls return at once."""
        return bool(self._directories) and all(map(_is_local, self._directories.values()))

    def _by_directory(self) -> dict[int, list[Put]]:
        found: dict[int, list[Put]] = {}
        for put in self.puts:
            if put.error is None:
                found.setdefault(put.directory, []).append(put)
        return found

    def _write(self, put: Put, *, sync: bool) -> None:
        below = put.components[:-1]
        if below not in self._directories:
            self._directories[below] = _open_directory(self._root, below)
        put.directory = self._directories[below]
        # Each name is noted before it is made, so that `remove_failed` finds it whatever happens.
        name = f".{put.components[-1][:40]}.{_OURS}{next(_numbers):x}"
        if put.metadata is not None:
            _write_sidecar(put, put.metadata, name + ".m", sync=sync)
        put.temporary = name
        write_new(name, put.content, directory=put.directory, durable=sync)


def sync_file_systems(batches: Iterable[Batch], syncfs: Syncfs) -> None:
    """One `syncfs` for each file system that these batches are on; its failure is that of all their objects there."""
    synced: dict[int, OSError | None] = {}
    for batch in batches:
        for device, (descriptor, puts) in batch.devices().items():
            if device not in synced:
                synced[device] = _failure(syncfs, descriptor)
            failure = synced[device]
            if failure is not None:
                fail(puts, failure)


def _failure(syncfs: Syncfs, descriptor: int) -> OSError | None:
    try:
        syncfs(descriptor)
    except OSError as error:
        return error
    return None


def fail(puts: Iterable[Put], error: Exception) -> None:
    for put in puts:
        put.error = put.error or error


def _attempt(put: Put, act: Callable[[Put], None]) -> None:
    if put.error is None:
        try:
            act(put)
        except (OSError, ValueError) as error:  # ValueError: a NUL in a configured path
            put.error = error


def _write_sidecar(put: Put, content: bytes, temporary: str, *, sync: bool) -> None:
    """Under its own name at once where none stands there: it means nothing before the object is named, and a rename costs."""
    final = put.components[-1] + SIDECAR
    put.sidecar = final
    try:
        write_new(final, content, directory=put.directory, durable=sync)
    except FileExistsError:
        put.sidecar = temporary
        write_new(temporary, content, directory=put.directory, durable=sync)


def _name(put: Put) -> None:
    sidecar = put.components[-1] + SIDECAR
    if put.sidecar and put.sidecar != sidecar:
        os.rename(put.sidecar, sidecar, src_dir_fd=put.directory, dst_dir_fd=put.directory)
    os.rename(put.temporary, put.components[-1], src_dir_fd=put.directory, dst_dir_fd=put.directory)
    put.temporary = put.sidecar = ""
    if put.metadata is None:
        # What an earlier evaluation left would make this object look encrypted.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(sidecar, dir_fd=put.directory)


def _remove(put: Put) -> None:
    for name in filter(None, (put.temporary, put.sidecar)):
        try:
            os.unlink(name, dir_fd=put.directory)
        except FileNotFoundError:
            continue  # it could not even be made, and that is the error
        except OSError as error:
            put.error = put.error or error
    put.temporary = put.sidecar = ""


def _open_directory(root: Path, below: tuple[str, ...]) -> int:
    """A descriptor of the directory, made where it is missing. No link is followed below the root."""
    here = _open_root(root)
    try:
        for name in below:
            following = _enter(here, name)
            os.close(here)
            here = following
    except BaseException:
        os.close(here)
        raise
    return here


def _open_root(root: Path) -> int:
    try:
        return os.open(root, _DIRECTORY)
    except FileNotFoundError:
        missing = [path for path in (root, *root.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        _fsync_path(path.parent)
    return os.open(root, _DIRECTORY)


def _fsync_path(path: Path) -> None:
    descriptor = os.open(path, _DIRECTORY)
    try:
        make_durable(descriptor)
    finally:
        os.close(descriptor)


def _enter(directory: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
            # The new name lives in its parent: without this a power cut could take the whole directory.
            make_durable(directory)
        except FileExistsError:
            pass  # somebody else made it, or a dangling link stands there, which the next line refuses
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise OSError(error.errno, f"{name!r} in the store is a symbolic link or no directory, refused") from None
        raise


_libc = ctypes.CDLL(None, use_errno=True)


def load_syncfs() -> Syncfs | None:
    """None where the C library has none."""
    function = getattr(_libc, "syncfs", None)
    if function is None:
        return None

    def syncfs(descriptor: int) -> None:
        # Since Linux 5.8 a failed write-back of any file is reported here; older kernels need `disk.sync: each`.
        if function(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs


def _is_local(descriptor: int) -> bool:
    if sys.platform != "linux":
        return False  # its struct statfs is another, and larger
    buffer = ctypes.create_string_buffer(256)  # struct statfs begins with f_type
    if _libc.fstatfs(descriptor, buffer) != 0:
        return False
    return ctypes.c_long.from_buffer(buffer).value in _LOCAL
