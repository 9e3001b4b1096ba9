"""Backups of the state directory: made while the server runs, checked by digests, restored into an empty directory.

Theory of operation. Databases are copied as snapshots, shards first, so that what a shard refers to (a version of the rules, a
key) is there when it is copied after it. Then comes `manifest.json` with the SHA-256 of every file, written last: a directory
without one is no backup. What belongs to a running server alone (locks, sockets, held-back room, SQLite's side files) is left
out. Restoring reads everything once to check it before it writes anything, and the new state stands under its names only when it
is complete.

*Trust.* A backup may have been in other hands: its names are kept to what lies below it, and nothing of it is run.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from gatepost.edge import RATES
from gatepost.kept_file import replace_whole
from gatepost.version import VERSION
from mail.errors import Malformed, Permanent
from spool.backup import MAGIC, SIDE_FILES, check_format, copy_database, copy_shard, format_of
from spool.durable import make_durable, sync_directory
from spool.rule_sets import BOOKS
from spool.schema import SHARD
from spool.shard_lock import BODIES, FILE, SHARDS
from spool.subscriptions import SUBSCRIPTIONS

MANIFEST = "manifest.json"
_FORM = 1
_STAGING = ".restoring"
_CHUNK = 2**20
_FORMATS = {"rules.db": BOOKS, "topics.db": SUBSCRIPTIONS}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `format` is that of a database."""

    octets: int
    sha256: str
    mode: int = 0o600
    format: int | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is: its files by their paths, with /."""

    form: int
    made_at: datetime
    release: str
    messages: int
    jobs: int
    files: dict[str, Entry]

    @property
    def octets(self) -> int:
        return sum(entry.octets for entry in self.files.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup that was just made. `left_out` are links and the like; `missing` are messages whose body file is not there."""

    manifest: Manifest
    digest: str
    left_out: tuple[str, ...]
    missing: tuple[str, ...]


def make_backup(data: Path, target: Path, now: datetime, *, without: Iterable[str] = ()) -> Backup:
    """Copy the state in `data` into `target`, which is made or empty. Raises `Permanent`, `Broken` or OSError."""
    _check_target(data, target)
    _check_formats(data)
    target.mkdir(parents=True, exist_ok=True)
    target.chmod(0o700)
    files: dict[str, Entry] = {}
    missing: list[str] = []
    messages = jobs = 0

    def put(source: Path, to: Path) -> None:
        files[to.relative_to(target).as_posix()] = _copied(source, to)

    for shard in sorted(path.parent for path in (data / SHARDS).glob(f"[0-9]*/{FILE}")):
        to = target / SHARDS / shard.name
        for each in (to.parent, to, to / BODIES):
            each.mkdir(mode=0o700, exist_ok=True)
        copy = copy_shard(shard, to, put)
        files[f"{SHARDS}/{shard.name}/{FILE}"] = _entry_of_database(to / FILE)
        sync_directory(to / BODIES)
        missing += copy.missing
        messages += copy.messages
        jobs += copy.jobs
    left_out = []
    for name in _others(data, frozenset(without)):
        to = target / name
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not stat.S_ISREG((data / name).lstat().st_mode):
            left_out.append(name)
            continue
        try:
            if _is_database(data / name):
                copy_database(data / name, to)
                files[name] = _entry_of_database(to)
            else:
                put(data / name, to)
        except FileNotFoundError:
            continue  # deleted while we looked, by whoever it belongs to
    manifest = Manifest(form=_FORM, made_at=now, release=VERSION, messages=messages, jobs=jobs, files=files)
    digest = _write_manifest(target, manifest)
    return Backup(manifest=manifest, digest=digest, left_out=tuple(left_out), missing=tuple(missing))


def check_backup(source: Path) -> Manifest:
    """Read every file of a backup. Raises `Malformed` for one that is not whole, `Permanent` for one of a later release."""
    manifest = _read_manifest(source)
    there = {path.relative_to(source).as_posix() for path in source.rglob("*") if not _is_directory(path)} - {MANIFEST}
    for name in sorted(there ^ manifest.files.keys()):
        raise Malformed(f"{source / name} {'is not in the manifest' if name in there else 'is missing'}")
    for name, entry in manifest.files.items():
        path = source / name
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Malformed(f"{path} is no plain file")
        with path.open("rb") as file:
            if _digest(file) != (entry.octets, entry.sha256):
                raise Malformed(f"{path} is not what was backed up: its SHA-256 differs")
        known = SHARD if name.startswith(f"{SHARDS}/") else _FORMATS.get(name)
        if entry.format is not None and known is not None:
            known.check(format_of(path))
    return manifest


