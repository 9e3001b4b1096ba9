"""The machine under us: disk, descriptors, clock, and who may read what."""

import ctypes
import os
import stat
import statistics
import struct
import sys
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from gatepost.cli.layout import size_text
from gatepost.descriptors import attainable
from gatepost.doctor.findings import Finding, World, fail, ok, warn
from gatepost.settings import Settings
from gatepost.storage import KEYS
from spool.durable import make_durable
from spool.ports import Broken, HistoryQuery
from spool.reader import open_reader
from spool.shard_lock import shard_directory

_SYNCS = 20
_SLOW_SECONDS, _TOO_SLOW_SECONDS = 0.02, 0.2
_SPARE_DESCRIPTORS = 256  # databases, stored objects, DNS, actions
_RESERVE_SHARE = 0.05  # semantics.md §6
# Where locks or the WAL's shared memory do not hold, and where nothing lasts.
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs", "afs", "lustre"})
_FLEETING = frozenset({"tmpfs", "ramfs", "overlay", "aufs"})
_UNSYNCHRONISED = 0x40  # STA_UNSYNC of <sys/timex.h>
_SECRETS = ("relay_password", "srs_secret")
_BEHIND = timedelta(minutes=5)


async def check_machine(world: World) -> list[Finding]:
    data = _existing(world.settings.data)
    return [
        *disk(data, world.settings),
        descriptors(world.settings),
        await clock(world),
        *rights(world.settings),
    ]


def disk(data: Path, settings: Settings, mounts: str | None = None) -> list[Finding]:
    """Room, kind of file system, and how long a sync takes."""
    room = os.statvfs(data)
    free, total = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    reserve = max(settings.spool_reserve, int(total * _RESERVE_SHARE))
    said = f"{size_text(free)} of {size_text(total)} free at {data}"
    if free < reserve:
        found = fail(
            "disk", f"{said}: mail is answered 452", f"make room: spool.reserve and 5 % need {size_text(reserve)}"
        )
    elif free < reserve + settings.retention_cap:
        fix = (
            f"retention.cap lets bodies take {size_text(settings.retention_cap)}: lower it, or give the disk more room"
        )
        found = warn("disk", f"{said}, which kept bodies may fill", fix)
    else:
        found = ok("disk", said)
    return [found, _file_system(data, mounts), _sync(data)]


def _file_system(data: Path, mounts: str | None) -> Finding:
    try:
        table = Path("/proc/self/mountinfo").read_text() if mounts is None else mounts
    except OSError:
        return warn("file system", "its kind cannot be told here", "see that it is local and lasts")
    kind = _kind(data.resolve(), table)
    if kind in _NETWORK or kind.startswith("fuse."):
        return fail(
            "file system", f"{data} is on {kind}: locks and syncs do not hold there", "set `data` to a local disk"
        )
    if kind in _FLEETING:
        return warn(
            "file system",
            f"{data} is on {kind}, gone with the machine or container",
            "set `data` to a disk or a volume",
        )
    return ok("file system", kind)


def _kind(path: Path, table: str) -> str:
    """The type of the file system with the longest mount point above the path (proc(5): mountinfo)."""
    found = ("", "unknown")
    for line in table.splitlines():
        fields, _, after = line.partition(" - ")
        point = fields.split()[4].encode().decode("unicode_escape")
        if path.is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, after.split()[0])
    return found[1]


def _sync(data: Path) -> Finding:
    path = data / ".doctor"
    try:
        taken = _times(path)
    except OSError as error:
        return fail(
            "sync", f"{data} cannot be written: {error.strerror}", "run this as the user that the server runs as"
        )
    finally:
        path.unlink(missing_ok=True)
    said = f"a sync takes {taken * 1000:.1f} ms"
    if taken >= _TOO_SLOW_SECONDS:
        return fail("sync", f"{said}: every message waits for one", "move `data` to a faster disk")
    if taken >= _SLOW_SECONDS:
        return warn(
            "sync", f"{said}: messages share one, but each waits for it", "a disk with a safe write cache takes 1 ms"
        )
    return ok("sync", said)


