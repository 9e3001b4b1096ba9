"""The model of a disk that the power cuts are tried on: what was synced stays, and everything else may be missing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from power_cut import Disk, Event, events


def calls(root: Path, *said: str) -> list[Event]:
    """Events of lines such as strace writes, `@` for the root, each over before the next begins."""
    trace = root.parent / "calls"
    trace.write_text("".join(f"1 {line.replace('@', str(root))}\n" for line in said))
    return list(events(trace))


WRITTEN = ('openat(3</>, "@/a", O_WRONLY|O_CREAT, 0600) = 4<@/a>', r'pwrite64(4<@/a>, "\x61\x61", 2, 0) = 2')
SYNCED = (*WRITTEN, "fsync(4<@/a>) = 0", "fsync(5<@>) = 0")


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (WRITTEN, {None, b"", b"aa"}),
        ((*WRITTEN, "fsync(4<@/a>) = 0"), {None, b"aa"}),
        ((*WRITTEN, "fsync(5<@>) = 0"), {b"", b"aa"}),
        ((*WRITTEN, "fsync(4<@/a>) = -1 EIO (Input/output error)", "fsync(5<@>) = 0"), {b"", b"aa"}),
        (SYNCED, {b"aa"}),
        ((*WRITTEN, "syncfs(5<@>) = 0"), {b"aa"}),
        ((*SYNCED, r'pwrite64(4<@/a>, "\x62", 1, 1) = 1'), {b"aa", b"ab"}),
        ((*SYNCED, "ftruncate(4<@/a>, 0) = 0"), {b"aa", b""}),
        ((*SYNCED, 'unlink("@/a") = 0'), {b"aa", None}),
        ((*SYNCED, 'unlink("@/a") = 0', "fsync(5<@>) = 0"), {None}),
    ],
)
def test_the_model_keeps_what_was_synced_and_may_lack_the_rest(
    said: tuple[str, ...], left: set[bytes | None], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    disk = Disk(root)
    for event in calls(root, *said):
        disk.follow(event)
    found = set()
    for seed in range(60):
        disk.after(random.Random(seed), tmp_path / str(seed))
        path = tmp_path / str(seed) / "a"
        found.add(path.read_bytes() if path.exists() else None)
    assert found == left


def test_a_sync_does_not_count_for_what_began_beside_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    begun, ended = "fsync(4<@/a> <unfinished ...>", "<... fsync resumed>) = 0"
    disk = Disk(root)
    for event in calls(root, WRITTEN[0], "fsync(5<@>) = 0", begun, WRITTEN[1], ended):
        disk.follow(event)
    assert disk._now[f"{root}/a"].durable == b""
