"""Every short row of CR, LF, NUL and dot as the end of data, against a reader of three lines; and wherever it is cut."""

import itertools

import pytest

from tests.smtp.recording import CONFIG, Talk

OPENING = b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\n"
SMUGGLED = b"MAIL FROM:<smuggled@b.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\nsmuggled\r\n.\r\n"
BARE = b"554 5.5.2"


def read_simply(stream: bytes) -> tuple[list[bytes], bool]:
    """RFC 5321 §2.3.8, §4.1.1.4, §4.5.2: the messages up to the first, and whether a CR or LF stood alone in it."""
    content, end, _ = (b"\r\n" + stream).partition(b"\r\n.\r\n")
    if b"\r" in content.replace(b"\r\n", b"") or b"\n" in content.replace(b"\r\n", b""):
        return [], True
    lines = (content + b"\r\n").removeprefix(b"\r\n").split(b"\r\n") if end else []
    return [b"\r\n".join(line.removeprefix(b".") for line in lines)] if end else [], False


def first_message(pieces: tuple[bytes, ...]) -> tuple[list[bytes], bool]:
    talk = Talk(CONFIG)
    talk.send(OPENING)
    before = len(talk.replies)
    talk.send_in(pieces)
    # Behind an end of data that is one, what follows is a message of its own.
    return [raw for _, raw in talk.messages][:1], talk.replies[before:].startswith(BARE) and talk.is_closed


ROWS = [
    b"".join(row) for length in range(1, 7) for row in itertools.product((b"\r", b"\n", b".", b"\0"), repeat=length)
]


@pytest.mark.parametrize("before", [b"", b"Subject: x\r\n\r\nbody"], ids=["at the start", "behind a body"])
def test_data_ends_where_a_simple_reader_says_and_nowhere_else(before: bytes) -> None:
    """Smuggled commands are content, or what is refused: a second message comes only of an end of data that is one."""
    ended = refused = 0
    for number, row in enumerate(ROWS):
        stream = before + row + SMUGGLED
        cut = len(before) + number % (len(row) + 1)
        for pieces in ((stream,), (stream[:cut], stream[cut:])):
            found = first_message(pieces)
            assert found == read_simply(stream), row
        ended += bool(found[0]) and b"smuggled" not in found[0][0]
        refused += found[1]
    print(f"endings: {len(ROWS)}; {refused} refused, {ended} ends of data, {len(ROWS) - refused - ended} content")
    assert refused > len(ROWS) / 2
    assert ended


@pytest.mark.parametrize("size", range(1, 24))
def test_dots_are_taken_away_wherever_the_pieces_are_cut(size: int) -> None:
    stream = b"..\r\n...\r\n.a\r\n. \r\n.\0\r\na.\r\n\r\n..\r\n.\r\nNOOP\r\n"
    talk = Talk(CONFIG)
    talk.send(OPENING)
    talk.send_in(stream[at : at + size] for at in range(0, len(stream), size))
    assert [raw for _, raw in talk.messages] == [b".\r\n..\r\na\r\n \r\n\0\r\na.\r\n\r\n.\r\n"]
    assert talk.replies.endswith(b"250 2.0.0 Ok\r\n")
    assert not talk.is_closed
