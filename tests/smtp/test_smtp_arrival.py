"""A large message is told of while it arrives: in order, dots removed, all but its end, however it was cut."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mail.crlf import normalise
from smtp.config import BareNewline, Limits
from smtp.content import LARGE_OCTETS, TELL_OCTETS, DotContent
from smtp.events import Arrived, Data, Reset
from tests.smtp.recording import CONFIG, Talk

LARGE = b"Subject: x\r\n\r\n" + b".dots and .\r\n..\r\n..\r\n\r\n\r\n\r\n....\r\n" * (LARGE_OCTETS // 20)


def stuffed(raw: bytes) -> bytes:
    return (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    """Pieces of every size, some of one octet."""
    pieces = []
    while data:
        size = chance.choice((1, 2, 3, 100, 5_000, 70_000, 300_000))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def arrived(talk: Talk) -> bytes:
    return b"".join(event.octets for event in talk.told(Arrived))


def test_what_is_told_of_early_is_how_the_message_begins_wherever_it_is_cut(torture: int) -> None:
    chance = random.Random(5321)
    for _ in range(10 * torture):
        talk = Talk().open()
        talk.say("DATA")
        talk.send_in(cut(stuffed(LARGE), chance))
        ((_, raw),) = talk.messages
        assert raw == LARGE
        early = arrived(talk)
        assert raw.startswith(early)
        assert len(raw) - len(early) < TELL_OCTETS + 4
        assert all(len(event.octets) == TELL_OCTETS for event in talk.told(Arrived))


def test_chunks_are_told_of_too(torture: int) -> None:
    chance = random.Random(3030)
    for _ in range(4 * torture):
        talk = Talk().open()
        pieces = cut(LARGE, chance)
        for number, piece in enumerate(pieces, 1):
            last = b" LAST" if number == len(pieces) else b""
            talk.send_in(cut(b"BDAT %d%s\r\n%s" % (len(piece), last, piece), chance))
        ((_, raw),) = talk.messages
        assert raw == LARGE
        assert raw.startswith(arrived(talk))
        assert len(arrived(talk)) > len(raw) - TELL_OCTETS - 4


def test_small_messages_are_not_told_of() -> None:
    talk = Talk().open()
    talk.say("DATA")
    talk.send_in(cut(stuffed(LARGE[: LARGE.index(b"\r\n", 150_000) + 2]), random.Random(1)))
    assert len(talk.messages) == 1
    assert talk.told(Arrived) == []


@pytest.mark.parametrize("by", ["DATA", "BDAT"])
def test_line_ends_are_put_right_as_they_come_wherever_the_message_is_cut(by: str, torture: int) -> None:
    chance = random.Random(5321)
    lenient = replace(CONFIG, bare_newline=BareNewline.NORMALISE)
    bare = b"A: b\n\r\n" + b"one\rtwo\nthree\r\n\r\r\n\n\r\n. not the end\n..\r" * (LARGE_OCTETS // 30)
    for end in (b"\r\n", b"x\r", b"x\n") if by == "BDAT" else (b"\r\n",):
        for _ in range(3 * torture):
            talk = Talk(lenient).open()
            raw = bare + end
            if by == "DATA":
                talk.say("DATA")
                talk.send_in(cut(stuffed(raw), chance))
            else:
                talk.send_in(cut(b"BDAT %d LAST\r\n%s" % (len(raw), raw), chance))
            ((_, given),) = talk.messages
            assert given == normalise(raw)
            assert len(arrived(talk)) > LARGE_OCTETS


@pytest.mark.parametrize("way", ["DATA", "BDAT", "BDAT, a CR last"])
def test_a_message_that_grows_beyond_the_limit_when_its_line_ends_are_put_right_is_refused(way: str) -> None:
    raw = b"A: b\r\n\r\n" + b"\n" * (LARGE_OCTETS * 3 // 2)
    if way == "BDAT, a CR last":
        raw = b"A: b\r\n\r\n" + b"x" * (LARGE_OCTETS * 2 - 9) + b"\r"
    sent = b"DATA\r\n" + raw + b"\r\n.\r\n" if way == "DATA" else b"BDAT %d LAST\r\n%s" % (len(raw), raw)
    talk = Talk(
        replace(CONFIG, bare_newline=BareNewline.NORMALISE, limits=Limits(message_octets=LARGE_OCTETS * 2))
    ).open()
    talk.send_in(cut(sent, random.Random(2)))
    assert talk.replies.count(b"552 5.3.4") == 1
    assert talk.messages == []


def test_dots_that_were_doubled_on_the_way_do_not_count_against_the_limit() -> None:
    raw = b"A: b\r\n\r\n" + b".\r\n" * 1000
    for limit, code in ((len(raw), b"250"), (len(raw) - 1, b"552")):
        talk = Talk(replace(CONFIG, limits=Limits(message_octets=limit))).open()
        talk.say("DATA")
        before = len(talk.replies)
        talk.send_in(cut(stuffed(raw), random.Random(limit)))
        assert talk.replies[before : before + 3] == code


@pytest.mark.parametrize("bare_newline", list(BareNewline))
def test_however_large_a_message_is_little_of_it_lies_in_memory(bare_newline: BareNewline) -> None:
    chance = random.Random(1870)
    talk = Talk(replace(CONFIG, bare_newline=bare_newline)).open()
    talk.say("DATA")
    for piece in cut(stuffed(LARGE * 8), chance):
        talk.send(piece)
        assert talk.machine.held < LARGE_OCTETS + 300_000
    assert len(talk.messages[0][1]) == len(LARGE * 8)


@pytest.mark.parametrize("bare_newline", list(BareNewline))
@pytest.mark.parametrize("octets", [0, 100, 65_536, 65_539, 150_000, 700_000])
def test_a_message_is_the_same_wherever_memory_was_short(octets: int, bare_newline: BareNewline) -> None:
    chance = random.Random(octets)
    raw = LARGE[:octets].rpartition(b"\r\n")[0] + b"\r\n"
    for command in ("DATA", f"BDAT {len(raw)} LAST"):
        talk = Talk(replace(CONFIG, bare_newline=bare_newline)).open()
        talk.machine.unload()
        talk.say(command)
        for piece in cut(stuffed(raw) if command == "DATA" else raw, chance):
            talk.send(piece)
            if chance.random() < 0.3:
                talk.machine.unload()
                talk.turn()
        talk.machine.unload()
        talk.turn()
        assert [content for _, content in talk.messages] == [raw]
        assert talk.replies.endswith(b"250 2.0.0 Ok\r\n")


def test_a_message_that_is_refused_half_way_is_dropped_after_what_was_told() -> None:
    talk = Talk(replace(CONFIG, limits=Limits(message_octets=LARGE_OCTETS * 2))).open()
    talk.say("DATA")
    sent = stuffed(LARGE * 3)
    talk.send_in(sent[at : at + 10_000] for at in range(0, len(sent), 10_000))
    assert talk.replies.count(b"552 5.3.4") == 1
    assert talk.told(Arrived)
    assert talk.told(Data) == []
    assert len(talk.told(Reset)) == 1


def test_dots_are_removed_at_every_border_of_two_pieces() -> None:
    raw = b".\r\n..\r\n.x\r\n\r\n.\r\na\r\n"
    sent = stuffed(raw)
    for first in range(len(sent) + 1):
        for second in range(first, len(sent) + 1):
            content = DotContent(1000, 0, strict=True)
            for piece in (sent[:first], sent[first:second], sent[second:]):
                content.feed(piece, 0)
            assert content.is_finished
            assert content.take() == raw
