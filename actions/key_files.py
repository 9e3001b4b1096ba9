"""The local key store on disk: one directory for each key, one file for each version of it, never rewritten.

`DIRECTORY/NAME/VERSION.key` is JSON with the key's id, the version and 32 octets in base64. The highest version wraps new data
keys; older ones stay to unwrap. Because no file is written twice, `shred` overwrites the only blocks that ever held a version.

*Trust.* A file that others may read or write, that is a symbolic link or belongs to somebody else is refused, and so is its
directory: key material that has leaked, or may have been planted, protects nothing.
*Failure.* `Temporary` with what to do: the operator mends it, and the step that waits is tried again.
"""

import base64
import binascii
import errno
import os
import re
import secrets
import stat
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from actions.ciphers import KEY_OCTETS
from mail.errors import Malformed, Permanent, Temporary
from mail.ses_json import timestamp
from spool.durable import make_durable, sync_directory, write_new

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9/_-]{0,127}\Z")  # KMS: alias names
_FILE = re.compile(r"([1-9][0-9]{0,8})\.key\Z")
_MOST_OCTETS = 4096
_SETTLED_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVersion:
    """One version's secret. It must not be shown; `repr` leaves it out."""

    id: uuid.UUID
    version: int
    created_at: str
    secret: bytes

    def __repr__(self) -> str:
        return f"KeyVersion({self.id}/{self.version})"


@lru_cache(maxsize=1024)
def key_name(reference: str) -> str:
    """The local name of `alias/NAME`, an ARN of an alias or key, or NAME itself. Raises `Permanent` for what is no name."""
    name = reference.split(":", 5)[-1] if reference.startswith("arn:") else reference
    name = name.removeprefix("alias/").removeprefix("key/")
    if not _NAME.match(name):
        raise Permanent(f"{reference} names no key: expected alias/NAME or an ARN of KMS")
    return name


class KeyFiles:
    """Every key below `directory`, which is made when the first key is."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._read: dict[tuple[str, int], tuple[tuple[int, ...], KeyVersion]] = {}
        self._places: dict[str, Path] = {}
        self._listed: dict[str, tuple[tuple[int, ...], list[int]]] = {}
        self._current: dict[str, tuple[list[str], list[tuple[int, ...]], KeyVersion]] = {}

    def names(self) -> list[str]:
        try:
            found = [path.name.replace("+", "/") for path in self.directory.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []
        return sorted(name for name in found if _NAME.match(name))

    def versions(self, name: str) -> list[KeyVersion]:
        """Oldest first, at least one. Raises `Temporary` where there is no such key or it must not be used."""
        found = [self.read(name, number) for number in self.numbers(name)]
        if len({version.id for version in found}) != 1:
            raise Temporary(f"the files of key {name} belong to different keys" if found else self._missing(name))
        return found

    def numbers(self, name: str) -> list[int]:
        """The versions that there are, by the files' names alone; [] for no key."""
        place = self._place(name)
        try:
            status = os.lstat(place)
            state = _state(status)  # a file that comes or goes changes its directory's times
            kept = self._listed.get(name)
            if kept is not None and kept[0] == state:
                return kept[1]
            found = sorted(int(match[1]) for match in map(_FILE.match, os.listdir(place)) if match)
        except (FileNotFoundError, NotADirectoryError):
            self._forget(name)
            return []
        self._forget(name)
        if _is_settled(status):
            self._listed[name] = state, found
        return found

    def current(self, name: str) -> KeyVersion:
        """The version that wraps. For every object: nothing is read while none of what was looked at has changed."""
        kept = self._current.get(name)
        if kept is not None and _states(kept[0]) == kept[1]:
            return kept[2]
        numbers = self.numbers(name)
        if not numbers:
            raise Temporary(self._missing(name))
        place = str(self._place(name))
        paths = [str(self.directory), place, os.path.join(place, f"{numbers[-1]}.key")]
        states = _states(paths)
        version = self.read(name, numbers[-1])
        if states is not None and name in self._listed:
            self._current[name] = paths, states, version
        return version

    def read(self, name: str, number: int) -> KeyVersion:
        place = self._place(name)
        path = os.path.join(place, f"{number}.key")  # for every message, and Path takes its time
        for directory in (self.directory, place):
            _refuse_unsafe(os.lstat(directory), directory, stat.S_ISDIR, 0o022, "chmod 700")
        try:
            state = _state(os.lstat(path))
            kept = self._read.get((name, number))
            if kept is None or kept[0] != state:
                kept = self._read[name, number] = state, _opened(Path(path), number)
        except OSError as error:
            self._read.pop((name, number), None)
            why = "is a symbolic link, refused" if error.errno == errno.ELOOP else error.strerror
            raise Temporary(f"{path}: {why}") from None
        return kept[1]

    def create(self, name: str, now: datetime, versions: list[KeyVersion] | None = None) -> KeyVersion:
        """A new key, or one that was exported. Raises `Permanent` if the name is taken."""
        place = self._place(key_name(name))
        if self.numbers(name):
            raise Permanent(f"there is a key {name} already; gatepost keys rotate {name} gives it a new version")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        sync_directory(self.directory)
        first = KeyVersion(
            id=uuid.uuid4(), version=1, created_at=timestamp(now), secret=secrets.token_bytes(KEY_OCTETS)
        )
        for version in versions or [first]:
            self._write(name, version)
        return self.current(name)

    def rotate(self, name: str, now: datetime) -> KeyVersion:
        """A new version, with which everything is wrapped from now on."""
        last = self.current(name)
        version = KeyVersion(
            id=last.id,
            version=last.version + 1,
            created_at=timestamp(now),
            secret=secrets.token_bytes(KEY_OCTETS),
        )
        self._write(name, version)
        return version

    def shred(self, name: str, number: int | None = None) -> list[int]:
        """Overwrite and remove one version or all; the versions that are gone. What they wrapped cannot be read any more."""
        place, numbers = self._place(name), self.numbers(name)
        chosen = numbers if number is None else [each for each in numbers if each == number]
        if not chosen:
            raise Permanent(f"there is no version {number} of key {name}" if numbers else self._missing(name))
        for each in chosen:
            path = place / f"{each}.key"
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                file.write(secrets.token_bytes(max(os.fstat(descriptor).st_size, 1)))
                make_durable(descriptor)
            path.unlink()
        sync_directory(place)
        self._forget(name)
        if not self.numbers(name):
            place.rmdir()
            sync_directory(self.directory)
        return chosen

    def _forget(self, name: str) -> None:
        """No secret of a key whose files have changed stays in memory."""
        self._listed.pop(name, None)
        self._current.pop(name, None)
        for each in [each for each in self._read if each[0] == name]:
            del self._read[each]

    def _place(self, name: str) -> Path:
        place = self._places.get(name)
        if place is None:
            if not _NAME.match(name):
                raise Permanent(f"{name} is no key's name: expected letters, digits, / _ and -")
            place = self._places[name] = self.directory / name.replace("/", "+")
        return place

    def _missing(self, name: str) -> str:
        return f"there is no key {name} in {self.directory}; gatepost keys create {name} makes one"

    def _write(self, name: str, version: KeyVersion) -> None:
        path = self._place(name) / f"{version.version}.key"
        content = msgspec.json.encode(encoded(version)) + b"\n"
        write_new(path, content)
        sync_directory(path.parent)
        self._forget(name)


