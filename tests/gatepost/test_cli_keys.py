"""`gatepost keys` and `gatepost decrypt`: a key's life, and what is still readable at each point of it."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from stored_mail import T0, Mail, fill

from actions.envelope_encryption import Encryption, Sealed, read_envelope
from actions.key_files import KeyFiles
from actions.keys import LocalKeys
from gatepost.cli import decrypt, keys
from gatepost.stored_files import read_metadata, write_sidecar
from mail.errors import GatepostError, Malformed, Permanent, Temporary

PLAIN = b"Return-Path: <a@sender.example>\r\nSubject: Hello\r\n\r\nGood day.\r\n"


def run(command, data, *arguments, code=0):
    result = CliRunner().invoke(command, [*arguments, "--data", str(data)])
    if code is None:
        assert isinstance(result.exception, GatepostError | OSError), result.output
        return result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def data(tmp_path):
    run(keys.command, tmp_path, "create", "mail")
    return tmp_path


def local(data):
    return LocalKeys(KeyFiles(data / "keys"))


def stored(data, name, message_id="m", key="alias/mail") -> Path:
    """An object as the disk action writes it."""
    sealed: Sealed = asyncio.run(
        Encryption(keys=local(data)).seal(PLAIN, key=key, message_id=message_id, rule="archive")
    )
    path = data / "mail" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(sealed.metadata).encode() + b"\n" + sealed.body)
    return path


def wrapping(data, path):
    metadata = read_metadata(path)
    return local(data).wrapping_version(read_envelope(metadata).wrapped).version


def test_a_key_is_listed_without_its_secret(data):
    shown = run(keys.command, data, "list").output
    (row,) = [json.loads(line) for line in run(keys.command, data, "list", "--json").output.splitlines()]
    assert (row["name"], row["version"]) == ("mail", 1)
    secret = json.loads((data / "keys/mail/1.key").read_text())["key"]
    assert "alias/mail" in shown
    assert secret not in shown + json.dumps(row)


def test_no_key_is_said_so(tmp_path):
    assert "no key" in run(keys.command, tmp_path, "list").output


def test_a_name_cannot_lead_out_of_the_store(tmp_path):
    for name in ("../x", "/etc", "a b", "."):
        assert isinstance(run(keys.command, tmp_path, "create", name, code=None), Permanent)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_decrypted(data):
    path = stored(data, "one")
    assert run(decrypt.command, data, str(path)).stdout_bytes == PLAIN
    target = data / "plain.eml"
    run(decrypt.command, data, str(path), "-o", str(target))
    assert target.read_bytes() == PLAIN
    assert target.stat().st_mode & 0o777 == 0o600


def test_what_is_not_encrypted_or_was_changed_is_not_written(data):
    path = stored(data, "one")
    target = data / "plain.eml"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert isinstance(run(decrypt.command, data, str(path), "-o", str(target), code=None), Malformed)
    plain = data / "mail" / "plain"
    plain.write_bytes(PLAIN)
    assert "not encrypted" in str(run(decrypt.command, data, str(plain), "-o", str(target), code=None))
    assert not target.exists()


@pytest.mark.parametrize("content", ["[]", '{"a": 1}', "{", "x" * 70_000])
def test_metadata_that_is_none_is_refused(data, content):
    path = stored(data, "one")
    path.with_name("one.metadata.json").write_text(content)
    assert isinstance(run(decrypt.command, data, str(path), code=None), Malformed)
    path.with_name("one.metadata.json").unlink()
    path.write_text("{" + content)
    assert isinstance(run(decrypt.command, data, str(path), code=None), Malformed)


def test_a_link_is_not_followed_to_what_it_points_at(data):
    path = stored(data, "one")
    link = path.with_name("two")
    link.symlink_to(path)
    assert isinstance(run(decrypt.command, data, str(link), code=None), OSError)
    (data / "elsewhere").write_text("{}")
    path.with_name("one.metadata.json").symlink_to(data / "elsewhere")
    assert isinstance(run(decrypt.command, data, str(path), code=None), OSError)


def test_rotation_puts_metadata_under_the_new_version_and_leaves_bodies_alone(data):
    paths = [stored(data, name) for name in ("one", "deep/two")]
    other = stored(data, "other", key=_other_key(data))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}
    said = run(keys.command, data, "rotate", "mail", str(data / "mail")).output
    assert "2 objects put under the new version, 1 left as is" in said
    assert [wrapping(data, path) for path in paths] == [2, 2]
    assert wrapping(data, other) == 1
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in paths} == before
    assert all(run(decrypt.command, data, str(path)).stdout_bytes == PLAIN for path in (*paths, other))
    again = run(keys.command, data, "rotate", "mail", "--rewrap-only", str(data / "mail")).output
    assert "0 objects put under the new version, 3 left as is" in again
    assert [name for name in os.listdir(data / "mail") if name.startswith(".")] == []


def _other_key(data):
    run(keys.command, data, "create", "other")
    return "alias/other"


def test_a_sidecar_of_another_body_does_not_hide_the_files_own_metadata(data):
    path = stored(data, "one")
    run(keys.command, data, "rotate", "mail", str(data / "mail"))
    assert path.with_name("one.metadata.json").exists()
    stored(data, "one")  # written anew while the rotation was under way
    assert run(decrypt.command, data, str(path)).stdout_bytes == PLAIN
    path.write_bytes(PLAIN)
    assert "not encrypted" in str(run(decrypt.command, data, str(path), code=None))


def test_rotation_says_what_it_could_not_do_and_goes_on(data):
    broken, good = stored(data, "a"), stored(data, "b")
    metadata = read_metadata(broken)
    write_sidecar(broken, {**metadata, "x-amz-matdesc": metadata["x-amz-matdesc"].replace("archive", "other")})
    result = run(keys.command, data, "rotate", "mail", str(data / "mail"), code=1)
    assert "does not open" in result.output
    assert wrapping(data, good) == 2


def test_a_shredded_key_opens_nothing_and_an_old_version_can_go_after_rotation(data):
    path, left = stored(data, "one"), stored(data, "two")
    run(keys.command, data, "rotate", "mail")
    left.rename(data / "aside")
    run(keys.command, data, "rotate", "--rewrap-only", "mail", str(data / "mail"))
    (data / "aside").rename(left)
    run(keys.command, data, "shred", "mail", "--version", "1", "--yes")
    assert run(decrypt.command, data, str(path)).stdout_bytes == PLAIN
    assert isinstance(run(decrypt.command, data, str(left), code=None), Temporary)
    run(keys.command, data, "shred", "mail", "--yes")
    assert "shredded" in str(run(decrypt.command, data, str(path), code=None))
    assert not (data / "keys" / "mail").exists()


def test_nothing_is_shredded_without_a_word(data):
    assert "say --yes" in run(keys.command, data, "shred", "mail", code=2).output
    assert isinstance(run(keys.command, data, "shred", "mail", "--version", "7", "--yes", code=None), Permanent)
    assert (data / "keys/mail/1.key").exists()


def test_an_exported_key_opens_what_was_written_before_it_was_lost(data):
    path = stored(data, "one")
    run(keys.command, data, "rotate", "mail")
    backup = data / "backup"
    run(keys.command, data, "export", "mail", "-o", str(backup))
    assert backup.stat().st_mode & 0o777 == 0o600
    assert isinstance(run(keys.command, data, "export", "mail", "-o", str(backup), code=None), FileExistsError)
    run(keys.command, data, "shred", "mail", "--yes")
    run(keys.command, data, "create", "mail", "--from", str(backup))
    assert run(decrypt.command, data, str(path)).stdout_bytes == PLAIN


@pytest.mark.parametrize("content", ["", "[1]", "{}", "[]", '[{"id": "x"}]'])
def test_what_is_no_exported_key_is_refused(data, content):
    source = data / "source"
    source.write_text(content)
    assert isinstance(run(keys.command, data, "create", "new", "--from", str(source), code=None), Malformed)
    assert "new" not in KeyFiles(data / "keys").names()


def test_a_message_is_found_by_its_id(data):
    mail = Mail(number=1)
    path = stored(data, mail.id, message_id=mail.id)
    fill(data, Mail(number=1, data={"path": str(path), "object_key": mail.id}), Mail(number=2))
    assert run(decrypt.command, data, mail.id).stdout_bytes == PLAIN
    assert run(decrypt.command, data, mail.id[:12]).stdout_bytes == PLAIN
    assert "stored" in run(decrypt.command, data, Mail(number=2).id, code=1).output


def test_another_messages_object_in_its_place_is_refused(data):
    mail = Mail(number=1)
    path = stored(data, mail.id, message_id=Mail(number=2).id)
    fill(data, Mail(number=1, data={"path": str(path), "object_key": mail.id}))
    assert "is of message" in str(run(decrypt.command, data, mail.id, code=None))


def test_what_is_neither_file_nor_message_is_said_so(tmp_path):
    assert "there is no file" in run(decrypt.command, tmp_path, "nowhere.eml", code=2).output


def test_the_tests_keys_are_made_now_and_their_mail_then(data):
    assert KeyFiles(data / "keys").current("mail").created_at > T0.isoformat()
