"""A trace shows the sessions that were asked for and ends by itself; without one nothing is written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner

from gatepost.cli import gatepost
from gatepost.cli.trace import Screen, follow, line_text
from gatepost.tracing import MOST_TRACES, Traces
from mail.errors import Malformed, Temporary
from mail.reply import ACCEPTED, RECIPIENT_OK, SENDER_OK
from smtp.config import Limits, SmtpConfig
from smtp.listener import Listener, listen
from smtp.server import Server


class Friendly:
    """A session that takes everything."""

    def __getattr__(self, name: str) -> Any:
        answers = {"mail": SENDER_OK, "rcpt": RECIPIENT_OK, "data": ACCEPTED}

        async def answer(*_: object, **__: object) -> Any:
            return answers.get(name)

        return answer


class Rig:
    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.now = 1000.0
        self.traces = Traces(listener, "0", clock=lambda: self.now, monotonic=lambda: self.now)

    def begin(self, **request: Any) -> None:
        self.traces.begin({"operation": "trace", "id": "t", **request})

    def read(self, **request: Any) -> dict[str, Any]:
        (answer,) = self.traces.read({"operation": "traced", "id": "t", **request})
        return answer

    async def session(self, *lines: str, leave: bool = True) -> None:
        """A client that says these lines and waits for each answer."""
        host, _, port = self.listener.addresses[0].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await reader.readline()
        for line in (*lines, *(("QUIT",) if leave else ())):
            writer.write(line.encode() + b"\r\n")
            while (await reader.readline())[3:4] == b"-":
                pass
        writer.close()
        await writer.wait_closed()
        while self.listener.connections:  # noqa: ASYNC110 - there is nothing to wait for but a moment
            await asyncio.sleep(0)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    listener = await listen(("127.0.0.1", 0), Friendly, SmtpConfig(limits=Limits(idle_commands=5000)))  # type: ignore[arg-type]
    yield Rig(listener)
    await listener.close()


def commands(answer: dict[str, Any]) -> list[str]:
    return [line["text"] for line in answer["lines"] if line["direction"] == "<"]


TO_ANA = ("EHLO c.example", "MAIL FROM:<a@b.example>", "RCPT TO:<ana@example.com>", "RSET")
TO_BOB = ("EHLO c.example", "MAIL FROM:<a@b.example>", "RCPT TO:<bob@example.com>", "RSET")


async def test_without_a_trace_sessions_are_the_plain_ones(rig: Rig) -> None:
    assert rig.listener.make is Server
    rig.begin()
    assert rig.listener.make is not Server
    rig.read(end=True)
    assert rig.listener.make is Server


async def test_a_session_is_shown_from_its_banner_to_its_end(rig: Rig) -> None:
    rig.begin(ip="127.0.0.0/8")
    await rig.session(*TO_ANA)
    answer = rig.read()
    assert commands(answer) == [*TO_ANA, "QUIT"]
    assert answer["lines"][0]["text"].startswith("220 ")
    assert answer["lines"][-1]["text"] == "the session is over"
    assert {line["ip"] for line in answer["lines"]} == {"127.0.0.1"}
    assert rig.read()["lines"] == [], "what was read is not told twice"


async def test_another_client_is_not_shown(rig: Rig) -> None:
    rig.begin(ip="192.0.2.1")
    await rig.session(*TO_ANA)
    assert rig.read()["lines"] == []


async def test_a_client_behind_xclient_is_who_it_says_it_is(rig: Rig) -> None:
    rig.begin(ip="192.0.2.1")
    await rig.session("EHLO c.example", "XCLIENT ADDR=192.0.2.1", *TO_ANA)
    assert "RCPT TO:<ana@example.com>" in commands(rig.read())


async def test_a_recipient_chooses_the_whole_session(rig: Rig) -> None:
    rig.begin(to="ANA@")
    await rig.session(*TO_BOB)
    await rig.session(*TO_ANA)
    assert commands(rig.read()) == [*TO_ANA, "QUIT"]


async def test_so_many_sessions_and_no_more(rig: Rig) -> None:
    rig.begin(sessions=1)
    await rig.session("NOOP")
    await rig.session("NOOP")
    assert commands(rig.read()) == ["NOOP", "QUIT"]


async def test_the_time_ends_it(rig: Rig) -> None:
    rig.begin(seconds=5)
    rig.now += 6
    await rig.session("NOOP")
    answer = rig.read()
    assert answer == {"lines": [], "left_out": 0, "is_over": True}


async def test_a_command_that_was_killed_leaves_nothing_behind(rig: Rig) -> None:
    rig.begin()
    rig.now += 11
    await rig.session("NOOP")
    assert rig.listener.make is Server
    assert rig.read()["is_over"]


async def test_lines_that_nobody_comes_for_are_bounded(rig: Rig) -> None:
    rig.begin()
    await rig.session(*["NOOP"] * 1200)
    answer = rig.read()
    assert len(answer["lines"]) == 2000
    assert answer["left_out"] > 300


async def test_two_traces_do_not_take_each_others_lines(rig: Rig) -> None:
    rig.begin()
    rig.traces.begin({"id": "u", "to": "bob"})
    await rig.session(*TO_ANA)
    assert commands(rig.read(end=True))
    assert rig.traces.read({"id": "u"})[0]["lines"] == []


async def test_too_many_traces_are_refused(rig: Rig) -> None:
    for number in range(MOST_TRACES):
        rig.traces.begin({"id": str(number)})
    with pytest.raises(Temporary, match="traces are under way"):
        rig.begin()


@pytest.mark.parametrize(
    "request_", [{"ip": "nonsense"}, {"sessions": 0}, {"seconds": -1}, {"sessions": "many"}, {"id": 5}, {"to": None}]
)
async def test_what_is_no_request_is_refused(rig: Rig, request_: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        rig.begin(**request_)
    assert rig.listener.make is Server


def answering(rig: Rig) -> Any:
    async def asked(request: dict[str, Any]) -> Any:
        return rig.traces.begin(request) if request["operation"] == "trace" else rig.traces.read(request)

    return asked


async def test_the_command_prints_a_session_when_it_is_over(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False, live=False, most=1)
    following = asyncio.create_task(
        follow(answering(rig), {"id": "t", "ip": "", "to": "", "sessions": 1, "seconds": 60}, screen, pause=0.01)
    )
    await asyncio.sleep(0)
    await rig.session(*TO_ANA)
    await following
    screen.end()
    lines = capsys.readouterr().out.splitlines()
    assert "RCPT TO:<ana@example.com>" in "\n".join(lines)
    assert lines[-1].endswith("the session is over")
    assert rig.listener.make is Server, "the trace was ended"


@pytest.mark.parametrize(("seconds", "is_said"), [(60, True), (1, False)])
async def test_a_worker_that_forgot_the_trace_before_its_time_is_said_once(
    seconds: int, is_said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    visits = iter([[False, False], [False, True], [False, True], [True, True], [True, True]])

    async def asked(what: dict[str, Any]) -> list[dict[str, Any]]:
        if what["operation"] == "trace":
            return [{"process": "0"}, {"process": "1"}]
        return [{"lines": [], "left_out": 0, "is_over": is_over} for is_over in next(visits)]

    request = {"id": "t", "ip": "", "to": "", "sessions": 1, "seconds": seconds}
    await follow(asked, request, Screen(as_json=False, live=False, most=1), pause=0)
    assert capsys.readouterr().err.count("a worker was started again") == is_said


def line(session: str, text: str, at: float = 0.0, direction: str = "<") -> dict[str, Any]:
    return {"at": at, "session": session, "ip": "192.0.2.1", "direction": direction, "text": text}


def test_without_live_sessions_do_not_mix(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False, live=False, most=9)
    over = "the session is over"
    answer = [line("0.1", "A", 1), line("0.2", "B", 2), line("0.1", over, 3, "-"), line("0.2", over, 4, "-")]
    screen.show([{"lines": answer, "left_out": 3}])
    assert [each.split()[-1] for each in capsys.readouterr().out.splitlines()] == ["A", "over", "B", "over"]
    screen.end()
    assert "3 lines were left out" in capsys.readouterr().err


def test_with_live_lines_of_all_processes_come_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False, live=True, most=9)
    screen.show(
        [
            {"lines": [line("0.1", "A", 1), line("0.1", "C", 3)], "left_out": 0},
            {"lines": [line("1.1", "B", 2)], "left_out": 0},
        ]
    )
    assert [each.split()[-1] for each in capsys.readouterr().out.splitlines()] == ["A", "B", "C"]


def test_a_strangers_line_cannot_move_the_cursor() -> None:
    assert "\x1b[2J" not in line_text(line("0.1", "NOOP \x1b[2J"), 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--ip", "nonsense"], "neither an address nor a network"), (["--for", "2h"], "1h at most"), ([], "not running")],
)
def test_the_command_says_what_is_wrong(arguments: list[str], said: str, tmp_path: Any) -> None:
    result = CliRunner().invoke(gatepost, ["trace", *arguments, "--data", str(tmp_path)], standalone_mode=False)
    assert said in result.output


async def test_what_a_visit_brings_fits_into_one_piece_whatever_was_said(rig: Rig) -> None:
    rig.begin(sessions=100)
    for _ in range(5):
        await rig.session(*["NOOP " + "\U0001f4e7" * 490] * 90)
    answer = rig.read()
    assert len(json.dumps([answer])) < 2 * 2**20
    assert answer["left_out"] > 0
