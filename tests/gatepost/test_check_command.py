"""`gatepost check`: findings with their places, exit codes, and which file is what."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatepost import aws_needs, built_in
from gatepost.cli import gatepost

GOOD = """\
version: 1
domains: [ours.example]
rule_sets:
  default:
    - {name: all, actions: [{disk: {path: mail}}]}
"""
BAD = GOOD.replace("disk", "dsk").replace("version: 1", "version: 7")
BOUNCE = GOOD.replace("{disk: {path: mail}}", '{bounce: {smtp_reply_code: "550", message: No}}')
SES = Path(__file__).resolve().parents[2] / "samples" / "ses" / "rules.json"


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Runs `check` where nothing stands but what the test wrote: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    for name in ("GATEPOST_CONFIG", "GATEPOST_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("gatepost.settings_file.SEARCHED", (Path("gatepost.yaml"),))

    def run(*arguments):
        done = CliRunner().invoke(
            gatepost, ["check", *map(str, arguments)], catch_exceptions=False, standalone_mode=False
        )
        code = done.return_value if isinstance(done.return_value, int) else done.exit_code
        return code, done.stdout, done.stderr

    return run


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_good_rules_are_said_to_be_good(check, tmp_path):
    code, said, _ = check(write(tmp_path, "rules.yaml", GOOD))
    assert code == 0
    assert said.startswith("ok  ")
    assert 'rule set "default" with 1 rule for ours.example' in said


def test_every_error_has_its_place_and_the_exit_code_is_1(check, tmp_path):
    path = write(tmp_path, "rules.yaml", BAD)
    code, said, errors = check(path)
    assert code == 1
    assert said == ""
    lines = errors.splitlines()
    assert [line.partition(" ")[0] for line in lines[:-1]] == [f"{path}:1:10:", f"{path}:5:30:"]
    assert all(": error: " in line for line in lines[:-1])
    assert lines[-1].startswith("2 errors")


def test_warnings_fail_with_strict_only(check, tmp_path):
    path = write(tmp_path, "rules.yaml", BOUNCE)
    code, _, errors = check(path)
    assert (code, "relay.host" in errors) == (0, True)
    assert check("--strict", path)[0] == 1


def test_json_has_a_finding_a_line(check, tmp_path):
    path = write(tmp_path, "rules.yaml", BAD)
    code, said, errors = check("--json", path)
    assert (code, errors) == (1, "")
    found = [json.loads(line) for line in said.splitlines()]
    assert [(each["severity"], each["file"], each["line"], each["column"]) for each in found] == [
        ("error", str(path), 1, 10),
        ("error", str(path), 5, 30),
    ]
    assert all(each["code"] and each["message"] for each in found)


def test_without_a_file_what_serve_would_use_is_checked(check, tmp_path):
    code, said, _ = check()
    assert code == 0
    assert "built-in" in said
    write(tmp_path, "rules.yaml", BAD)
    assert check()[0] == 1
    write(tmp_path, "rules.yaml", GOOD)
    write(tmp_path, "gatepost.yaml", "version: 1\nhostnam: mx.ours.example\n")
    code, _, errors = check()
    assert code == 1
    assert "gatepost.yaml:2:1: error: " in errors


def test_a_settings_file_is_told_from_a_rules_file(check, tmp_path):
    code, _, errors = check(write(tmp_path, "any.yaml", "version: 1\nsmtp: {size_limit: huge}\n"))
    assert code == 1
    assert "smtp.size_limit" in errors


def test_nothing_is_ok_about_settings_whose_rules_are_broken(check, tmp_path):
    write(tmp_path, "rules.yaml", BAD)
    write(tmp_path, "gatepost.yaml", "data: ./var\n")
    code, said, _ = check()
    assert (code, said) == (1, "")


def test_several_files_are_checked_together(check, tmp_path):
    good, bad = write(tmp_path, "good.yaml", GOOD), write(tmp_path, "bad.yaml", BAD)
    code, said, errors = check(good, bad)
    assert code == 1
    assert f"{good}: rule set" in said
    assert errors.count(f"{bad}:") == 2


@pytest.mark.parametrize("there", [False, True])
def test_the_rules_of_ses_are_accepted_and_what_lacks_credentials_is_said(check, monkeypatch, there):
    monkeypatch.setattr(aws_needs, "has_credentials", lambda: there)
    code, said, errors = check(SES)
    assert code == 0
    assert 'rule set "production"' in said
    bound = (
        "lambda arn:aws:lambda:eu-west-1:123456789012:function:drop-spam goes to AWS, and there are no AWS credentials"
    )
    assert (bound in errors) is not there


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"[", b"\0", b"a: \x1b[2J", b"- " * 5000], ids=range(6))
def test_what_is_no_file_of_ours_is_an_error_and_never_a_crash(check, tmp_path, content):
    path = tmp_path / "odd.yaml"
    path.write_bytes(content[:10_000])
    code, _, errors = check(path)
    assert code == 1
    assert ": error: " in errors


def test_an_absent_file_is_an_error_in_its_place(check, tmp_path):
    code, _, errors = check(tmp_path / "absent.yaml")
    assert code == 1
    assert "absent.yaml:1:1: error: " in errors


def test_show_default_prints_rules_that_are_good(check, tmp_path):
    code, said, _ = check("--show-default")
    assert (code, said) == (0, built_in.TEXT)
    assert check(write(tmp_path, "rules.yaml", said))[0] == 0
