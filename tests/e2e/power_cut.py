"""What a power cut would leave: the system calls of a run, replayed onto a model of a disk that keeps only what was synced.

The gateway runs under strace, which writes down every write with its octets. The model holds, for each file, what was durable at
its last completed sync, and the writes since, any of which a real disk may have or lack, down to half of one: sectors of 512
octets are whole, nothing else is. Names (creations, renames, removals) count from the sync of their directory on; before it, a
beginning of what was done there may have come through. `after` gives one such state for a moment of the run, chosen by chance.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
LONGEST = 1_000_000  # octets of one write that strace writes down
CALLS = (
    *("openat", "pwrite64", "write", "writev", "sendto", "sendmsg", "ftruncate", "fsync", "fdatasync", "syncfs"),
    *(
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "mkdir",
        "link",
        "linkat",
        "copy_file_range",
        "sendfile",
    ),
)
_CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)(?:<([^>]*)>)?")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_PATH = re.compile(r'^(?:\w+)?<([^>]*)>, "([^"]*)"|^"([^"]*)"')
_WRITE = re.compile(r'^\d+<([^>]*)>, "([^"]*)"(\.\.\.)?')
_ACCEPTED = re.compile(rb"250 2\.0\.0 Ok ([0-9a-v]{40})\r\n")


def strace(trace: Path) -> list[str]:
    """The words to put before a command."""
    calls = ",".join(CALLS)
    return [
        "strace",
        "-f",
        "-y",
        "-xx",
        "-qq",
        "-s",
        str(LONGEST),
        "-o",
        str(trace),
        "-e",
        f"trace={calls}",
        "-e",
        "signal=none",
    ]


@dataclass(frozen=True, slots=True)
class Event:
    """One call that succeeded. It took effect somewhere between the lines `begun` and `ended` of the trace."""

    name: str
    arguments: str
    opened: str
    begun: int
    ended: int


def events(trace: Path) -> Iterator[Event]:
    waiting: dict[str, tuple[str, int]] = {}
    with trace.open() as lines:
        for number, line in enumerate(lines):
            process, _, said = line.rstrip("\n").partition(" ")
            said = said.lstrip()
            begun = number
            if said.endswith(_UNFINISHED):
                waiting[process] = (said.removesuffix(_UNFINISHED), number)
                continue
            if resumed := _RESUMED.match(said):
                if process not in waiting:
                    continue
                start, begun = waiting.pop(process)
                said = start + said[resumed.end() :]
            found = _CALL.match(said)
            if found is not None and int(found.group(3)) >= 0:
                yield Event(found.group(1), found.group(2), found.group(4) or "", begun, number)


@dataclass(slots=True)
class File:
    """`durable` is what the disk has for sure; `pending` are writes (begun, offset, octets) and truncations (octets None)."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    size: int = 0

    def sync(self, before: int) -> None:
        """Everything that ended before the sync began is on the disk."""
        done = [each for each in self.pending if each[0] < before]
        self.pending = [each for each in self.pending if each[0] >= before]
        for _, offset, octets in done:
            apply(self.durable, offset, octets)

    def after(self, chance: random.Random) -> bytearray:
        """One content that a power cut may leave."""
        content = bytearray(self.durable)
        share = chance.choice((0.0, 0.5, 0.9, 1.0))
        for _, offset, octets in self.pending:
            if chance.random() >= share:
                continue
            if octets is None or chance.random() < 0.5:
                apply(content, offset, octets)
                continue
            for start in range(0, len(octets), SECTOR):
                if chance.random() < 0.5:
                    apply(content, offset + start, octets[start : start + SECTOR])
        return content


def apply(content: bytearray, offset: int, octets: bytes | None) -> None:
    if octets is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(octets)] = octets


