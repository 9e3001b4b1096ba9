"""find and show over a state directory, as their users call them."""

import json

import pytest
from click.testing import CliRunner
from stored_mail import RAW, Mail, fill, refused

from gatepost.cli import find as find_module
from gatepost.cli import gatepost, layout, lookup
from gatepost.cli import show as show_module
from mail.outcome import Result
from spool.ports import MessageState

HOSTILE = "\x1b[31mred\u202e\r\nBcc: x"
DONE = Mail(number=1)
DEAD = Mail(
    number=2,
    subject=HOSTILE,
    to="ann@example.com",
    state=MessageState.DEAD,
    steps=(
        ("archive", "disk", Result.DONE, "stored as /mail/2"),
        ("support", "webhook", Result.DEAD, "HTTP 503\x1b[2J"),
    ),
    data={"object_key": "2", "path": "/mail/2"},
)
BLOCKED = refused(
    3,
    phase="connect",
    mail_from=None,
    rcpt_to=(),
    reply="550 5.7.1 IP address blacklisted by recipient",
    by="filter office",
)
UNKNOWN = refused(4)


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path / "var", DONE, DEAD, refusals=(BLOCKED, UNKNOWN))


def run(*arguments, code=0):
    result = CliRunner().invoke(gatepost, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


def found(*arguments):
    return [json.loads(line) for line in run("find", "--json", *arguments).stdout.splitlines()]


def test_every_transaction_is_one_line_newest_first_and_aligned(state):
    assert run("find", "--data", state).stdout == (
        "2026-01-14 01:02:45Z  refused  spam@evil.example → nobody@example.com"
        "      550 5.1.1 Requested action not taken: mailbox unavailable      00ff00ff00ff0004.1\n"
        "2026-01-14 00:02:45Z  refused  client 203.0.113.9"
        "                          550 5.7.1 IP address blacklisted by recipient (filter office)  00ff00ff00ff0003.1\n"
        "2026-01-13 23:02:45Z  dead     billing@shop.example → ann@example.com"
        f"      \\x1b[31mred\\u202e\\r\\nBcc: x                                    {DEAD.id}\n"
        "2026-01-13 22:02:45Z  done     billing@shop.example → support@example.com"
        f"  Your invoice                                                   {DONE.id}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--to", "ANN@"], [DEAD.id]),
        (["--from", "evil"], [UNKNOWN.id]),
        (["--ip", "203.0"], [UNKNOWN.id, BLOCKED.id]),
        (["--subject", "invoice"], [DONE.id]),
        (["--outcome", "refused"], [UNKNOWN.id, BLOCKED.id]),
        (["--outcome", "stored"], [DEAD.id, DONE.id]),
        (["--outcome", "failed"], [DEAD.id]),
        (["--since", "2026-01-14T00:30"], [UNKNOWN.id]),
        (["--until", "2026-01-13T22:30:00+00:00"], [DONE.id]),
        (["--limit", "1"], [UNKNOWN.id]),
    ],
)
def test_each_filter_narrows(state, arguments, ids):
    assert [each["id"] for each in found(*arguments)] == ids


def test_nothing_found_says_what_was_looked_for_and_where(state):
    said = run("find", "--from", "no\x1bbody", "--outcome", "stored", "--data", state).stdout
    assert said == f'Nothing found: no mail from "no\\\\x1bbody", with the outcome stored, in {state}.\n'


def test_a_missing_state_directory_is_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("find", "--data", tmp_path / "nowhere", code=2)
    assert f"there is no state in {tmp_path / 'nowhere'}" in result.stderr


@pytest.mark.parametrize("since", ["yesterdayish", "2026-13-01", "-3d", "999999w"])
def test_a_time_that_is_none_is_a_usage_error(state, since):
    assert "--since" in run("find", f"--since={since}", code=2).stderr


def test_a_short_line_shortens_texts_and_ids_but_no_id_of_a_refusal(state, monkeypatch):
    monkeypatch.setattr(find_module, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    lines = run("find", "--data", state).stdout.splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert lines[0].endswith("00ff00ff00ff0004.1")
    assert lines[3].endswith(DONE.id[:16])


def test_a_message_is_shown_with_all_that_is_known_of_it(state, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert (
        run("show", DEAD.id).stdout
        == f"""\
\\x1b[31mred\\u202e\\r\\nBcc: x
{DEAD.id}

  From      billing@shop.example
  To        ann@example.com
  Client    192.0.2.10 (mail.shop.example) helo mail.shop.example ESMTP
  Received  2026-01-13 23:02:45Z, {len(RAW)} B
  Verdicts  spf PASS shop.example · dkim PASS shop.example · dmarc PASS shop.example · arc GRAY (none)
            spam, virus not checked
  Reply     250 2.0.0 Ok {DEAD.id}
  State     dead (rules abababababab)

  Steps
    archive  disk     done  2026-01-13 23:02:45Z
        stored as /mail/2
    support  webhook  dead  2026-01-13 23:02:45Z
        HTTP 503\\x1b[2J

  Stored as
    /mail/2
"""
    )


def test_the_beginning_of_an_id_is_enough_where_it_is_one(state):
    for length in (6, 8, 39):
        assert DONE.id in run("show", DONE.id[:length]).stdout


def test_an_ambiguous_beginning_lists_what_it_may_mean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = (refused(4), refused(5))
    fill(tmp_path / "var", refusals=rows)
    result = run("show", "00ff00ff", code=2)
    assert "begins more than one id" in result.stderr
    assert all(row.id in result.stderr for row in rows)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("abc", 2, "too short"),
        ("0" * 39 + "1", 1, "there is no message or session"),
        ("\x1b[2Jabcdef", 1, "\\x1b[2jabcdef".replace("j", "J")),
        ("vvvvvv", 1, "there is no message"),
    ],
)
def test_what_names_nothing_is_an_error(state, text, code, said):
    assert said in run("show", text, code=code).stderr


