"""A large message is told of while it arrives: in order, dots removed, never more than `data` gives, however it was cut."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

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


@pytest.mark.parametrize("more", [{"bare_newline": BareNewline.NORMALISE}, {}])
def test_small_messages_and_those_put_right_are_not_told_of(more: dict[str, BareNewline]) -> None:
    talk = Talk(replace(CONFIG, **more)).open()
    talk.say("DATA")
    talk.send_in(cut(stuffed(LARGE if more else LARGE[: LARGE.index(b"\r\n", 150_000) + 2]), random.Random(1)))
    assert len(talk.messages) == 1
    assert talk.told(Arrived) == []


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
