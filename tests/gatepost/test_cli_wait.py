"""wait: until the actions of messages have ended, with the exit code that says how."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from stored_mail import Mail, fill

from gatepost.cli import gatepost
from gatepost.cli.wait import wait_for
from mail.outcome import Result
from spool.ports import JobState, MessageState
from spool.reader import open_reader

DONE = Mail(number=1)
BOTH = (("archive", "disk", Result.DONE, ""), ("support", "webhook", Result.DEAD, "HTTP 410"))
DEAD = Mail(number=2, state=MessageState.DEAD, left=JobState.DEAD, steps=BOTH)
RETRYING = Mail(number=3, state=MessageState.RETRYING, left=JobState.READY, steps=BOTH)
UNHANDLED = Mail(number=4, state=MessageState.UNHANDLED, steps=(("r", "stop", Result.DONE, ""),))
HALF_DEAD = Mail(number=5, state=MessageState.DEAD, left=JobState.READY, steps=BOTH)
REJECTED = Mail(number=6, state=MessageState.REJECTED)
REJECTED_WITH_DEAD = Mail(number=7, state=MessageState.REJECTED, left=JobState.DEAD, steps=BOTH)
ABSENT = Mail(number=8)


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mails = (DONE, DEAD, RETRYING, UNHANDLED, HALF_DEAD, REJECTED, REJECTED_WITH_DEAD)
    return fill(tmp_path / "var", *mails)


def run(*arguments, code, timeout="0s"):
    result = CliRunner().invoke(gatepost, ["wait", *arguments, "--timeout", timeout])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize(
    ("mails", "code"),
    [
        ([DONE], 0),
        ([DONE, REJECTED], 0),
        ([DEAD], 3),
        ([DONE, DEAD], 3),
        ([UNHANDLED], 3),
        ([REJECTED_WITH_DEAD], 3),
        ([RETRYING], 4),
        ([ABSENT], 4),
        ([DONE, ABSENT], 4),
        # What failed is known already, so it is the answer though another still waits.
        ([DEAD, RETRYING], 3),
        # A step is dead, and another job still moves by itself.
        ([HALF_DEAD], 4),
    ],
)
def test_the_exit_code_says_how_it_ended(state, mails, code):
    run(*(mail.id for mail in mails), code=code)


@pytest.mark.parametrize(("mail", "code"), [(DONE, 0), (RETRYING, 0), (DEAD, 0), (UNHANDLED, 3), (ABSENT, 4)])
def test_for_stored_looks_at_the_storing_step_only(state, mail, code):
    run(mail.id, "--for", "stored", code=code)


def test_each_message_is_told_with_its_steps(state):
    said = run(DONE.id, RETRYING.id, code=4)
    assert said.stdout == (f"{DONE.id}  done      disk done\n{RETRYING.id}  retrying  disk done, webhook dead\n")
    assert "1 of 2 not done after 0 s" in said.stderr
    told = [json.loads(line) for line in run(DONE.id, ABSENT.id, "--json", code=4).stdout.splitlines()]
    assert [(each["id"], each["ok"], each["ended"]) for each in told] == [
        (DONE.id, True, True),
        (ABSENT.id, False, False),
    ]


@pytest.mark.parametrize("text", ["abc", "0" * 40, "\x1b[2J"])
def test_what_is_no_message_id_is_a_usage_error(state, text):
    said = run(text, code=2)
    assert "is no message id" in said.stderr
    assert "\x1b" not in said.output


@pytest.mark.parametrize("timeout", ["soon", "-1s", "10", "nan"])
def test_a_timeout_needs_a_unit(state, timeout):
    result = CliRunner().invoke(gatepost, ["wait", DONE.id, "--timeout", timeout])
    assert result.exit_code == 2


class Growing:
    """A reader over whose spool a message arrives after some looks."""

    def __init__(self, reader, absent_looks):
        self._reader, self._absent = reader, absent_looks
        self.ledger, self.jobs = reader.ledger, reader.jobs

    async def message(self, message_id):
        self._absent -= 1
        if self._absent >= 0:
            return await self._reader.message(ABSENT.id)
        return await self._reader.message(message_id)


def test_an_id_that_is_not_there_yet_is_waited_for(state):
    began = datetime.now(UTC)
    [seen] = asyncio.run(wait_for(Growing(open_reader(state), 3), [DONE.id], "done", 30))
    assert seen.good
    assert (datetime.now(UTC) - began).total_seconds() < 5


def test_a_time_below_a_second_is_said_as_it_was_given(state):
    assert "1 of 1 not done after 5 ms" in run(ABSENT.id, code=4, timeout="5ms").stderr
