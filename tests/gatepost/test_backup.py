"""A backup holds what was there when it began, says so by digests, and becomes the state of another directory."""

import contextlib
import json
import socket
import sqlite3
from datetime import timedelta

import pytest
from click.testing import CliRunner
from stored_mail import T0, Mail, fill, refused

from gatepost import backup
from gatepost.backup import check_backup, make_backup, restore_backup
from gatepost.cli import gatepost
from mail.errors import Malformed, Permanent
from spool import backup as spool_backup
from spool.database import open_spool
from spool.ports import HistoryQuery, JobQuery, JobState, MessageState, Retention
from spool.rule_sets import open_rule_books

SMALL = Mail(number=1)
LARGE = Mail(number=2, raw=b"Subject: large\r\n\r\n" + b"x" * 300_000)
LEFT = Mail(number=3, state=MessageState.RETRYING, left=JobState.READY, last="503")


@pytest.fixture
def state(tmp_path):
    directory = fill(tmp_path / "var", SMALL, LARGE, LEFT, refusals=(refused(1),))
    books = open_rule_books(directory / "rules.db")
    books.put("ab" * 32, b"{}", "rules.yaml", T0)
    books.activate("ab" * 32, pinned=False)
    books.close()
    for name, content in (("keys/mail.json", "key"), ("mail/a/object", "stored"), ("link-secret", "secret")):
        (directory / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (directory / name).write_text(content)
        (directory / name).chmod(0o600)
    return directory


def tree(directory):
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()}


async def contents(directory):
    spool = open_spool(directory, 0)
    found = [
        (row.id, state, await spool.body(row.id) if state else None) for row, state in await spool.find(HistoryQuery())
    ]
    jobs = [(job.key, job.state, job.last) for job in await spool.jobs(JobQuery())]
    await spool.close()
    return found, jobs


async def test_a_restored_backup_is_what_was_backed_up(state, tmp_path):
    made = make_backup(state, tmp_path / "backup", T0)
    assert (made.manifest.messages, made.manifest.jobs, made.missing, made.left_out) == (3, 1, (), ())
    restore_backup(tmp_path / "backup", tmp_path / "new")
    assert await contents(tmp_path / "new") == await contents(state)
    for name in ("keys/mail.json", "mail/a/object", "link-secret"):
        assert (tmp_path / "new" / name).read_text() == (state / name).read_text()
    books = open_rule_books(tmp_path / "new" / "rules.db")
    assert books.active().digest == "ab" * 32
    books.close()


async def test_what_only_a_running_server_needs_is_not_copied(state, tmp_path):
    spool = open_spool(state, 0)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(state / "control.sock"))
    (state / "limits.cells").write_bytes(bytes(10))
    make_backup(state, tmp_path / "backup", T0)
    listening.close()
    await spool.close()
    assert tree(tmp_path / "backup") == {
        "manifest.json",
        "rules.db",
        "keys/mail.json",
        "mail/a/object",
        "link-secret",
        "shards/00/spool.db",
        f"shards/00/bodies/{LARGE.id}",
    }


def test_only_the_owner_may_read_a_backup_and_what_is_restored(state, tmp_path):
    (tmp_path / "backup").mkdir(mode=0o755)
    make_backup(state, tmp_path / "backup", T0)
    restore_backup(tmp_path / "backup", tmp_path / "new")
    for directory in (tmp_path / "backup", tmp_path / "new"):
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in directory.rglob("*") if path.is_file()} == {0o600}


def test_a_part_is_left_out_when_asked_and_links_are_named(state, tmp_path):
    (state / "elsewhere").symlink_to(tmp_path)
    made = make_backup(state, tmp_path / "backup", T0, without=["mail"])
    assert made.left_out == ("elsewhere",)
    assert "mail/a/object" not in made.manifest.files