class Disk:
    """The files below `root`. `accepted` are the messages that some client may have been promised, with the line of it."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._now: dict[str, File | None] = {self._root: None}  # None: a directory
        self._durable: dict[str, File | None] = {self._root: None}
        self._names: dict[str, list[tuple[int, str, File | None, bool]]] = {}
        self.accepted: dict[str, int] = {}
        self.syncs = 0
        self.writes = 0

    def follow(self, event: Event) -> None:
        name, arguments = event.name, event.arguments
        if name in ("write", "pwrite64", "sendto", "writev", "sendmsg"):
            self._write(event)
        elif name == "openat":
            self._open(event)
        elif name in ("fsync", "fdatasync", "syncfs"):
            self._sync(event)
        elif name == "ftruncate":
            path, size = decoded(arguments.partition("<")[2].partition(">")[0]), int(arguments.rpartition(", ")[2])
            if isinstance(file := self._now.get(path), File):
                file.pending.append((event.ended, size, None))
                file.size = size
        elif name == "mkdir":
            self._name(event.ended, path_of(arguments), None)
        elif name.startswith("unlink"):
            self._name(event.ended, path_of(arguments), None, gone=True)
        elif name.startswith("rename"):
            self._rename(event)
        elif name in ("link", "linkat"):
            self._rename(event, stays=True)
        else:
            assert self._root not in decoded(arguments), f"{name} is not part of this model"

    def _write(self, event: Event) -> None:
        found = _WRITE.match(event.arguments)
        if found is None:
            return
        path, octets = decoded(found.group(1)), bytes_of(found.group(2))
        if path.startswith(("socket:", "TCP", "UNIX")):
            for accepted in _ACCEPTED.finditer(octets):
                self.accepted.setdefault(accepted.group(1).decode(), event.begun)
            return
        file = self._now.get(path)
        if file is None:
            return
        assert found.group(3) is None, f"a write of more than {LONGEST} octets"
        assert event.name in ("write", "pwrite64"), f"{event.name} to a file is not part of this model"
        offset = int(event.arguments.rpartition(", ")[2]) if event.name == "pwrite64" else file.size
        file.pending.append((event.ended, offset, octets))
        file.size = max(file.size, offset + len(octets))
        self.writes += 1

    def _open(self, event: Event) -> None:
        path = decoded(event.opened)
        if "O_CREAT" not in event.arguments or not path.startswith(self._root):
            return
        file = self._now.get(path)
        if file is None:
            self._name(event.ended, path, File())
        elif "O_TRUNC" in event.arguments:
            file.pending.append((event.ended, 0, None))
            file.size = 0

    def _name(self, number: int, path: str, file: File | None, *, gone: bool = False) -> None:
        if not path.startswith(self._root):
            return
        if gone:
            file = self._now.pop(path, None)
        else:
            self._now[path] = file
        self._names.setdefault(os.path.dirname(path), []).append((number, path, file, gone))

    def _rename(self, event: Event, *, stays: bool = False) -> None:
        parts = re.findall(r'(?:\d+<([^>]*)>, )?"([^"]*)"', event.arguments)
        source, target = (os.path.join(decoded(at), decoded(name)) for at, name in parts)
        if source in self._now:
            file = self._now[source]
            if not stays:
                self._name(event.ended, source, file, gone=True)
            self._name(event.ended, target, file)

    def _sync(self, event: Event) -> None:
        path = decoded(event.arguments.partition("<")[2].partition(">")[0])
        if not path.startswith(self._root):
            return
        self.syncs += 1
        if event.name == "syncfs":
            for file in {id(each): each for each in self._now.values() if each is not None}.values():
                file.sync(event.begun)
            for directory in list(self._names):
                self._sync_names(directory, event.begun)
        elif isinstance(file := self._now.get(path), File):
            file.sync(event.begun)
        else:
            self._sync_names(path, event.begun)

    def _sync_names(self, directory: str, before: int) -> None:
        changes = self._names.get(directory, [])
        for change in changes:
            if change[0] < before:
                rename_in(self._durable, change)
        self._names[directory] = [change for change in changes if change[0] >= before]

    def after(self, chance: random.Random, into: Path) -> None:
        """Write one state that a power cut may leave now into the directory `into`."""
        names = dict(self._durable)
        for changes in self._names.values():
            for change in changes[: chance.choice((0, len(changes), chance.randint(0, len(changes))))]:
                rename_in(names, change)
        into.mkdir(mode=0o700)
        for path, file in sorted(names.items(), key=lambda each: each[0]):
            # A name whose directory did not come through is not there either.
            target = into / os.path.relpath(path, self._root)
            if not target.parent.is_dir():
                continue
            if file is None:
                target.mkdir(exist_ok=True)
            elif not target.name.endswith("-shm"):  # shared memory: made anew by whoever comes first
                target.write_bytes(file.after(chance))


def rename_in(names: dict[str, File | None], change: tuple[int, str, File | None, bool]) -> None:
    _, path, file, gone = change
    if gone:
        names.pop(path, None)
    else:
        names[path] = file


def bytes_of(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def decoded(text: str) -> str:
    """A path, which strace writes in hex."""
    return re.sub(r"(?:\\x[0-9a-f]{2})+", lambda found: os.fsdecode(bytes_of(found.group())), text)


def path_of(arguments: str) -> str:
    found = _PATH.match(arguments)
    assert found is not None, arguments[:200]
    return os.path.join(decoded(found.group(1) or ""), decoded(found.group(2) or found.group(3) or ""))
