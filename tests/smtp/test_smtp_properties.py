"""What holds of the session machine for every input."""

import itertools
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from smtp.config import Limits
from smtp.events import Close, Data, Reset
from tests.smtp.recording import CONFIG, Talk

TIGHT = replace(
    CONFIG,
    limits=Limits(
        message_octets=120,
        grace_octets=60,
        line_octets=80,
        garbage_octets=200,
        recipients=2,
        errors=5,
        idle_commands=12,
    ),
)
_LINES = st.sampled_from(
    [
        b"EHLO c.test\r\n",
        b"HELO c.test\r\n",
        b"MAIL FROM:<a@b.test>\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<x@y.test>\r\n",
        b"RCPT TO:<z@y.test>\r\n",
        b"RCPT TO:<nobody@y.test>\r\n",
        b"DATA\r\n",
        b"Subject: x\r\n\r\n",
        b"..dot\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"BDAT 5\r\nabcde",
        b"BDAT 4 LAST\r\nab\r\n",
        b"BDAT 130\r\n" + b"x" * 130,
        b"BDAT 0 LAST\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"x" * 90 + b"\r\n",
        b"y" * 100,
        b"\r",
        b"\n",
        b".",
        b"QUIT\r\n",
    ]
)
_STREAMS = st.lists(st.one_of(_LINES, _LINES, _LINES, st.binary(max_size=8)), max_size=40).map(b"".join)
_OPENING = b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\n"


def told(talk: Talk) -> list[object]:
    return [event for event in talk.events if type(event) in (Data, Reset, Close)]


@given(
    stream=st.one_of(_STREAMS, _STREAMS.map(lambda tail: _OPENING + tail)),
    cuts=st.lists(st.integers(0, 2000), max_size=30),
)
@settings(max_examples=400, deadline=None)
def test_any_cutting_of_the_stream_gives_the_same_replies_and_messages(stream: bytes, cuts: list[int]) -> None:
    whole, pieces = Talk(TIGHT), Talk(TIGHT)
    whole.send_in([stream] if stream else [])
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces.send_in(stream[start:end] for start, end in itertools.pairwise(edges))
    assert pieces.replies == whole.replies
    assert pieces.messages == whole.messages
    assert told(pieces) == told(whole)


@given(stream=_STREAMS)
@settings(max_examples=100, deadline=None)
def test_octet_by_octet_is_no_different(stream: bytes) -> None:
    whole, single = Talk(TIGHT), Talk(TIGHT)
    whole.send_in([_OPENING + stream])
    single.send_in(bytes((octet,)) for octet in _OPENING + stream)
    assert (single.replies, single.messages) == (whole.replies, whole.messages)


_TEXT = st.lists(st.sampled_from([b".", b"..", b"", b".x", b"text", b" ", b"\0", b"\xff"]), max_size=12)


@given(lines=_TEXT, size=st.integers(1, 120))
def test_what_is_stuffed_comes_out_as_it_was(lines: list[bytes], size: int) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
    stream = b"DATA\r\n" + stuffed + b".\r\n"
    talk = Talk().open()
    talk.send_in(stream[at : at + size] for at in range(0, len(stream), size))
    assert [raw for _, raw in talk.messages] == [message]


@given(pieces=st.lists(st.binary(max_size=300), max_size=40), inside=st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_octets_raise_and_little_is_held(pieces: list[bytes], inside: bool) -> None:
    talk = Talk(TIGHT)
    if inside:
        talk.send(_OPENING)
    for piece in pieces:
        talk.send(piece)
        assert talk.machine.backlog <= TIGHT.limits.garbage_octets
        assert talk.machine.held <= TIGHT.limits.message_octets + 3
    talk.machine.end_of_input()
    talk.turn()
    assert sum(type(event) is Close for event in talk.events) == 1
    assert all(line[:3].isdigit() and line[3:4] in (b" ", b"-") for line in talk.replies.splitlines())
    assert talk.replies.isascii()
