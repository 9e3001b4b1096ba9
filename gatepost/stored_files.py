"""Objects that the disk action wrote, read back with their metadata; and the metadata alone put in place of the old.

An encrypted object's first line is its metadata, unless `KEY.metadata.json` stands beside it, which a rotation of the key wrote.

*Trust.* Anybody who may write to the store may have put something else there: no link is followed in the last component (below a
root: in any), and
metadata that is no small JSON object of texts is `Malformed`.
"""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from actions.envelope_encryption import NONCE, is_sealed
from actions.object_key import SIDECAR
from actions.ses_payload import compact_json
from gatepost.kept_file import replace_whole
from mail.errors import Malformed

_MOST_METADATA_OCTETS = 1 << 16
# What stands there is no directory or file of ours, or a link, which ENOTDIR and ELOOP do not tell apart.
NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tells one content of a file from another without reading it. `size` is the file's."""

    size: int
    etag: str
    modified: datetime


def read_file_object(path: Path, directory: int | None = None) -> tuple[bytes, dict[str, str]]:
    """The body and the metadata; {} where there is none. Raises OSError and `Malformed`.

    With the descriptor of a directory `path` is a name in it.
    """
    line, body = _parted(_read(path, directory))
    return body, _metadata(line, path, directory)


def read_metadata(path: Path, directory: int | None = None) -> dict[str, str]:
    """The metadata alone: of the file no more is read than its beginning."""
    return _metadata(_parted(_read(path, directory, _MOST_METADATA_OCTETS))[0], path, directory)


def identity_of(status: os.stat_result) -> Identity:
    """The tag is in the form of S3's tags that are no MD5, which no SDK compares with the body."""
    facts = f"{status.st_dev} {status.st_ino} {status.st_mtime_ns} {status.st_size}"
    tag = hashlib.sha256(facts.encode()).hexdigest()[:32]
    modified = datetime.fromtimestamp(int(status.st_mtime), UTC)
    return Identity(size=status.st_size, etag=f'"{tag}-1"', modified=modified)


def open_below(root: Path, below: Iterable[str], stack: ExitStack) -> int | None:
    """The descriptor of a directory, closed with the stack; None where there is none. No link is followed below the root."""
    try:
        directory = os.open(root, _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    stack.callback(os.close, directory)
    for name in below:
        following = open_directory(name, directory, stack)
        if following is None:
            return None
        directory = following
    return directory


def open_directory(name: str, directory: int, stack: ExitStack) -> int | None:
    try:
        opened = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    except OSError as error:
        if error.errno in NOT_THERE:
            return None
        raise
    stack.callback(os.close, opened)
    return opened


def write_sidecar(path: Path, metadata: dict[str, str]) -> None:
    """Durable when this returns. What stood there is replaced whole."""
    replace_whole(path.with_name(path.name + SIDECAR), compact_json(metadata))


def objects_below(directory: Path) -> Iterator[Path]:
    """Every object below the directory; links to directories are not followed, and links to files are no objects."""
    for place, _, names in os.walk(directory, onerror=_raise):
        for name in sorted(names):
            path = Path(place) / name
            if not name.endswith(SIDECAR) and not name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _metadata(line: bytes, path: Path, directory: int | None = None) -> dict[str, str]:
    """What holds for this body: a rotation may have left a sidecar of another one, by its nonce, that was replaced meanwhile."""
    beside = _read_sidecar(path, directory)
    if not line:
        return {} if is_sealed(beside) else beside
    within = _decoded(line, path)
    return beside if is_sealed(beside) and beside.get(NONCE) == within.get(NONCE) else within


def _parted(content: bytes) -> tuple[bytes, bytes]:
    """The line of metadata, b"" for an object that is not encrypted, and the body."""
    if not content.startswith(b"{"):
        return b"", content
    line, _, body = content.partition(b"\n")
    return line, body


def _read_sidecar(path: Path, directory: int | None) -> dict[str, str]:
    sidecar = path.with_name(path.name + SIDECAR)
    try:
        return _decoded(_read(sidecar, directory, _MOST_METADATA_OCTETS), sidecar)
    except FileNotFoundError:
        return {}


def _decoded(content: bytes, path: Path) -> dict[str, str]:
    try:
        metadata = json.loads(content) if len(content) < _MOST_METADATA_OCTETS else None
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise Malformed(f"{path} holds no metadata of an object")
    return metadata


def _read(path: Path, directory: int | None, most: int = -1) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Malformed(f"{path} is no file")
        return file.read(most)


def _raise(error: OSError) -> None:
    raise error
