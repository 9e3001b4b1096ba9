"""Objects that the disk action wrote, read back with their metadata; and the metadata alone put in place of the old.

An encrypted object's first line is its metadata, unless `KEY.metadata.json` stands beside it, which a rotation of the key wrote.

*Trust.* Anybody who may write to the store may have put something else there: no link is followed in the last component, and
metadata that is no small JSON object of texts is `Malformed`.
"""

import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from actions.envelope_encryption import NONCE, is_sealed
from actions.object_key import SIDECAR
from actions.ses_payload import compact_json
from mail.errors import Malformed

_MOST_METADATA_OCTETS = 1 << 16


def read_file_object(path: Path) -> tuple[bytes, dict[str, str]]:
    """The body and the metadata; {} where there is none. Raises OSError and `Malformed`."""
    line, body = _parted(_read(path))
    return body, _metadata(line, path)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata alone: of the file no more is read than its beginning."""
    return _metadata(_parted(_read(path, _MOST_METADATA_OCTETS))[0], path)


def write_sidecar(path: Path, metadata: dict[str, str]) -> None:
    """Durable when this returns. What stood there is replaced whole."""
    sidecar = path.with_name(path.name + SIDECAR)
    temporary = sidecar.with_name(f".{sidecar.name[:40]}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(compact_json(metadata))
            file.flush()
            os.fsync(descriptor)
        temporary.rename(sidecar)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(sidecar.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def objects_below(directory: Path) -> Iterator[Path]:
    """Every object below the directory; links to directories are not followed, and links to files are no objects."""
    for place, _, names in os.walk(directory, onerror=_raise):
        for name in sorted(names):
            path = Path(place) / name
            if not name.endswith(SIDECAR) and not name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _metadata(line: bytes, path: Path) -> dict[str, str]:
    """What holds for this body: a rotation may have left a sidecar of another one, by its nonce, that was replaced meanwhile."""
    beside = _read_sidecar(path)
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


def _read_sidecar(path: Path) -> dict[str, str]:
    sidecar = path.with_name(path.name + SIDECAR)
    try:
        return _decoded(_read(sidecar, _MOST_METADATA_OCTETS), sidecar)
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


def _read(path: Path, most: int = -1) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Malformed(f"{path} is no file")
        return file.read(most)


def _raise(error: OSError) -> None:
    raise error
