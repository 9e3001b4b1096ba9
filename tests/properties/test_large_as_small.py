"""The same message by two ways, in memory and through a file of the spool: one receipt, one stored message, one reply.

However it is cut, by DATA or BDAT, with dots at line begins and bare newlines anywhere.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mail.client import Client
from mail.message import Message
from mail.receipt import decode_receipt
from smtp import content
from smtp.calls import call
from smtp.config import BareNewline, SmtpConfig
from smtp.events import Arrived
from smtp.machine import Machine
from spool.database import open_spool
from spool.ports import HistoryQuery
from tests.inbound.inbound_rig import Rig, book
from tests.verdicts.signing import LATER, RECORD, sign
from verdicts.dns_zone import ZoneResolver
from verdicts.judge import Judgement, judge

RULES = "version: 1\ndomains: [example.com]\nrule_sets: {default: [{name: all, actions: [{disk: {path: x}}]}]}\n"
ZONE = {
    "s._domainkey.acme.example": {"TXT": [RECORD]},
    "_dmarc.acme.example": {"TXT": ["v=DMARC1; p=reject"]},
    "acme.example": {"TXT": ["v=spf1 ip4:192.0.2.0/24 -all"]},
}
SMALL = {"LARGE_OCTETS": 64, "TELL_OCTETS": 7}
PARTS = st.sampled_from([b"\r\n", b".", b"\r\n.", b"..\r\n", b" ", b"\t x ", b"word", b"\r\n.\r\n", b"\xe9", b"\0"])
BARE = st.sampled_from([b"\r", b"\n", b"\n.\n"])
WAYS = st.sampled_from(["DATA", "BDAT"])


class Judging(Rig):
    """With the real judge."""

    async def _judge(self, message: Message, *arguments: Any, needs: Any, **more: Any) -> Judgement:
        del needs
        self.in_memory = isinstance(message.raw, bytes)
        more["received_at"] = LATER
        return await judge(message, *arguments, resolver=ZoneResolver(ZONE), **more)


def dialogue(raw: bytes, way: str, cuts: list[int]) -> Iterator[bytes]:
    yield b"EHLO c.example\r\nMAIL FROM:<ann@acme.example>\r\nRCPT TO:<x@example.com>\r\n"
    edges = sorted({min(cut, len(raw)) for cut in cuts} | {0, len(raw)})
    pieces = [raw[start:end] for start, end in itertools.pairwise(edges)] or [raw]
    if way == "BDAT":
        for number, piece in enumerate(pieces, 1):
            yield b"BDAT %d%s\r\n" % (len(piece), b" LAST" if number == len(pieces) else b"")
            yield piece
        return
    yield b"DATA\r\n"
    sent = (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:] + (b"" if raw.endswith(b"\r\n") else b"\r\n") + b".\r\n"
    edges = sorted({min(cut, len(sent)) for cut in cuts} | {0, len(sent)})
    for start, end in itertools.pairwise(edges):
        yield sent[start:end]


async def outcome(pieces: Iterator[bytes], newline: BareNewline) -> tuple[Any, ...]:
    """Replies, receipt and body; and whether the message came through a file."""
    with tempfile.TemporaryDirectory() as directory:
        spool = open_spool(Path(directory), 0)
        rig = Judging(book(RULES), spool=spool)  # type: ignore[arg-type]
        machine = Machine(SmtpConfig(hostname="mx.test", bare_newline=newline), Client(ip="192.0.2.1", port=1))
        session = await rig.session()
        replies, told = b"", False
        for piece in (b"", *pieces):
            machine.receive(piece)
            while (event := machine.next_event()) is not None:
                told |= type(event) is Arrived
                machine.answer(await call(session, event))
            replies += machine.outgoing()
        rows = await spool.find(HistoryQuery())
        kept = []
        for row, state in rows:
            if state is not None:
                stored = await spool.message(row.id)
                receipt = decode_receipt(stored.receipt, stored.header or b"", stored.answers)
                kept.append((receipt, await spool.body(row.id)))
        await spool.close()
        assert list((Path(directory) / "shards" / "00" / "bodies").glob("*.tmp")) == []
        told = told and bool(kept) and not rig.in_memory
        return replies, [(row, state) for row, state in rows], kept, told


@settings(max_examples=40, deadline=None)
@given(
    st.lists(PARTS, max_size=40),
    st.lists(st.tuples(st.integers(0, 40), BARE), max_size=1),
    WAYS,
    st.lists(st.integers(0, 1500), max_size=12),
    st.sampled_from(list(BareNewline)),
)
@example([b"word"] * 20, [], "DATA", [900, 950, 1000], BareNewline.REJECT)
@example([b"\r\n."] * 30, [], "BDAT", [5, 1000], BareNewline.REJECT)
@example([b"word"] * 30, [(3, b"\r")], "BDAT", [5, 1000, 1100], BareNewline.NORMALISE)
async def test_by_either_way_a_message_is_the_same(
    parts: list[bytes], bare: list[tuple[int, bytes]], way: str, cuts: list[int], newline: BareNewline
) -> None:
    for at, octets in bare:
        parts.insert(at, octets)
    raw = sign(b"From: Ann <ann@acme.example>\r\nTo: x@example.com\r\nSubject: s\r\nDate: d\r\n\r\nB\r\n") + b"".join(
        parts
    )
    pieces = list(dialogue(raw, way, cuts))
    in_memory = await outcome(iter(pieces), newline)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in SMALL.items():
            patched.setattr(content, name, value)
        through_a_file = await outcome(iter(pieces), newline)
    assert in_memory[:3] == through_a_file[:3]
    assert not in_memory[3]
    if through_a_file[2] and len(cuts) > 1:
        assert through_a_file[3] or len({min(cut, len(raw)) for cut in cuts}) < 2