def test_a_session_is_shown_with_its_refusal(state):
    said = run("show", "00ff00ff00ff0003").stdout
    assert said.splitlines()[0] == "refused 00ff00ff00ff0003.1"
    assert "By        filter office" in said


def test_a_session_of_several_transactions_begins_with_their_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "var", refusals=(refused(4), refused(5, id="00ff00ff00ff0004.2", session="00ff00ff00ff0004")))
    said = run("show", "00ff00ff00ff0004").stdout
    assert said.startswith("Session 00ff00ff00ff0004, 2 transactions, newest first:\n")
    assert said.count("550 5.1.1") == 4
    assert run("show", "00ff00ff00ff0004.2").stdout.count("550 5.1.1") == 1


def test_show_json_is_one_object_with_steps_jobs_and_verdicts(state):
    shown = json.loads(run("show", DEAD.id, "--json").stdout)
    assert shown["id"] == DEAD.id
    assert shown["subject"] == HOSTILE
    assert shown["state"] == "dead"
    assert shown["verdicts"]["dkim"]["status"] == "PASS"
    assert [(step["rule"], step["outcome"]) for step in shown["steps"]] == [("archive", "done"), ("support", "dead")]
    assert shown["kept"] == {"headers": True, "body": True}


def test_no_control_character_comes_through_in_json(state):
    for said in (run("show", DEAD.id, "--json").stdout, run("find", "--json").stdout):
        assert not set(said) & set("\x1b\x9b\u202e\r")


def test_raw_headers_and_parts_are_the_bytes_as_they_are(state):
    assert run("show", DEAD.id, "--raw").stdout_bytes == RAW
    assert run("show", DEAD.id, "--headers").stdout_bytes == RAW[: RAW.index(b"\r\n\r\n") + 4]
    assert run("show", DEAD.id, "--part", 1).stdout_bytes == b"hello\x1b[31m"
    assert run("show", DEAD.id, "--part", 2).stdout_bytes == b"%PDF\x00\xff"


def test_a_part_that_is_not_there_lists_those_that_are(state):
    listed = "part  type             size  name\n1     text/plain       10 B\n2     application/pdf  6 B   a.pdf\n"
    assert run("show", DEAD.id, "--part", 0).stdout == listed
    wrong = run("show", DEAD.id, "--part", 7, code=2)
    assert wrong.stdout == listed
    assert "there are 1 to 2" in wrong.stderr
    assert json.loads(run("show", DEAD.id, "--part", 0, "--json").stdout.splitlines()[1])["name"] == "a.pdf"


def test_a_terminal_gets_escapes_and_no_binary_part(state, monkeypatch):
    monkeypatch.setattr(show_module, "is_terminal", lambda: True)
    assert run("show", DEAD.id, "--part", 1).stdout == "hello\\x1b[31m\n"
    assert "\x00" not in run("show", DEAD.id, "--raw").stdout
    assert "not for a terminal" in run("show", DEAD.id, "--part", 2, code=2).stderr


def test_only_one_form_of_the_content_at_a_time(state):
    assert "exclude each other" in run("show", DEAD.id, "--raw", "--part", 1, code=2).stderr


def test_the_raw_form_of_a_refused_transaction_is_an_error(state):
    assert "was refused" in run("show", UNKNOWN.id, "--raw", code=1).stderr


def test_an_output_without_unicode_gets_ascii_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(layout, "speaks_unicode", lambda: False)
    mail = Mail(number=1, subject="Grüße")
    fill(tmp_path / "var", mail)
    for arguments in (["find"], ["show", mail.id], ["find", "--json"]):
        said = run(*arguments).stdout
        assert said.isascii()
        assert "Gr\\xfc" in said or "Gr\\u00fc" in said


def test_looking_through_pages_misses_nothing_and_repeats_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lookup, "PAGE", 2)
    # Five of one instant: a page ends within it.
    rows = [refused(4, id=f"00ff00ff00ff0004.{number}", session="00ff00ff00ff0004") for number in range(5)]
    fill(tmp_path / "var", refusals=(refused(3), *rows, refused(6)))
    said = run("show", "00ff00ff00ff0004", "--json").stdout.splitlines()
    assert sorted(json.loads(line)["id"] for line in said) == [row.id for row in rows]
