"""quarantine: what is held is listed, released and deleted; other commands leave it alone."""

import asyncio
import json
from datetime import timedelta

import pytest
from click.testing import CliRunner
from stored_mail import T0, Mail, fill

from gatepost.cli import gatepost
from gatepost.settings import Settings
from gatepost.teaching import teach
from mail.outcome import Result
from mail.ses_json import timestamp
from spool.database import open_spool
from spool.ports import JobKind, JobQuery, LedgerRow, MessageState, NewJob, Recorded
from spool.reader import open_reader
from verdicts.token_model import TokenModel
from verdicts.token_training import Tally

HELD = Mail(number=1, state=MessageState.QUARANTINED, subject="win \x1b[2J now")
OTHER = Mail(number=2)
UNTIL = T0 + timedelta(days=3650)


def hold(rule, position):
    row = LedgerRow(
        message_id=HELD.id,
        evaluation=0,
        rule=rule,
        index=0,
        recipient="",
        action="quarantine",
        position=position,
        result=Result.DONE,
        at=T0,
        detail="held until then: spam",
        data={
            "quarantine": "held",
            "held_until": UNTIL.isoformat(),
            "reason": "spam \x1b[31m",
            "recipients": "a@example.com, b@example.com",
        },
    )
    job = NewJob(kind=JobKind.HOLD, message_id=HELD.id, key=f"{HELD.id}/0/{rule}/0", not_before=UNTIL, last=row.detail)
    return Recorded(message_id=HELD.id, ledger=(row,), new_jobs=(job,))


async def held(directory, *units):
    spool = open_spool(directory, 0)
    for unit in units:
        await spool.record(unit)
    await spool.close()


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    directory = fill(tmp_path / "var", HELD, OTHER)
    asyncio.run(held(directory, hold("spam", 1), hold("dir/virus", 2)))
    return directory


def run(*arguments, code=0, group="quarantine"):
    result = CliRunner().invoke(gatepost, [group, *arguments])
    assert result.exit_code == code, result.output
    return result


def fates(state):
    rows = asyncio.run(open_reader(state).ledger(HELD.id))
    return [row.data["quarantine"] for row in rows if row.action == "quarantine"]


def jobs(state):
    return [(job.kind.value, job.evaluation) for job in asyncio.run(open_reader(state).jobs(JobQuery()))]


def test_what_is_held_is_listed_with_rule_and_reason_and_no_raw_control(state):
    output = run("list").stdout
    assert "\x1b[2J" not in output
    assert "\x1b[31m" not in output
    assert [line.split()[0] for line in output.splitlines()[1:]] == [HELD.id] * 2
    assert "dir/virus" in output
    lines = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert [(line["rule"], line["recipients"], line["until"]) for line in lines] == [
        (rule, ["a@example.com", "b@example.com"], timestamp(UNTIL)) for rule in ("spam", "dir/virus")
    ]
    assert "Nothing is held." in run("list", OTHER.id).stdout


def test_one_is_shown_with_all_that_is_known_of_it(state):
    assert "billing@shop.example" in run("show", HELD.id[:12]).stdout
    run("show", OTHER.id, code=1)
    run("show", code=2)


def test_a_release_queues_a_walk_of_its_own_for_each_hold(state):
    assert "1 message released." in run("release", HELD.id).stdout
    assert fates(state) == ["released", "released"]
    assert jobs(state) == [("walk", 1), ("walk", 2)]
    result = run("release", HELD.id, OTHER.id, code=1)
    assert result.stderr.count("is not held") == 2


def test_one_rules_hold_is_ended_alone(state):
    run("delete", HELD.id, "--rule", "dir/virus")
    assert fates(state) == ["held", "deleted"]
    assert jobs(state) == [("hold", 0)]
    run("delete", HELD.id)
    message = asyncio.run(open_reader(state).message(HELD.id))
    assert (message.state, jobs(state)) == (MessageState.DONE, [])


def test_nothing_is_released_without_being_named(state):
    run("release", code=2)
    run("delete", code=2)
    assert fates(state) == ["held", "held"]


def test_the_queue_leaves_holds_alone(state):
    assert "No jobs to cancel." in run("cancel", "--all", "--yes", group="queue").output
    assert "No jobs to retry." in run("retry", "--all", "--yes", group="queue").output
    [first, _] = asyncio.run(open_reader(state).jobs(JobQuery()))
    for command in ("cancel", "retry", "park", "release"):
        assert "see gatepost quarantine" in run(command, str(first.id), group="queue", code=1).stderr
    assert fates(state) == ["held", "held"]


def test_wait_does_not_wait_for_a_hold(state):
    assert HELD.id in run("--timeout", "1s", HELD.id, group="wait").stdout


def model(state):
    found = TokenModel(state / "spam.model")
    try:
        return found.spam_messages, found.ham_messages, dict(found.tokens())
    finally:
        found.close()


def test_a_release_teaches_the_engine_once_and_keeps_a_private_copy(state):
    result = run("release", HELD.id, "--train", "ham")
    assert "1 message taught as ham." in result.stdout
    assert "the setting spam.engine is none" in result.stderr
    spam, ham, tokens = model(state)
    assert (spam, ham) == (0, 1)
    assert tokens
    [copy] = (state / "taught" / "ham").iterdir()
    assert copy.read_bytes() == HELD.raw
    modes = [each.stat().st_mode & 0o777 for each in (copy, copy.parent, copy.parent.parent)]
    assert modes == [0o600, 0o700, 0o700]
    assert teach(Settings(data=state), HELD.raw, is_spam=False) is False
    assert model(state) == (spam, ham, tokens)


def test_what_is_deleted_may_be_taught_as_spam_and_what_is_not_held_teaches_nothing(state):
    assert json.loads(run("delete", HELD.id, "--train", "spam", "--json").stdout)["taught"] == 1
    assert model(state)[:2] == (1, 0)
    run("delete", OTHER.id, "--train", "spam", code=1)
    assert model(state)[:2] == (1, 0)
    run("release", HELD.id, "--train", "spam", code=2)


def test_what_was_taught_alone_outlives_a_training(state, tmp_path):
    run("release", HELD.id, "--train", "ham")
    for label in ("spam", "ham"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.eml").write_bytes(f"Subject: {label}\r\n\r\n{label}\r\n".encode())
    trained = CliRunner().invoke(gatepost, ["train", "--spam", "spam", "--ham", "ham", "--data", str(state)])
    assert trained.exit_code == 0, trained.output
    assert model(state)[:2] == (1, 2)


def test_messages_that_are_taught_one_by_one_add_up_to_what_training_counts(state):
    messages = [
        f"Subject: n{number}\r\n\r\nmeeting offer{number % 3} word{number}\r\n".encode() for number in range(40)
    ]
    tally = Tally()
    for number, raw in enumerate(messages):
        teach(Settings(data=state), raw, is_spam=number % 2 == 0)
        tally.add(raw, is_spam=number % 2 == 0)
    spam, ham, tokens = model(state)
    whole = tally.trained()
    assert (spam, ham) == (20, 20)
    assert {token: tokens[token] for token in whole.tokens} == whole.tokens
