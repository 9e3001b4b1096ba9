"""The local key store: whose files it trusts, what a wrapped key is bound to, rotation and shredding."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from acting import NOW

from actions import key_files
from actions.key_files import KeyFiles, KeyVersion, decoded, encoded, key_name
from actions.keys import LocalKeys, is_local
from mail.errors import GatepostError, Malformed, Permanent, Temporary

CONTEXT = {"aws:ses:message-id": "m", "kms_cmk_id": "alias/mail"}


@pytest.fixture
def files(tmp_path: Path) -> KeyFiles:
    made = KeyFiles(tmp_path / "keys")
    made.create("mail", NOW)
    return made


@pytest.fixture
def keys(files: KeyFiles) -> LocalKeys:
    return LocalKeys(files)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("alias/mail", "mail"),
        ("mail", "mail"),
        ("alias/aws/ses", "aws/ses"),
        ("arn:aws:kms:eu-west-1:123456789012:alias/mail", "mail"),
        (
            "arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012",
            "12345678-1234-1234-1234-123456789012",
        ),
    ],
)
def test_one_alias_means_the_same_key_here_and_in_kms(reference: str, name: str) -> None:
    assert key_name(reference) == name


@pytest.mark.parametrize(
    "reference", ["", "alias/", "../../etc", "alias/../x", "/etc", "a\0b", "a b", "arn:aws:kms:::", "é"]
)
def test_a_reference_that_is_no_name_reaches_no_file(files: KeyFiles, reference: str) -> None:
    with pytest.raises(Permanent):
        key_name(reference)


def test_key_files_are_ours_alone(files: KeyFiles) -> None:
    before = os.umask(0)
    try:
        files.create("aws/ses", NOW)
    finally:
        os.umask(before)
    assert files.names() == ["aws/ses", "mail"]
    for path in files.directory.rglob("*"):
        assert stat.S_IMODE(path.lstat().st_mode) == (0o700 if path.is_dir() else 0o600)


async def test_a_data_key_is_unwrapped_under_its_context_only(keys: LocalKeys) -> None:
    made = await keys.generate("alias/mail", CONTEXT)
    assert is_local(made.wrapped)
    assert made.plain not in made.wrapped
    assert await keys.unwrap(made.wrapped, dict(reversed(CONTEXT.items()))) == made.plain
    for other in ({}, {**CONTEXT, "a": "b"}, {**CONTEXT, "aws:ses:message-id": "n"}):
        with pytest.raises(Permanent):
            await keys.unwrap(made.wrapped, other)


async def test_no_octet_of_a_wrapped_key_can_be_changed(keys: LocalKeys) -> None:
    made = await keys.generate("alias/mail", CONTEXT)
    for place in range(len(made.wrapped)):
        changed = bytearray(made.wrapped)
        changed[place] ^= 1
        with pytest.raises(GatepostError):
            await keys.unwrap(bytes(changed), CONTEXT)
    for cut in (b"", made.wrapped[:-1], made.wrapped + b"\0"):
        with pytest.raises(Permanent):
            await keys.unwrap(cut, CONTEXT)


async def test_the_id_of_another_key_does_not_open_it(files: KeyFiles, keys: LocalKeys) -> None:
    other = files.create("other", NOW)
    made = await keys.generate("alias/mail", CONTEXT)
    swapped = made.wrapped[:4] + other.id.bytes + made.wrapped[20:]
    with pytest.raises(Permanent):
        await keys.unwrap(swapped, CONTEXT)


async def test_after_rotation_new_keys_have_the_new_version_and_old_ones_still_open(
    files: KeyFiles, keys: LocalKeys
) -> None:
    old = await keys.generate("alias/mail", CONTEXT)
    assert files.rotate("mail", NOW).version == 2
    new = await keys.generate("alias/mail", CONTEXT)
    assert (keys.wrapping_version(old.wrapped).version, keys.wrapping_version(new.wrapped).version) == (1, 2)
    assert await keys.unwrap(old.wrapped, CONTEXT) == old.plain
    assert await keys.unwrap(new.wrapped, CONTEXT) == new.plain


async def test_a_shredded_key_opens_nothing_any_more(files: KeyFiles, keys: LocalKeys) -> None:
    made = await keys.generate("alias/mail", CONTEXT)
    files.rotate("mail", NOW)
    path = files.directory / "mail" / "1.key"
    linked = files.directory / "kept"
    os.link(path, linked)
    secret = json.loads(path.read_text())["key"]
    assert files.shred("mail", 1) == [1]
    # The blocks were overwritten, not only let go.
    assert secret.encode() not in linked.read_bytes()
    with pytest.raises(Temporary, match="shredded"):
        await keys.unwrap(made.wrapped, CONTEXT)
    assert files.shred("mail") == [2]
    assert files.names() == []
    with pytest.raises(Temporary, match="keys create mail"):
        await keys.generate("alias/mail", CONTEXT)
    # A key of the same name is another key.
    files.create("mail", NOW)
    with pytest.raises(Temporary):
        await keys.unwrap(made.wrapped, CONTEXT)


def test_another_process_rotates_and_the_next_data_key_knows(files: KeyFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system's clock stands still: nothing that was just written is taken for settled."""
    monkeypatch.setattr(key_files, "_state", lambda status: (status.st_ino, status.st_mode, status.st_uid))
    for version in range(2, 6):
        assert files.current("mail").version == version - 1
        KeyFiles(files.directory).rotate("mail", NOW)
        assert files.current("mail").version == version