def _times(path: Path) -> float:
    """The median of some syncs of a small write, in seconds."""
    taken = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            os.write(descriptor, bytes(4096))
            make_durable(descriptor)
            taken.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
    return statistics.median(taken)


def descriptors(settings: Settings) -> Finding:
    """The limit of the running server, else the one that it would inherit from here."""
    limit, whose = _limit_of_server(settings.data)
    need = settings.smtp_connections + _SPARE_DESCRIPTORS
    said = f"{whose} may open {limit:,} files, and smtp.connections: {settings.smtp_connections} needs {need:,}"
    if limit < need:
        return fail("descriptors", said, f"LimitNOFILE={need} in the unit, or ulimit -n {need}")
    return ok("descriptors", said)


def _limit_of_server(data: Path) -> tuple[int, str]:
    try:
        holder = (shard_directory(data, 0) / "lock").read_text().strip()
        lines = Path(f"/proc/{int(holder)}/limits").read_text().splitlines()
        limit = next(line for line in lines if line.startswith("Max open files")).split()[3]
    except (OSError, ValueError, StopIteration):
        return attainable(), "a server started here"
    return (sys.maxsize if limit == "unlimited" else int(limit)), "the server"


async def clock(world: World) -> Finding:
    """Whether anybody keeps the clock, and whether it went back behind mail that is here."""
    newest = await _newest(world.settings.data)
    if newest is not None and newest - world.now > _BEHIND:
        said = f"it says {world.now:%Y-%m-%d %H:%M}Z, and mail came at {newest:%Y-%m-%d %H:%M}Z already"
        return fail("clock", said, "set it: signatures, certificates, retention and retries all go by it")
    error = _uncertainty()
    if error is None:
        return warn("clock", "the kernel does not say that anything keeps it", "run chrony, ntpd or systemd-timesyncd")
    return ok("clock", f"kept, to within {error * 1000:.0f} ms")


async def _newest(data: Path) -> datetime | None:
    try:
        found = await open_reader(data).find(HistoryQuery(limit=1))
    except Broken:
        return None
    return found[0][0].at if found else None


def _uncertainty() -> float | None:
    """By how many seconds the kernel says that its clock may be wrong; None: it is not kept, or the kernel cannot be asked."""
    call = getattr(ctypes.CDLL(None), "adjtimex", None)
    if call is None or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    timex = ctypes.create_string_buffer(256)  # struct timex is smaller; modes 0 only asks
    if call(timex) < 0:
        return None
    _, _, _, _, worst, _, state = struct.unpack_from("IIqqqqi", timex)
    return None if state & _UNSYNCHRONISED else worst / 1_000_000


def rights(settings: Settings) -> list[Finding]:
    """What only the server may read, and what others can."""
    data = settings.data
    secret = [data, *_secret_files(data)]
    wide = [path for path in secret if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    if settings.tls_key is not None and _mode(settings.tls_key) & 0o007:
        wide.append(settings.tls_key)
    findings = [fail("rights", f"others may read {path} ({_mode(path):04o})", f"chmod go= {path}") for path in wide]
    findings += [
        fail("rights", f"{path} cannot be read by {_owner(data)}, who runs the server", f"chown {_owner(data)} {path}")
        for path in secret
        if path.exists() and path.stat().st_uid != data.stat().st_uid
    ]
    if any(getattr(settings, name) for name in _SECRETS):
        findings += [
            warn(
                "rights",
                f"others may read {path}, which may hold a secret",
                f"chmod go= {path}, or write ${{NAME}} for it",
            )
            for path in settings.files
            if _mode(path) & 0o007
        ]
    return findings or [
        ok("rights", "state and keys are their owner's alone" if data.exists() else "there is no state yet")
    ]


def _secret_files(data: Path) -> Iterable[Path]:
    if not data.is_dir():
        return
    for path in sorted(data.iterdir()):
        if path.is_file() and path.suffix in (".pem", ".db", "") and not path.name.startswith("."):
            yield path
        elif path.name == KEYS:
            yield from [path, *sorted(path.rglob("*"))]


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return str(path.stat().st_uid)


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0


def _existing(path: Path) -> Path:
    """The path, or the nearest directory above it that is there."""
    return next(each for each in (path.resolve(), *path.resolve().parents) if each.is_dir())
