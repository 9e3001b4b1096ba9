"""A transcript has every command and reply in order, no content, and nothing that may be a secret."""

from __future__ import annotations

import base64

import pytest

from mail.client import Client
from mail.reply import ACCEPTED, RECIPIENT_OK, SENDER_OK
from smtp.config import SmtpConfig
from smtp.events import Data, Greet, Hello, Mail, Rcpt
from smtp.transcript import LINE_CHARACTERS, TracedMachine, shown

CLIENT = Client(ip="192.0.2.1", port=4711)


class Session:
    """A machine whose questions are answered as a friendly backend would."""

    def __init__(self) -> None:
        self.tape: list[str] = []
        self.machine = TracedMachine(SmtpConfig(hostname="mx.example.com"), CLIENT, self._take)
        self.sent = b""
        self._turn()

    def _take(self, client: Client, direction: str, text: str) -> None:
        assert client.ip == "192.0.2.1"
        self.tape.append(f"{direction} {text}")

    def say(self, octets: bytes) -> None:
        self.machine.receive(octets)
        self._turn()

    def _turn(self) -> None:
        answers = {Mail: SENDER_OK, Rcpt: RECIPIENT_OK, Data: ACCEPTED, Greet: None, Hello: None}
        while (event := self.machine.next_event()) is not None:
            self.machine.answer(answers.get(type(event)))
        self.sent += self.machine.outgoing()


def test_the_dialogue_is_told_in_order_and_content_is_not_in_it() -> None:
    session = Session()
    session.say(b"EHLO client.example\r\n")
    session.say(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n")
    session.say(b"Subject: private\r\n\r\nHello\r\n.\r\nQUIT\r\n")
    told = [line for line in session.tape if not line.startswith("> 250-")]
    assert told[0].startswith("> 220 mx.example.com")
    assert [line for line in told if line[0] in "<-"] == [
        "< EHLO client.example",
        "< MAIL FROM:<a@b.example>",
        "< RCPT TO:<c@example.com>",
        "< DATA",
        "- content of 27 octets for 1 recipient",
        "< QUIT",
        "- the session is over",
    ]
    assert told[-2].startswith("> 221")
    at = told.index("< DATA")
    assert told[at + 1].startswith("> 354")
    assert "private" not in "".join(session.tape)
    assert "Hello" not in "".join(session.tape)


def test_pipelined_replies_stand_behind_their_commands() -> None:
    session = Session()
    session.say(b"EHLO client.example\r\nNOOP\r\nRSET\r\n")
    told = [line[:6] for line in session.tape if line[0] == "<" or line[2:5] == "250"]
    assert told.index("< NOOP") < told.index("< RSET")
    assert told[-1].startswith("> 250")


def test_what_a_transcript_tells_is_what_was_sent() -> None:
    session = Session()
    session.say(b"EHLO client.example\r\nVRFY x\r\nMAIL FROM:<>\r\nQUIT\r\n")
    assert [line[2:] for line in session.tape if line[0] == ">"] == session.sent.decode().splitlines()


PASSWORD = base64.b64encode(b"\0ana\0hunter2!")


@pytest.mark.parametrize(
    "line",
    [
        b"AUTH PLAIN " + PASSWORD,
        b"auth plain " + PASSWORD,
        b"AUTH  " + PASSWORD,
        PASSWORD,
        b"hunter2!",
        b" AUTH PLAIN " + PASSWORD,
        b"PASS hunter2!",
    ],
)
def test_what_may_be_a_secret_is_not_told(line: bytes) -> None:
    session = Session()
    session.say(b"EHLO client.example\r\n" + line + b"\r\n")
    everything = "".join(session.tape)
    assert PASSWORD.decode()[-12:] not in everything
    assert "hunter2" not in everything


def test_a_chunk_is_not_told_though_it_came_with_its_command() -> None:
    session = Session()
    session.say(b"EHLO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<c@example.com>\r\n")
    session.say(b"BDAT 19 LAST\r\nSubject: private\r\n\r\nNOOP\r\n")
    assert "private" not in "".join(session.tape)
    assert "< BDAT 19 LAST" in session.tape


def test_a_line_is_told_up_to_a_bound() -> None:
    assert len(shown(b"NOOP " + b"x" * 100_000)) <= 4 * LINE_CHARACTERS
    session = Session()
    session.say(b"NOOP " + b"x" * 1500 + b"\r\n")
    assert max(map(len, session.tape)) <= LINE_CHARACTERS + 2


def test_octets_that_are_no_text_are_told_as_escapes() -> None:
    assert shown(b"NOOP \xff\x1b[2J") == "NOOP \\xff\x1b[2J", "the command that prints it makes the rest visible"
