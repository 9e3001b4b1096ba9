"""disk: SES's object layout, durable and safe from whatever stands in the store."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from acting import ID, RAW, context_of
from hypothesis import given
from hypothesis import strategies as st

from actions import object_files
from actions.disk import Disk
from actions.object_key import key_components, object_key
from actions.object_store import ObjectStore
from mail.errors import Permanent
from mail.outcome import Outcome, Result


@pytest.fixture(params=["batch", "each"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    made = ObjectStore(request.param)
    yield made
    await made.close()


async def stored(store: ObjectStore, base: Path, prefix: str = "", raw: bytes = RAW) -> Outcome:
    return await Disk(store, base).run(context_of("disk", {"path": "mail", "object_key_prefix": prefix}, raw=raw))


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("", ID),
        ("emails", f"emails/{ID}"),
        ("inbound/", f"inbound/{ID}"),
        ("/emails", f"/emails/{ID}"),
        ("a/b", f"a/b/{ID}"),
    ],
)
def test_key_follows_ses(prefix: str, key: str) -> None:
    assert object_key(prefix, ID) == key


async def test_object_is_the_message_as_the_rule_sees_it(store: ObjectStore, tmp_path: Path) -> None:
    outcome = await stored(store, tmp_path, "support")
    path = tmp_path / "mail" / "support" / ID
    assert path.read_bytes() == b"X-Ours: yes\r\n" + RAW
    assert outcome == Outcome(
        result=Result.DONE,
        detail=f"stored as {path}",
        data={"object_key": f"support/{ID}", "object_key_prefix": "support", "path": str(path)},
    )


async def test_object_and_its_directories_are_ours_alone(store: ObjectStore, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await stored(store, tmp_path, "a/b")
    finally:
        os.umask(before)
    for path, mode in ((tmp_path / "mail", 0o700), (tmp_path / "mail/a", 0o700), (tmp_path / f"mail/a/b/{ID}", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


async def test_repeated_step_overwrites_the_same_key(store: ObjectStore, tmp_path: Path) -> None:
    await stored(store, tmp_path, raw=RAW + b"first\r\n")
    await stored(store, tmp_path)
    assert [path.name for path in (tmp_path / "mail").iterdir()] == [ID]
    assert (tmp_path / "mail" / ID).read_bytes().endswith(b"Good day.\r\n")


@pytest.mark.parametrize("prefix", ["../", "a/../../b", "..", ".", "a/./b", "a\0b"])
async def test_prefix_that_leaves_the_store_is_refused(store: ObjectStore, tmp_path: Path, prefix: str) -> None:
    with pytest.raises(Permanent):
        await stored(store, tmp_path, prefix)
    assert not (tmp_path / "mail").exists()


@given(st.text(alphabet="./ab\0\\~", max_size=12))
def test_no_prefix_leaves_the_root(prefix: str) -> None:
    try:
        components = key_components(object_key(prefix, ID))
    except Permanent:
        return
    path = Path("/store").joinpath(*components)
    assert os.path.normpath(path) == str(path)
    assert path.is_relative_to("/store")
    assert path.name == ID


async def test_absolute_looking_prefix_stays_below_the_root(store: ObjectStore, tmp_path: Path) -> None:
    outcome = await stored(store, tmp_path, "/etc")
    assert outcome.data["object_key"] == f"/etc/{ID}"
    assert (tmp_path / "mail" / "etc" / ID).is_file()


@pytest.mark.parametrize("dangling", [False, True])
async def test_symbolic_link_in_the_store_is_not_followed(store: ObjectStore, tmp_path: Path, dangling: bool) -> None:
    outside = tmp_path / "outside"
    if not dangling:
        outside.mkdir()
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "support").symlink_to(outside)
    outcome = await stored(store, tmp_path, "support/deep")
    assert outcome.result is Result.FAILED
    assert not outside.exists() or list(outside.iterdir()) == []


async def test_link_in_place_of_the_object_is_replaced_and_not_written_through(
    store: ObjectStore, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep me")
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / ID).symlink_to(victim)
    assert (await stored(store, tmp_path)).result is Result.DONE
    assert victim.read_text() == "keep me"
    assert not (tmp_path / "mail" / ID).is_symlink()


class Watched:
    """A store's calls in the order in which they were made, each with whether the loop made it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.store = ObjectStore()
        self.loop_thread = threading.get_ident()
        assert self.store._syncfs is not None
        self.store._syncfs = self.noting("sync", self.store._syncfs)
        monkeypatch.setattr(object_files, "write_new", self.noting("write", object_files.write_new))
        monkeypatch.setattr(os, "rename", self.noting("name", os.rename))

    def noting(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **parameters: Any) -> Any:
            result = call(*arguments, **parameters)
            self.calls.append((what, threading.get_ident() == self.loop_thread))
            return result

        return noted

    def made(self) -> list[str]:
        """The calls since the last time."""
        words = [what for what, _ in self.calls]
        self.calls.clear()
        return words