class TestKept:
    """A key whose files were not touched for a second is not read again."""

    @pytest.fixture
    def kept(self, files: KeyFiles, monkeypatch: pytest.MonkeyPatch) -> KeyFiles:
        monkeypatch.setattr(key_files, "_SETTLED_NANOSECONDS", -1_000_000_000)
        files.current("mail")
        return files

    def test_it_is_not_read_again(self, kept: KeyFiles, monkeypatch: pytest.MonkeyPatch) -> None:
        def unread(path: Path, number: int) -> KeyVersion:
            raise AssertionError(f"{path} was read again")

        monkeypatch.setattr(key_files, "_opened", unread)
        assert kept.current("mail").version == 1

    def test_another_process_shreds_it_and_it_is_gone(self, kept: KeyFiles) -> None:
        KeyFiles(kept.directory).shred("mail")
        with pytest.raises(Temporary, match="no key mail"):
            kept.current("mail")

    def test_another_process_rotates_it_and_the_new_version_wraps(self, kept: KeyFiles) -> None:
        KeyFiles(kept.directory).rotate("mail", NOW)
        assert kept.current("mail").version == 2

    @pytest.mark.parametrize("what", [".", "mail", "mail/1.key"])
    def test_it_is_refused_when_others_can_use_it_now(self, kept: KeyFiles, what: str) -> None:
        (kept.directory / what).chmod(0o777)
        with pytest.raises(Temporary, match="can be used by others"):
            kept.current("mail")


def test_a_name_is_given_once(files: KeyFiles) -> None:
    with pytest.raises(Permanent, match="rotate"):
        files.create("mail", NOW)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
async def test_a_key_file_that_others_can_use_is_refused(files: KeyFiles, keys: LocalKeys, mode: int) -> None:
    path = files.directory / "mail" / "1.key"
    path.chmod(mode)
    with pytest.raises(Temporary, match="chmod 600"):
        await keys.generate("alias/mail", CONTEXT)


@pytest.mark.parametrize("where", ["", "mail"])
async def test_a_directory_that_others_can_write_to_is_refused(files: KeyFiles, keys: LocalKeys, where: str) -> None:
    (files.directory / where).chmod(0o770)
    with pytest.raises(Temporary, match="chmod 700"):
        await keys.generate("alias/mail", CONTEXT)


async def test_a_link_in_place_of_a_key_is_refused(files: KeyFiles, keys: LocalKeys, tmp_path: Path) -> None:
    path = files.directory / "mail" / "1.key"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Temporary, match="symbolic link"):
        await keys.generate("alias/mail", CONTEXT)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(Temporary, match="wrong kind"):
        await keys.generate("alias/mail", CONTEXT)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"key": "AAAA"}', "\0"])
async def test_a_damaged_key_file_is_said_to_be(files: KeyFiles, keys: LocalKeys, content: str) -> None:
    (files.directory / "mail" / "1.key").write_text(content)
    with pytest.raises(Temporary, match="holds no key"):
        await keys.generate("alias/mail", CONTEXT)


async def test_a_renamed_version_is_refused(files: KeyFiles, keys: LocalKeys) -> None:
    (files.directory / "mail" / "1.key").rename(files.directory / "mail" / "9.key")
    with pytest.raises(Temporary, match="holds version 1"):
        await keys.generate("alias/mail", CONTEXT)


def test_an_exported_key_is_the_same_key_elsewhere(files: KeyFiles, tmp_path: Path) -> None:
    files.rotate("mail", NOW)
    versions = [decoded(encoded(version)) for version in files.versions("mail")]
    elsewhere = KeyFiles(tmp_path / "other")
    elsewhere.create("mail", NOW, versions)
    assert elsewhere.versions("mail") == files.versions("mail")


@pytest.mark.parametrize("change", [{"key": "AAAA"}, {"key": 1}, {"id": "x"}, {"version": "1"}, {"algorithm": "DES"}])
def test_what_is_no_exported_key_is_refused(files: KeyFiles, change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        decoded({**encoded(files.current("mail")), **change})


def test_no_secret_is_shown_by_accident(files: KeyFiles) -> None:
    version = files.current("mail")
    assert encoded(version)["key"] not in f"{version!r} {version}"
    assert repr(version.secret) not in f"{version!r} {version}"
