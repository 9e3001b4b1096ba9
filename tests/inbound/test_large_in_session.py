"""A large message is received, judged, decided and kept in the spool's file; what becomes of no message leaves none."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from inbound_rig import NOW, Rig, book

from inbound.session import InboundSession
from mail.address import parse_mailbox
from mail.envelope import Envelope, Recipient
from mail.receipt import Evidence
from mail.reply import Reply
from mail.values import changed
from spool.database import open_spool
from spool.memory import MemorySpool
from spool.ports import Broken, Full, Load
from verdicts.judge import Judgement

RULES = "version: 1\ndomains: [example.com]\nrule_sets: {default: [{name: all, actions: [{disk: {path: x}}]}]}\n"
HEAD = b"From: a@b.example\r\nSubject: Large\r\n\r\n"
MESSAGE = HEAD + b"0123456789abcde\r\n" * 60_000
ENVELOPE = Envelope(
    reverse_path=parse_mailbox("a@b.example"), recipients=(Recipient(mailbox=parse_mailbox("x@example.com")),)
)


@pytest.fixture(params=["memory", "sqlite"])
async def rig(request, tmp_path):
    opened = MemorySpool() if request.param == "memory" else open_spool(tmp_path, 0)
    yield Rig(book(RULES), spool=opened)
    await opened.close()


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    return tmp_path / "shards" / "00" / "bodies"


def left(bodies: Path) -> list[str]:
    return sorted(path.name for path in bodies.iterdir()) if bodies.exists() else []


async def begun(rig: Rig, raw: bytes = MESSAGE, *, told: int | None = None) -> tuple[InboundSession, bytes]:
    """A session that was told of the message but for its end, which is given back."""
    session = await rig.session()
    assert (await session.mail(ENVELOPE.reverse_path, None, smtputf8=False)).is_positive
    assert (await session.rcpt(ENVELOPE.recipients[0].mailbox)).is_positive
    end = len(raw) - 100 if told is None else told
    for at in range(0, end, 65_536):
        await session.arrived(raw[at : min(end, at + 65_536)])
    return session, raw[end:]


async def sent(rig: Rig, raw: bytes = MESSAGE) -> Reply:
    session, rest = await begun(rig, raw)
    reply = await session.data(ENVELOPE, rest)
    await session.close()
    return reply


async def test_it_is_kept_whole_and_its_receipt_says_so(rig: Rig, bodies: Path) -> None:
    reply = await sent(rig)
    assert reply.code == 250
    (row,) = await rig.history()
    assert (row.size, row.subject, row.outcome) == (len(MESSAGE), "Large", "accepted")
    assert await rig.spool.body(row.id) == MESSAGE
    receipt = await rig.receipt(row.id)
    assert (receipt.size, receipt.digest) == (len(MESSAGE), hashlib.sha256(MESSAGE).hexdigest())
    assert receipt.header == HEAD
    assert left(bodies) in ([], [row.id])


async def test_one_that_is_refused_leaves_nothing(rig: Rig, bodies: Path) -> None:
    rig.judgement = Judgement(verdicts=rig.judgement.verdicts, evidence=Evidence(), deferred="no scanner")
    assert (await sent(rig)).code == 451
    assert left(bodies) == []


@pytest.mark.parametrize("told", [1, 100_000, len(MESSAGE) - 100])
async def test_a_client_that_leaves_in_the_middle_leaves_nothing(rig: Rig, bodies: Path, told: int) -> None:
    session, _ = await begun(rig, told=told)
    await session.reset()
    await session.close()
    assert left(bodies) == []
    assert [(row.phase, row.outcome) for row in await rig.history()] == [("rcpt", "aborted")]


async def test_a_judge_that_crashes_leaves_nothing(rig: Rig, bodies: Path) -> None:
    async def crash(*_arguments: object, **_more: object) -> Judgement:
        raise RuntimeError("our fault")

    rig.services = replace(rig.services, judge=crash)
    session, rest = await begun(rig)
    with pytest.raises(RuntimeError):
        await session.data(ENVELOPE, rest)
    assert left(bodies) == []


async def test_a_header_section_that_does_not_end_is_refused(rig: Rig, bodies: Path) -> None:
    assert (await sent(rig, b"A: b\r\n" + b" x\r\n" * 300_000)).code == 552
    assert left(bodies) == []


async def test_what_would_be_taken_from_the_reserve_is_answered_452_at_its_end(rig: Rig, bodies: Path) -> None:
    session, rest = await begun(rig, told=300_000)
    load: Load = rig.spool.load()
    rig.services.spool.load = lambda: changed_load(load, free_octets=2**30 - 1)  # type: ignore[method-assign]
    await session.arrived(MESSAGE[300_000:400_000])
    assert left(bodies) == []
    await session.arrived(MESSAGE[400_000:500_000])
    reply = await session.data(ENVELOPE, rest)
    assert (reply.code, str(reply.enhanced)) == (452, "4.3.1")
    (row,) = await rig.history()
    assert (row.phase, row.outcome, row.detail) == ("data", "deferred", "what is left of the disk is held in reserve")


def changed_load(load: Load, **values: int) -> Load:
    return changed(load, **values)


@pytest.mark.parametrize(("failure", "code"), [(Full("the disk is full"), 452), (Broken("it failed"), 451)])
async def test_a_store_that_fails_on_the_way_answers_for_itself(rig: Rig, failure: Exception, code: int) -> None:
    class Failing:
        discarded = 0

        async def write(self, piece: bytes) -> None:
            raise failure

        async def discard(self) -> None:
            self.discarded += 1

    rig.spool.arriving = Failing  # type: ignore[method-assign,assignment]
    assert (await sent(rig)).code == code
    assert [(row.reply[:3], row.detail) for row in await rig.history()] == [(str(code), str(failure))]


async def test_one_after_another_each_has_a_file_of_its_own(rig: Rig) -> None:
    other = MESSAGE.replace(b"Large", b"Other")
    session, rest = await begun(rig, told=200_000)
    second, second_rest = await begun(rig, other)
    assert (await second.data(ENVELOPE, second_rest)).code == 250
    for at in range(200_000, len(MESSAGE) - 100, 65_536):
        await session.arrived(MESSAGE[at : min(len(MESSAGE) - 100, at + 65_536)])
    assert (await session.data(ENVELOPE, MESSAGE[-100:])).code == 250
    del rest
    bodies = {row.subject: await rig.spool.body(row.id) for row in await rig.history()}
    assert bodies == {"Large": MESSAGE, "Other": other}


async def test_facts_that_rules_ask_for_are_the_same_from_a_file(tmp_path: Path) -> None:
    asking = book(
        "version: 1\ndomains: [example.com]\nrule_sets:\n  default:\n    - name: all\n"
        "      when: [{attachment: {name: '*.bin'}}, {line_too_long: true}]\n      actions: [{disk: {path: x}}]\n"
    )
    long = b"y" * 200_000
    raw = (
        b"From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
        + long
        + b"\r\n--b\r\nContent-Disposition: attachment; filename=a.bin\r\n\r\n"
        + b"0123456789abcdef\r\n" * 20_000
        + b"--b--\r\n"
    )
    found = []
    for opened in (MemorySpool(), open_spool(tmp_path, 0)):
        rig = Rig(asking, spool=opened)  # type: ignore[arg-type]
        assert (await sent(rig, raw)).code == 250
        (row,) = await rig.history()
        found.append(await rig.receipt(row.id))
        await opened.close()
    one, other = found
    assert one == other
    assert other.received_at == NOW
    assert other.longest_line == len(long)
    assert [(each.name, each.octets) for each in other.attachments or ()] == [("a.bin", 18 * 20_000 - 2)]
