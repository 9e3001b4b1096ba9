"""Keys that are made once: ours alone, and refused where they are not. Files that are replaced whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gatepost.kept_file import kept, replace_whole
from mail.errors import Permanent


def test_a_key_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "key"
    assert kept(path, lambda: b"one") == b"one"
    assert kept(path, lambda: b"two") == b"one"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [each.name for each in path.parent.iterdir()] == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    kept(path, lambda: b"one")
    path.chmod(mode)
    with pytest.raises(Permanent, match="can be used by others"):
        kept(path, lambda: b"two")


def test_a_link_in_place_of_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"known to others")
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Permanent, match="cannot be read"):
        kept(tmp_path / "key", lambda: b"one")


def test_of_two_processes_that_make_a_key_at_once_the_first_one_s_stands_for_both(tmp_path: Path) -> None:
    path = tmp_path / "key"

    def while_another_was_quicker() -> bytes:
        kept(path, lambda: b"one")
        return b"two"

    assert kept(path, while_another_was_quicker) == b"one"
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_what_is_replaced_is_ours_alone_and_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").write_bytes(b"another's")
    path = tmp_path / ("n" * 240)
    path.symlink_to(tmp_path / "elsewhere")
    replace_whole(path, b"one")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, path.is_symlink()) == (b"one", 0o600, False)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        replace_whole(path, b"two")
    assert sorted(each.read_bytes() for each in tmp_path.iterdir()) == [b"another's", b"one"]
