"""A message that stands in a file is judged as one in memory, from a piece at a time."""

from __future__ import annotations

import pytest
from signing import LATER, RECORD, sign

from mail.address import parse_mailbox
from mail.client import Client
from mail.envelope import Envelope, Recipient
from mail.message import Message
from mail.octets import PIECE_OCTETS, Octets
from mail.verdict import ScanResult, Status
from tests.elsewhere import Elsewhere
from verdicts.dns_zone import ZoneResolver
from verdicts.gtube import GTUBE, is_gtube
from verdicts.judge import Judgement, judge

ZONE = {"s._domainkey.acme.example": {"TXT": [RECORD]}, "_dmarc.acme.example": {"TXT": ["v=DMARC1; p=reject"]}}
HEAD = b"From: Ann <ann@acme.example>\r\nTo: bob@example.com\r\nSubject: s\r\nDate: d\r\n\r\n"
ENVELOPE = Envelope(
    reverse_path=parse_mailbox("ann@acme.example"), recipients=(Recipient(mailbox=parse_mailbox("bob@example.com")),)
)


class Seeing:
    """A scanner that reads all of what it is given."""

    name = "seeing"

    async def scan(self, raw: Octets, envelope: Envelope, client: Client, message_id: str = "") -> ScanResult:
        del envelope, client, message_id
        return ScanResult(status=Status.PASS, engine="seeing", reason=str(len(raw)))


async def judged(raw: Octets) -> Judgement:
    message = Message.of(raw)
    return await judge(
        message,
        ENVELOPE,
        Client(ip="192.0.2.1"),
        received_at=LATER,
        resolver=ZoneResolver(ZONE),
        spam=Seeing(),
        virus=Seeing(),
        wants_spam=True,
        wants_virus=True,
    )


@pytest.mark.parametrize("body", [b"B\r\n", b"a  line\t of text \r\n" * 40_000, b"x" * 500_000 + b"\r\n\r\n\r\n"])
async def test_by_either_way_the_judgement_is_the_same(body: bytes) -> None:
    raw = sign(HEAD + body)
    elsewhere = Elsewhere(raw)
    in_memory = await judged(raw)
    assert await judged(elsewhere) == in_memory
    assert in_memory.verdicts.dkim[0].result == "pass"
    assert in_memory.verdicts.spam.reason == str(len(raw))
    assert elsewhere.most <= 2 * PIECE_OCTETS


@pytest.mark.parametrize("shift", range(0, len(GTUBE) + 1, 17))
async def test_the_test_text_is_found_across_the_border_of_two_pieces(shift: int) -> None:
    before = HEAD + b"x" * (3 * PIECE_OCTETS - len(HEAD) - shift)
    raw = before + GTUBE + b"\r\n" + b"y" * 1000
    assert is_gtube(Elsewhere(raw))
    assert not is_gtube(Elsewhere(raw.replace(b"GTUBE", b"GTUBX")))
    assert (await judged(Elsewhere(raw))).verdicts.spam.status is Status.FAIL
