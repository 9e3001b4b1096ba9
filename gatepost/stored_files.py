"""Objects that the disk action wrote, read back with their metadata; and the metadata alone put in place of the old.

*Trust.* Anybody who may write to the store may have put something else there: no link is followed in the last component, and
metadata that is no small JSON object of texts is `Malformed`.
"""

import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from actions.object_key import SIDECAR
from actions.ses_payload import compact_json
from mail.errors import Malformed

_MOST_METADATA_OCTETS = 1 << 16


def read_file_object(path: Path) -> tuple[bytes, dict[str, str]]:
    """The body and the metadata; {} where there is none. Raises OSError and `Malformed`."""
    return _read(path), read_sidecar(path)


def read_sidecar(path: Path) -> dict[str, str]:
    """The metadata of the object at `path`."""
    sidecar = path.with_name(path.name + SIDECAR)
    try:
        content = _read(sidecar, _MOST_METADATA_OCTETS)
    except FileNotFoundError:
        return {}
    try:
        metadata = json.loads(content)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise Malformed(f"{sidecar} holds no metadata of an object")
    return metadata


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


def objects_with_metadata(directory: Path) -> Iterator[Path]:
    """Every object below the directory that has a sidecar; links to directories are not followed."""
    for place, _, names in os.walk(directory, onerror=_raise):
        for name in sorted(names):
            if name.endswith(SIDECAR) and not name.startswith("."):
                yield Path(place) / name.removesuffix(SIDECAR)


def _read(path: Path, most: int = -1) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Malformed(f"{path} is no file")
        if 0 <= most < status.st_size:
            raise Malformed(f"{path} has {status.st_size:,} octets; at most {most:,} are read")
        return file.read()


def _raise(error: OSError) -> None:
    raise error
