"""queue: jobs listed, and changed by name or, after a yes, by filter."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from stored_mail import T0, Mail, fill

from gatepost.cli import gatepost
from gatepost.cli import queue as queue_module
from gatepost.control import RULE_BOOKS
from mail.outcome import Result
from spool.database import open_spool
from spool.ports import JobQuery, JobState, MessageState, Pause
from spool.reader import open_reader
from spool.rule_sets import open_rule_books

HOOK = (("archive", "disk", Result.DONE, "stored"), ("support", "webhook", Result.DEAD, "HTTP 503"))
DEAD = Mail(
    number=1,
    state=MessageState.DEAD,
    left=JobState.DEAD,
    steps=HOOK,
    last="HTTP 503 \x1b[2J",
    destination="app.example.com",
)
PARKED = Mail(number=2, state=MessageState.PARKED, left=JobState.PARKED, steps=HOOK, last="a fault of ours")
WAITING = Mail(
    number=3, state=MessageState.RETRYING, left=JobState.READY, steps=(("audit", "lambda", Result.FAILED, ""),)
)
UNHANDLED = Mail(number=4, state=MessageState.UNHANDLED)


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path / "var", DEAD, PARKED, WAITING, UNHANDLED)


def run(*arguments, code=0, answer=None):
    result = CliRunner().invoke(gatepost, ["queue", *(str(each) for each in arguments)], input=answer)
    assert result.exit_code == code, result.output
    return result


def left(state):
    return {job.message_id: job.state for job in asyncio.run(open_reader(state).jobs(JobQuery()))}


def number_of(state, mail):
    [job] = asyncio.run(open_reader(state).jobs(JobQuery(message_id=mail.id)))
    return job.id


def test_jobs_are_listed_with_what_happened_last_and_no_raw_control(state):
    dead, parked, waiting = (number_of(state, mail) for mail in (DEAD, PARKED, WAITING))
    rows = [" ".join(line.split()) for line in run("list").stdout.splitlines()]
    assert rows == [
        "job state step to tried message next, and what happened last",
        f"{dead} dead support/1 app.example.com 1 attempt {DEAD.id} HTTP 503 \\x1b[2J",
        f"{parked} parked support/1 - 1 attempt {PARKED.id} a fault of ours",
        f"{waiting} ready audit/0 - 1 attempt {WAITING.id} 2026-01-14 00:02:45Z for 4 h more",
    ]


def test_what_waits_for_a_paused_destination_says_so_in_place_of_its_last_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    down = replace(WAITING, destination="app.example.com", last="HTTP 500")
    state = fill(tmp_path / "var", down, DEAD)

    async def pause():
        spool = open_spool(state, 0)
        until = datetime(2026, 1, 13, 21, 3, tzinfo=UTC)
        await spool.pauses_are([Pause(destination="app.example.com", failures=7, last="HTTP 502", until=until)])
        await spool.close()

    asyncio.run(pause())
    said = "paused: app.example.com failed 7 times, last: HTTP 502, tries again at 2026-01-13T21:03:00Z"
    waiting, dead = sorted(run("list").stdout.splitlines()[1:], key=lambda line: "dead" in line)
    assert waiting.endswith(f"for 4 h more · {said}")
    assert dead.endswith("HTTP 503 \\x1b[2J")
    assert said in run("show", "--destination", "app.example.com").stdout
    assert json.loads(run("list", "--state", "ready", "--json").stdout)["last"] == said

    asyncio.run(open_and_close(state))
    assert "paused" not in run("list").stdout


async def open_and_close(state):
    await open_spool(state, 0).close()


@pytest.mark.parametrize(
    ("arguments", "mails"),
    [
        (["--older-than", "1d"], [DEAD, PARKED, WAITING]),
        (["--newer-than", "1d"], []),
        (["--state", "dead"], [DEAD]),
        (["--rule", "support"], [DEAD, PARKED]),
        (["--action", "lambda"], [WAITING]),
        (["--destination", "app.example.com"], [DEAD]),
        (["--error", "503"], [DEAD]),
        (["--message", PARKED.id[:12]], [PARKED]),
        ([WAITING.id], [WAITING]),
        ([PARKED.id, "--state", "dead"], []),
        (["--limit", "2"], [DEAD, PARKED]),
    ],
)
def test_each_filter_narrows(state, arguments, mails):
    listed = [json.loads(line) for line in run("list", "--json", *arguments).stdout.splitlines()]
    assert [job["message_id"] for job in listed] == [mail.id for mail in mails]


def test_a_job_that_is_named_is_changed_without_asking(state):
    assert run("retry", number_of(state, DEAD)).stdout == "1 job retried.\n"
    assert left(state)[DEAD.id] is JobState.READY


def test_a_message_names_its_jobs(state):
    assert run("cancel", DEAD.id).stdout == "1 job cancelled.\n"
    assert DEAD.id not in left(state)


def test_many_are_shown_and_changed_only_after_a_yes(state):
    said = run("retry", "--all", code=2)
    assert "This will retry 2 jobs of 2 messages:" in said.stderr
    assert "1  dead   support/1  app.example.com" in said.stderr
    assert "nothing was changed; --yes does" in said.stderr
    assert left(state)[DEAD.id] is JobState.DEAD
    assert run("retry", "--all", "--yes").stdout == "2 jobs retried.\n"
    assert left(state) == {DEAD.id: JobState.READY, PARKED.id: JobState.PARKED, WAITING.id: JobState.READY}


@pytest.mark.parametrize(("answer", "after"), [("y\n", JobState.PARKED), ("n\n", JobState.DEAD)])
def test_a_terminal_is_asked(state, monkeypatch, answer, after):
    monkeypatch.setattr(queue_module, "is_asked", lambda: True)
    run("park", "--state", "dead", answer=answer)
    assert left(state)[DEAD.id] is after


@pytest.mark.parametrize("operation", ["retry", "release", "park", "cancel"])
def test_saying_nothing_changes_nothing(state, operation):
    before = left(state)
    assert "ids, filters, or --all" in run(operation, code=2).stderr
    assert left(state) == before


def test_a_filter_that_names_no_job_is_no_failure(state):
    assert run("release", "--rule", "nobody", "--yes").stdout == "No jobs to release.\n"


def test_what_could_not_be_changed_is_told_and_is_a_finding(state):
    said = run("retry", number_of(state, PARKED), 99, code=1)
    assert said.stdout == "0 jobs retried.\n"
    assert "is parked: release it" in said.stderr
    assert "99 is no job" in said.stderr


def test_json_says_what_was_changed(state):
    answer = json.loads(run("cancel", number_of(state, DEAD), "--json").stdout)
    assert answer == {"operation": "cancel", "changed": 1, "skipped": [], "rule_book": ""}


def activate(state):
    books = open_rule_books(state / RULE_BOOKS)
    books.put("cd" * 32, b"{}", "rules.yaml", T0)
    books.activate("cd" * 32, pinned=False)
    books.close()


def test_with_active_walks_messages_anew_and_says_under_what(state):
    activate(state)
    said = run("retry", DEAD.id, UNHANDLED.id, "--with", "active")
    assert said.stdout == "2 messages walked anew.\n"
    assert "Under the active rule set, cdcdcdcdcdcd." in said.stderr
    jobs = asyncio.run(open_reader(state).jobs(JobQuery(message_id=UNHANDLED.id)))
    assert [(job.kind.value, job.evaluation) for job in jobs] == [("walk", 1)]


def test_with_active_needs_an_active_rule_set(state):
    assert "no rule set is active" in run("retry", DEAD.id, "--with", "active", code=3).stderr


def test_with_active_tells_of_a_job_that_is_gone(state):
    activate(state)
    assert "99 is no job" in run("release", 99, PARKED.id, "--with", "active", code=1).stderr


def test_a_message_without_jobs_is_told_from_one_that_is_not_there(state):
    assert "--with active walks a message anew" in run("retry", UNHANDLED.id, code=1).stderr
    assert "there is no message" in run("retry", "0" * 20, code=1).stderr


def test_jobs_are_shown_with_their_messages(state):
    said = run("show", number_of(state, DEAD)).stdout
    assert DEAD.id in said
    assert "Jobs left" in said
    assert "HTTP 503 \\x1b[2J" in said
    assert "there is no job 99" in run("show", 99, code=1).stderr
    assert "say which jobs" in run("show", code=2).stderr


def test_a_shard_that_another_process_holds_is_named(state):
    async def held():
        spool = open_spool(state, 0)
        try:
            return await asyncio.to_thread(run, "cancel", DEAD.id, code=3)
        finally:
            await spool.close()

    assert "is in use by process" in asyncio.run(held()).stderr
    assert left(state)[DEAD.id] is JobState.DEAD


def test_a_retried_job_is_due_now(state):
    run("retry", DEAD.id)
    [job] = asyncio.run(open_reader(state).jobs(JobQuery(message_id=DEAD.id)))
    assert T0 < job.not_before <= datetime.now(UTC)