def restore_backup(source: Path, data: Path) -> Manifest:
    """Check the backup, then make it the state in `data`, which is made or empty. Raises as `check_backup`, or OSError."""
    _check_empty(data)
    manifest = check_backup(source)
    staging = data / _STAGING
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700, parents=True)
    data.chmod(0o700)
    for name, entry in manifest.files.items():
        to = staging / name
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copied = _copied(source / name, to)
        if copied.sha256 != entry.sha256:
            raise Malformed(f"{source / name} changed while it was read")
        to.chmod(entry.mode)
    for directory in (staging, *(path for path in staging.rglob("*") if path.is_dir())):
        sync_directory(directory)
    for path in sorted(staging.iterdir()):
        path.rename(data / path.name)
    staging.rmdir()
    sync_directory(data)
    return manifest


def _check_target(data: Path, target: Path) -> None:
    if not (data / SHARDS).is_dir():
        raise Permanent(f"there is no state in {data}")
    if target.resolve().is_relative_to(data.resolve()):
        raise Permanent(f"{target} is inside the state directory: choose a place elsewhere, best on another disk")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Permanent(f"{target} is not an empty directory: each backup has its own")


def _check_formats(data: Path) -> None:
    """What a later release wrote this one cannot restore: then it makes no copy that looks like a backup."""
    for path in sorted((data / SHARDS).glob(f"[0-9]*/{FILE}")):
        check_format(path, SHARD)
    for name, known in _FORMATS.items():
        if (data / name).exists():
            check_format(data / name, known)


def _check_empty(data: Path) -> None:
    if data.exists() and (not data.is_dir() or {path.name for path in data.iterdir()} - {_STAGING}):
        raise Permanent(
            f"{data} is not an empty directory: move what is there out of the way first; a running server stops first"
        )


def _others(data: Path, without: frozenset[str]) -> Iterator[str]:
    """Every file below the state directory but the shards, and what is no state."""
    for directory, directories, names in os.walk(data):
        below = Path(directory).relative_to(data)
        links = [name for name in directories if (Path(directory) / name).is_symlink()]
        directories[:] = sorted(
            name
            for name in directories
            if name not in links and (below / name).as_posix() not in {*without, SHARDS, _STAGING}
        )
        for name in sorted([*names, *links]):
            path = Path(directory) / name
            if (below / name).as_posix() not in without and not _is_transient(path):
                yield (below / name).as_posix()


def _is_transient(path: Path) -> bool:
    """Whether it belongs to a running server alone, or is gone already."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return True
    if stat.S_ISSOCK(kind) or stat.S_ISFIFO(kind):
        return True
    if path.name == RATES:
        return True  # counted since the start
    side = next((end for end in SIDE_FILES if path.name.endswith(end)), None)
    return side is not None and _is_database(path.with_name(path.name.removesuffix(side)))


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except FileNotFoundError:
        return False


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _copied(source: Path, target: Path) -> Entry:
    """Copy a file, durably; what its copy holds."""
    with source.open("rb") as reading:
        mode = stat.S_IMODE(os.fstat(reading.fileno()).st_mode)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as writing:
            octets, digest = _digest(reading, writing)
            writing.flush()
            make_durable(descriptor)
    return Entry(octets=octets, sha256=digest, mode=mode)


def _entry_of_database(path: Path) -> Entry:
    with path.open("rb") as file:
        octets, digest = _digest(file)
    return Entry(octets=octets, sha256=digest, format=format_of(path))


def _digest(reading: BinaryIO, writing: BinaryIO | None = None) -> tuple[int, str]:
    """Octets and SHA-256 of a file, copied on the way if there is somewhere to."""
    found, octets = hashlib.sha256(), 0
    while chunk := reading.read(_CHUNK):
        found.update(chunk)
        octets += len(chunk)
        if writing is not None:
            writing.write(chunk)
    return octets, found.hexdigest()


def _write_manifest(target: Path, manifest: Manifest) -> str:
    for directory in (path for path in target.rglob("*") if path.is_dir()):
        sync_directory(directory)
    encoded = msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"
    replace_whole(target / MANIFEST, encoded)
    return hashlib.sha256(encoded).hexdigest()


def _read_manifest(source: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError):
        raise Malformed(f"{source} is no backup, or one that was cut off: it has no {MANIFEST}") from None
    except msgspec.DecodeError as error:
        raise Malformed(f"{source / MANIFEST} is not what was written: {error}") from None
    if manifest.form != _FORM:
        raise Permanent(f"{source} has form {manifest.form}; this release reads form {_FORM}: it is of a later release")
    for name in manifest.files:
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts or "\0" in name or PurePosixPath(name).as_posix() != name:
            raise Malformed(f"{source / MANIFEST} names a file outside the backup")
    return manifest