def encoded(version: KeyVersion) -> dict[str, Any]:
    return {
        "id": str(version.id),
        "version": version.version,
        "algorithm": "AES-256-GCM",
        "created_at": version.created_at,
        "key": base64.b64encode(version.secret).decode("ascii"),
    }


def decoded(value: Any) -> KeyVersion:
    """What `encoded` gave. Raises `Malformed`."""
    try:
        secret = base64.b64decode(value["key"], validate=True)
        if value["algorithm"] != "AES-256-GCM" or len(secret) != KEY_OCTETS or type(value["version"]) is not int:
            raise ValueError
        return KeyVersion(
            id=uuid.UUID(value["id"]), version=value["version"], created_at=str(value["created_at"]), secret=secret
        )
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
        raise Malformed("this is no version of a key") from None


def _state(status: os.stat_result) -> tuple[int, ...]:
    """Nobody changes a file, its mode, its owner or its place without one of these."""
    return status.st_ino, status.st_ctime_ns, status.st_size, status.st_mode, status.st_uid


def _states(paths: list[str]) -> list[tuple[int, ...]] | None:
    """None where one of them is not there."""
    try:
        return [_state(os.lstat(path)) for path in paths]
    except OSError:
        return None


def _is_settled(status: os.stat_result) -> bool:
    """Whether a change from now on shows in the times: some kernels' clocks for files stand still for up to 10 ms."""
    return status.st_ctime_ns + _SETTLED_NANOSECONDS < time.time_ns()


def _opened(path: Path, number: int) -> KeyVersion:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        _refuse_unsafe(os.fstat(descriptor), path, stat.S_ISREG, 0o077, "chmod 600")
        return _decoded(file.read(_MOST_OCTETS), number, path)


def _decoded(content: bytes, number: int, path: Path) -> KeyVersion:
    try:
        version = decoded(msgspec.json.decode(content))
    except (msgspec.DecodeError, Malformed):
        raise Temporary(f"{path} holds no key") from None
    if version.version != number:
        raise Temporary(f"{path} holds version {version.version}, not {number}")
    return version


def _refuse_unsafe(status: os.stat_result, path: Path, is_kind: Any, forbidden: int, mend: str) -> None:
    if not is_kind(status.st_mode):
        raise Temporary(f"{path} is of the wrong kind (a link, a device), refused")
    if status.st_mode & forbidden:
        raise Temporary(f"{path} can be used by others (mode {stat.S_IMODE(status.st_mode):o}), refused: {mend} {path}")
    if status.st_uid not in (os.geteuid(), 0):
        raise Temporary(f"{path} belongs to user {status.st_uid}, refused")
