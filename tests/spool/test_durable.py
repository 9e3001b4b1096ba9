"""What is said to be durable is on the disk, where fsync alone would not put it there too."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from spool.ballast import Ballast
from spool.durable import make_durable, write_new
from spool.schema import open_for_writing

FULL = 51  # F_FULLFSYNC of macOS


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(f"fsync {descriptor}"))
    return calls


def on_macos(monkeypatch: pytest.MonkeyPatch, calls: list[str], error: int = 0) -> None:
    def control(descriptor: int, command: int) -> int:
        assert command == FULL
        if error:
            raise OSError(error, os.strerror(error))
        calls.append(f"F_FULLFSYNC {descriptor}")
        return 0

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", FULL, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)


def test_fsync_is_enough_where_there_is_nothing_stronger(called: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fcntl, "F_FULLFSYNC", raising=False)
    make_durable(3)
    assert called == ["fsync 3"]


def test_the_drive_empties_its_cache_on_macos(called: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    on_macos(monkeypatch, called)
    make_durable(3)
    assert called == ["F_FULLFSYNC 3"]


def test_a_file_system_that_knows_fsync_only_gets_that(called: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    on_macos(monkeypatch, called, errno.ENOTSUP)
    make_durable(3)
    assert called == ["fsync 3"]


def test_a_disk_that_fails_is_not_asked_again(called: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    on_macos(monkeypatch, called, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        make_durable(3)
    assert called == []


def test_a_commit_is_as_durable_as_a_file(tmp_path: Path) -> None:
    connection = open_for_writing(tmp_path / "spool.db")
    try:
        found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("fullfsync", "checkpoint_fullfsync")]
    finally:
        connection.close()
    assert found == [1, 1]


def test_room_is_held_where_the_system_cannot_reserve_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    ballast = Ballast(tmp_path / "ballast", 3 * 2**20 + 5)
    ballast.lay()
    status = (tmp_path / "ballast").stat()
    assert ballast.is_held
    assert status.st_size == 3 * 2**20 + 5
    assert status.st_blocks * 512 >= status.st_size  # octets, and no hole


def test_a_new_file_is_ours_alone_and_never_in_the_place_of_another(tmp_path: Path) -> None:
    write_new(tmp_path / "a", b"one")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "a").stat().st_mode & 0o777) == (b"one", 0o600)
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    below = os.open(tmp_path, os.O_RDONLY)
    try:
        for name in ("a", "link"):
            with pytest.raises(FileExistsError):
                write_new(name, b"two", directory=below)
        write_new("b", b"three", directory=below, durable=False)
    finally:
        os.close(below)
    assert sorted(each.read_bytes() for each in tmp_path.iterdir() if each.exists()) == [b"one", b"three"]