async def test_contents_are_durable_before_the_name_and_the_name_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    await watched.store.put(tmp_path / "s", ("a",), b"x")
    assert watched.made() == ["write", "sync", "name", "sync"]
    await watched.store.put(tmp_path / "s", ("b",), b"x", b"{}")
    assert watched.made() == ["write", "write", "sync", "name", "sync"]
    await watched.store.close()


async def test_a_sync_serves_the_contents_of_one_batch_and_the_names_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    await asyncio.gather(*(watched.store.put(tmp_path / "s", ("d", f"{number}"), b"x") for number in range(100)))
    await watched.store.close()
    assert len(list((tmp_path / "s" / "d").iterdir())) == 100
    rounds = ["write"] * 32, ["sync", *["name"] * 32, *["write"] * 32], ["sync", *["name"] * 32, *["write"] * 4]
    assert watched.made() == [*rounds[0], *rounds[1], *rounds[1], *rounds[2], "sync", *["name"] * 4, "sync"]


@pytest.mark.parametrize(
    ("is_local", "octets", "on_loop"), [(True, 10, True), (True, 1 << 20, False), (False, 10, False)]
)
async def test_only_what_returns_at_once_is_called_on_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_local: bool, octets: int, on_loop: bool
) -> None:
    monkeypatch.setattr(object_files, "_is_local", lambda descriptor: is_local)
    watched = Watched(monkeypatch)
    await watched.store.put(tmp_path / "s", ("first",), b"x")
    assert not any(by_loop for _, by_loop in watched.calls[:2])  # nobody knows yet where this is
    watched.made()
    await watched.store.put(tmp_path / "s", ("a",), b"x" * octets)
    await watched.store.close()
    assert [by_loop for what, by_loop in watched.calls if what == "write"] == [on_loop]
    assert not any(by_loop for what, by_loop in watched.calls if what == "sync")


async def test_a_root_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    store, free = ObjectStore(), threading.Event()
    syncfs = store._syncfs
    assert syncfs is not None
    (tmp_path / "hangs").mkdir()
    hanging = (tmp_path / "hangs").stat().st_ino

    def slow(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == hanging:
            assert free.wait(20)
        syncfs(descriptor)

    store._syncfs = slow
    held = store.put(tmp_path / "hangs", ("a",), b"x")
    await store.put(tmp_path / "other", ("b",), b"x")
    assert not held.done()
    free.set()
    await held
    await store.close()


async def test_one_object_that_fails_takes_no_other_of_its_batch_along(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    results = await asyncio.gather(
        store.put(tmp_path / "s", ("good",), b"1"),
        store.put(tmp_path / "file", ("bad",), b"2"),
        store.put(tmp_path / "s", ("x" * 300,), b"3"),
        store.put(tmp_path / "s\0", ("nul",), b"4"),
        store.put(tmp_path / "s", ("better",), b"5"),
        return_exceptions=True,
    )
    assert [result is None for result in results] == [True, False, False, False, True]
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["better", "good"]


async def test_failed_sync_gives_no_object_its_name(tmp_path: Path) -> None:
    store = ObjectStore()

    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    store._syncfs = refuse
    with pytest.raises(OSError, match="Input/output"):
        await store.put(tmp_path / "s", ("a",), b"x")
    await store.close()
    assert list((tmp_path / "s").iterdir()) == []


async def test_cancelled_step_disturbs_nobody(store: ObjectStore, tmp_path: Path) -> None:
    first = store.put(tmp_path / "s", ("a",), b"x")
    second = store.put(tmp_path / "s", ("b",), b"x")
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert (tmp_path / "s" / "b").read_bytes() == b"x"


async def test_metadata_that_cannot_be_written_leaves_nothing_behind(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s").mkdir()
    write = os.write

    def full(file: int, data: bytes) -> int:
        if bytes(data) == b"{}":
            raise OSError(28, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        await store.put(tmp_path / "s", ("a",), b"x", b"{}")
    assert list((tmp_path / "s").iterdir()) == []


@pytest.mark.parametrize("stale", ["file", "link"])
async def test_metadata_that_stands_there_is_replaced_and_never_written_through(
    store: ObjectStore, tmp_path: Path, stale: str
) -> None:
    victim, sidecar = tmp_path / "victim", tmp_path / "s" / "a.metadata.json"
    victim.write_text("keep me")
    (tmp_path / "s").mkdir()
    if stale == "file":
        sidecar.write_text("old")
    else:
        sidecar.symlink_to(victim)
    await store.put(tmp_path / "s", ("a",), b"x", b"{}")
    assert victim.read_text() == "keep me"
    assert not sidecar.is_symlink()
    assert sidecar.read_bytes() == b"{}"
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["a", "a.metadata.json"]