@pytest.mark.parametrize("place", ["var/backup", "full", "file", "var"])
def test_a_backup_needs_an_empty_place_outside_the_state(place, state, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    (tmp_path / "file").write_text("")
    with pytest.raises(Permanent):
        make_backup(state, tmp_path / place, T0)


@pytest.fixture
def meanwhile(monkeypatch):
    """Gives what is to befall the large message's shard once its database has been copied: a statement, and its body is gone."""
    copy_database = spool_backup.copy_database

    def befalls(statement):
        def and_then(source, target):
            copy_database(source, target)
            if source.name == "spool.db":
                with contextlib.closing(sqlite3.connect(source, isolation_level=None)) as connection:
                    connection.execute(statement)
                (source.parent / "bodies" / LARGE.id).unlink()

        monkeypatch.setattr(spool_backup, "copy_database", and_then)

    return befalls


async def test_a_body_that_retention_takes_meanwhile_is_taken_in_the_copy_too(state, tmp_path, meanwhile):
    meanwhile("UPDATE content SET octets = 0 WHERE octets > 200000")
    made = make_backup(state, tmp_path / "backup", T0)
    assert made.missing == ()
    restore_backup(tmp_path / "backup", tmp_path / "new")
    spool = open_spool(tmp_path / "new", 0)
    assert not (await spool.message(LARGE.id)).has_body
    assert (await spool.sweep(T0 + timedelta(days=1), Retention())).bodies == 0
    await spool.close()


async def test_a_message_that_is_erased_meanwhile_is_not_in_the_copy(state, tmp_path, meanwhile):
    meanwhile("DELETE FROM content WHERE octets > 200000")
    make_backup(state, tmp_path / "backup", T0)
    restore_backup(tmp_path / "backup", tmp_path / "new")
    found, _ = await contents(tmp_path / "new")
    assert (LARGE.id, None, None) in found


def test_a_body_that_is_lost_is_said_and_does_not_stop_the_backup(state, tmp_path):
    (state / "shards" / "00" / "bodies" / LARGE.id).unlink()
    done = CliRunner().invoke(gatepost, ["backup", str(tmp_path / "backup"), "--data", str(state)])
    assert done.exit_code == 1
    assert f"the body of {LARGE.id} is not on the disk" in done.stderr
    assert check_backup(tmp_path / "backup").messages == 3


def test_a_damaged_database_is_said(state, tmp_path):
    path = state / "shards" / "00" / "spool.db"
    octets = bytearray(path.read_bytes())
    octets[8192:16384] = b"\xaa" * 8192
    path.write_bytes(octets)
    done = CliRunner().invoke(
        gatepost, ["backup", str(tmp_path / "backup"), "--data", str(state)], standalone_mode=True
    )
    assert done.exit_code != 0
    assert "cannot be copied" in str(done.exception) or "is damaged" in str(done.exception)
    with pytest.raises(Malformed, match="cut off"):
        check_backup(tmp_path / "backup")


def flip(path):
    octets = bytearray(path.read_bytes())
    octets[-1] ^= 1
    path.write_bytes(octets)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda backup: flip(backup / "shards" / "00" / "spool.db"), "SHA-256 differs"),
        (lambda backup: flip(backup / "shards" / "00" / "bodies" / LARGE.id), "SHA-256 differs"),
        (lambda backup: (backup / "link-secret").unlink(), "is missing"),
        (lambda backup: (backup / "more").write_text(""), "is not in the manifest"),
        (lambda backup: (backup / "manifest.json").unlink(), "cut off"),
        (lambda backup: (backup / "manifest.json").write_text("{"), "is not what was written"),
        (lambda backup: swap(backup / "link-secret"), "is no plain file"),
    ],
)
def test_a_backup_that_is_not_whole_is_refused_and_nothing_is_written(harm, said, state, tmp_path):
    make_backup(state, tmp_path / "backup", T0)
    harm(tmp_path / "backup")
    with pytest.raises(Malformed, match=said):
        restore_backup(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def swap(path):
    """The same octets, by way of a link that leads out."""
    kept = path.with_name("kept")
    path.rename(path.parent.parent / kept.name)
    path.symlink_to(path.parent.parent / kept.name)


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside", "", "./link-secret"])
def test_a_manifest_that_leads_outside_is_refused(name, state, tmp_path):
    make_backup(state, tmp_path / "backup", T0)
    path = tmp_path / "backup" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = manifest["files"]["link-secret"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(Malformed, match="outside the backup"):
        restore_backup(tmp_path / "backup", tmp_path / "new")


@pytest.mark.parametrize("name", ["shards/00/spool.db", "rules.db"])
def test_a_state_of_a_later_release_is_not_copied(name, state, tmp_path):
    with contextlib.closing(sqlite3.connect(state / name)) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(Permanent, match="later release"):
        make_backup(state, tmp_path / "backup", T0)
    assert not (tmp_path / "backup").exists()


def test_a_part_to_leave_out_that_is_not_there_is_said(state, tmp_path):
    arguments = ["backup", str(tmp_path / "backup"), "--data", str(state), "--without", "mial", "--without", "mail/"]
    done = CliRunner().invoke(gatepost, arguments, standalone_mode=False)
    assert done.return_value in (0, None)
    assert done.stderr == f"--without mial: there is nothing of this name in {state}\n"
    assert not (tmp_path / "backup" / "mail").exists()


@pytest.mark.parametrize("name", ["shards/00/spool.db", "rules.db"])
def test_a_backup_of_a_later_release_is_refused(name, state, tmp_path, monkeypatch):
    with contextlib.closing(sqlite3.connect(state / name)) as connection:
        connection.execute("PRAGMA user_version=99")
    monkeypatch.setattr(backup, "_check_formats", lambda _: None)  # that release knows its own
    make_backup(state, tmp_path / "backup", T0)
    with pytest.raises(Permanent, match="later release"):
        restore_backup(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_state_directory_that_is_in_use_is_not_restored_over(state, tmp_path):
    make_backup(state, tmp_path / "backup", T0)
    with pytest.raises(Permanent, match="not an empty directory"):
        restore_backup(tmp_path / "backup", state)


def test_a_restore_that_was_cut_off_can_be_done_again(state, tmp_path):
    make_backup(state, tmp_path / "backup", T0)
    (tmp_path / "new" / ".restoring" / "shards").mkdir(parents=True)
    restore_backup(tmp_path / "backup", tmp_path / "new")
    assert tree(tmp_path / "new") == tree(tmp_path / "backup") - {"manifest.json"}


def test_the_commands_say_what_they_did(state, tmp_path):
    run = CliRunner().invoke
    done = run(gatepost, ["backup", str(tmp_path / "backup"), "--data", str(state)], catch_exceptions=False)
    assert "3 messages and 1 job left, 6 files" in done.stdout
    done = run(gatepost, ["restore", "--check", str(tmp_path / "backup")], catch_exceptions=False)
    assert "is whole: 3 messages and 1 job left." in done.stdout
    done = run(
        gatepost,
        ["restore", str(tmp_path / "backup"), "--data", str(tmp_path / "new"), "--json"],
        catch_exceptions=False,
    )
    told = json.loads(done.stdout)
    assert (told["messages"], told["jobs"], told["restored"]) == (3, 1, True)
    assert (tmp_path / "new" / "rules.db").exists()
