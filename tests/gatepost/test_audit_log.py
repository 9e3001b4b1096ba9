"""Who did what stands in one file that is only added to, whoever renames it meanwhile."""

from __future__ import annotations

import json
import os
import pwd
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from stored_mail import Mail, fill

from gatepost.audit_log import FILE, AuditLog, note_change
from gatepost.cli import gatepost
from mail.outcome import Result
from spool.ports import JobState, MessageState

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path, lambda: NOW)


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / FILE).read_text().splitlines()]


def test_a_line_says_when_what_and_who(audit: AuditLog, tmp_path: Path) -> None:
    audit.note("started", pid=4711)
    audit.note("rules_activated", uid=0, version="1f3c")
    me = os.geteuid()
    assert lines(tmp_path) == [
        {"at": "2026-11-21T12:00:00Z", "event": "started", "uid": me, "user": pwd.getpwuid(me).pw_name, "pid": 4711},
        {"at": "2026-11-21T12:00:00Z", "event": "rules_activated", "uid": 0, "user": "root", "version": "1f3c"},
    ]


def test_only_its_owner_may_read_it(audit: AuditLog, tmp_path: Path) -> None:
    audit.note("started")
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_renamed_file_is_followed_by_a_new_one(audit: AuditLog, tmp_path: Path) -> None:
    audit.note("started")
    (tmp_path / FILE).rename(tmp_path / "audit.log.1")
    audit.note("stopped")
    assert [line["event"] for line in lines(tmp_path)] == ["stopped"]


def test_a_text_cannot_begin_a_line_of_its_own(audit: AuditLog, tmp_path: Path) -> None:
    audit.note("key_created", key='x\n{"event": "started"}')
    assert len(lines(tmp_path)) == 1


def test_an_unknown_user_has_a_number(audit: AuditLog, tmp_path: Path) -> None:
    audit.note("stopped", uid=3_999_999)
    assert lines(tmp_path)[0]["user"] == ""


def test_a_log_that_cannot_be_written_loses_its_line_to_the_log_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).mkdir()
    AuditLog(tmp_path, lambda: NOW).note("key_shredded", key="mail")
    assert "the audit log lacks this line" in caplog.text
    assert "key_shredded" in caplog.text


def test_what_was_left_as_it_was_is_not_named(audit: AuditLog, tmp_path: Path) -> None:
    note_change(audit, {"operation": "erase", "messages": ["06gv", "06gw"]}, 1, skipped={"06gw"}, uid=0)
    (line,) = lines(tmp_path)
    assert (line["changed"], line["messages"]) == (1, ["06gv"])


def test_a_backup_is_noted_since_it_holds_mail_and_keys(tmp_path: Path) -> None:
    state = fill(tmp_path / "var", Mail(number=1))
    done = CliRunner().invoke(gatepost, ["backup", str(tmp_path / "copy"), "--data", str(state)], standalone_mode=False)
    (line,) = lines(state)
    assert (line["event"], line["directory"]) == ("backup_made", str(tmp_path / "copy"))
    assert f"SHA-256 {line['manifest']}" in done.stdout


def test_an_operators_change_is_noted_if_it_changed_anything(audit: AuditLog, tmp_path: Path) -> None:
    note_change(audit, {"operation": "cancel", "jobs": [256, 512], "messages": []}, 2, uid=0)
    note_change(audit, {"operation": "release_held", "messages": ["06gv"]}, 1, uid=0)
    note_change(audit, {"operation": "cancel", "jobs": [1]}, 0)
    note_change(audit, {"operation": "observe"}, 1)
    first, second = lines(tmp_path)
    assert (first["event"], first["operation"], first["changed"], first["jobs"]) == (
        "jobs_changed",
        "cancel",
        2,
        [256, 512],
    )
    assert "messages" not in first
    assert (second["event"], second["messages"]) == ("quarantine_released", ["06gv"])


def test_a_change_of_very_many_names_the_first_of_them(audit: AuditLog, tmp_path: Path) -> None:
    note_change(audit, {"operation": "retry", "jobs": list(range(1000))}, 1000)
    (line,) = lines(tmp_path)
    assert line["changed"] == 1000
    assert len(line["jobs"]) == 50


def test_commands_note_what_they_change_without_a_server(tmp_path: Path) -> None:
    data = tmp_path / "var"
    dead = Mail(number=1, state=MessageState.DEAD, left=JobState.DEAD, steps=(("a", "disk", Result.DEAD, ""),))
    fill(data, dead)
    for arguments in (
        ["keys", "create", "mail"],
        ["keys", "rotate", "mail"],
        ["keys", "export", "mail", "-o", str(tmp_path / "mail.key")],
        ["keys", "shred", "mail", "--yes"],
        ["queue", "cancel", dead.id, "--yes"],
    ):
        done = CliRunner().invoke(gatepost, [*arguments, "--data", str(data)])
        assert done.exit_code == 0, done.output
    noted = lines(data)
    assert [each["event"] for each in noted] == [
        "key_created",
        "key_rotated",
        "key_exported",
        "key_shredded",
        "jobs_changed",
    ]
    assert {each["uid"] for each in noted} == {os.geteuid()}
    assert noted[3]["versions"] == [1, 2]
