"""Erasing leaves nothing of a person in any file of the shard, and everything of everybody else."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from spool_units import NOON, accepted_of

from mail.outcome import Result
from mail.values import changed
from spool.database import open_spool
from spool.history import emptied
from spool.ports import (
    HistoryQuery,
    HistoryRow,
    JobChange,
    JobKind,
    JobQuery,
    LedgerRow,
    MessageState,
    NewJob,
    NotFound,
    Recorded,
    Retention,
)
from spool.reader import open_reader
from spool.sqlite_spool import SqliteSpool

ANN = b"ann@persons.example"
SECRET = b"the-secret-of-ann"
REFUSED = HistoryRow(
    id="s7.1",
    session="s7",
    at=NOON,
    client_ip="192.0.2.7",
    helo="mx.example",
    mail_from=ANN.decode(),
    rcpt_to=("nobody@y.example",),
    phase="rcpt",
    outcome="refused",
    reply="550 5.1.1",
)


def mail(number: int, octets: int, *, by_ann: bool = True):
    unit = accepted_of(number, 600)
    name, secret = (ANN, SECRET) if by_ann else (b"joann@persons.example", b"of-somebody-else")
    header = b"From: %b\r\nSubject: %b\r\n\r\n" % (name, secret)
    row = changed(unit.history, mail_from=name.decode(), header_from=name.decode(), subject=secret.decode())
    raw = header + secret * (octets // len(secret))
    return changed(unit, header_octets=len(header), raw=raw, history=row, receipt=b'{"from":"%b"}' % name)


async def put(spool: SqliteSpool, number: int, octets: int, *, by_ann: bool = True, left: bool = False) -> str:
    """A message that is done, or has a job left."""
    job = await spool.accept(mail(number, octets, by_ann=by_ann))
    who = ANN.decode() if by_ann else ""
    row = LedgerRow(
        message_id=job.message_id,
        evaluation=0,
        rule="keep",
        index=0,
        recipient=who,
        action="deliver",
        position=0,
        result=Result.DONE,
        at=NOON,
        detail=f"to {who}",
    )
    step = NewJob(kind=JobKind.STEP, message_id=job.message_id, key=f"{job.message_id}/0/keep/0/{who}", not_before=NOON)
    state = MessageState.RETRYING if left else MessageState.DONE
    new = (step,) if left else ()
    change = JobChange(id=job.id)
    await spool.record(Recorded(message_id=job.message_id, ledger=(row,), job=change, new_jobs=new, state=state))
    return job.message_id


def octets_of(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def test_nothing_of_an_erased_person_is_in_any_file(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, 0)
    ids = [
        await put(spool, number, octets, left=left)
        for number, (octets, left) in enumerate([(100, False), (6_000, True), (60_000, False), (400_000, False)])
    ]
    others = [
        await put(spool, 10 + number, octets, by_ann=False) for number, octets in enumerate((100, 9_000, 300_000))
    ]
    await spool.log(REFUSED)
    await spool.find(HistoryQuery())  # which writes down what was logged
    named = [each.row.id for each in await open_reader(tmp_path).naming([ANN.decode()])]
    assert sorted(named) == sorted([*ids, "s7.1"])
    assert octets_of(tmp_path).count(SECRET) > 1000

    done = await spool.erase([*named, "gone", *named])
    assert (sorted(done.erased), done.busy) == (sorted(named), ())
    assert await spool.scrub()
    left = octets_of(tmp_path)
    assert b"\x00" + ANN not in left
    assert left.count(ANN) == left.count(b"jo" + ANN) > 0
    assert SECRET not in left
    assert await open_reader(tmp_path).naming([ANN.decode()]) == []
    assert await spool.jobs(JobQuery()) == []
    assert spool.load().ready_jobs == 0
    for number, message_id in enumerate(others):
        assert await spool.body(message_id) == mail(10 + number, (100, 9_000, 300_000)[number], by_ann=False).raw
    await spool.close()
    assert ANN not in octets_of(tmp_path).replace(b"jo" + ANN, b"")


async def test_a_body_that_retention_took_before_is_overwritten_too(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, 0)
    ids = [await put(spool, number, 60_000) for number in range(5)]
    swept = await spool.sweep(NOON + timedelta(days=2), Retention())
    assert swept.bodies == 5
    await spool.erase(ids)
    assert await spool.scrub()
    assert SECRET not in octets_of(tmp_path)
    assert await spool.accept(accepted_of(9, 60_000)) is not None
    await spool.close()


async def test_a_row_stays_that_names_nobody(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, 0)
    message_id = await put(spool, 1, 100)
    await spool.erase([message_id])
    ((row, state),) = await spool.find(HistoryQuery(outcome="accepted"))
    assert (row, state) == (emptied(mail(1, 100).history), None)
    assert (row.detail, row.outcome, row.mail_from, row.rcpt_to) == ("erased", "accepted", None, ())
    for look in (spool.message, spool.body):
        with pytest.raises(NotFound):
            await look(message_id)
    assert await spool.ledger(message_id) == []
    assert (await spool.sweep(NOON + timedelta(days=100), Retention())).messages == 0
    assert await spool.find(HistoryQuery()) == []
    await spool.close()


async def test_a_message_that_is_being_worked_on_is_left_whole(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, 0)
    unit = mail(1, 100)
    await spool.accept(unit)
    done = await spool.erase([unit.message_id])
    assert (done.erased, done.busy) == ((), (unit.message_id,))
    assert await spool.body(unit.message_id) == unit.raw
    await spool.close()


async def test_mail_is_taken_while_a_large_file_is_scrubbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spool.erase.SCRUB_OCTETS", 64 * 1024)
    spool = open_spool(tmp_path, 0)
    ids = [await put(spool, number, 100_000) for number in range(20)]
    await spool.erase(ids)
    (pages,) = spool._connection.execute("PRAGMA page_count").fetchone()
    done = []
    scrubbing = spool.scrub()

    async def accept() -> None:
        for number in range(100, 110):
            await spool.accept(accepted_of(number))
            done.append(number)

    assert (await asyncio.gather(scrubbing, accept()))[0]
    assert len(done) == 10
    await spool.close()
    assert (tmp_path / "shards" / "00" / "spool.db").stat().st_size < pages * 8192 + 200_000


async def test_a_scrub_that_was_cut_off_leaves_no_table_behind(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, 0)
    spool._connection.execute("CREATE TABLE IF NOT EXISTS scrub (zeros BLOB)")
    await spool.close()
    spool = open_spool(tmp_path, 0)
    assert spool._connection.execute("SELECT name FROM sqlite_master WHERE name = 'scrub'").fetchall() == []
    await spool.close()


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("ann@x.example", True),
        ("<ANN@X.example>", True),
        ("To: ann@x.example.\r\n", True),
        ("joann@x.example", False),
        ("ann@x.example.net", False),
        ("o'ann@x.example", False),
        ("ann@xyexample", False),
        ("ren\u00e9ann@x.example", False),
        ("SRS0=hash=tt=a.example=ann@x.example", False),
        ("list-bounces=ann@x.example", False),
        ('"Ann"@x.example', True),
        ("Cc: ann\r\n  @x.example", True),
        ("spf=pass smtp.mailfrom=ann@x.example;", True),
        ("<https://list.example/leave?to=ann%40x.example>", True),
        ("To: 'ann@x.example'", True),
        ("Cc: =?utf-8?B?YW5uQHguZXhhbXBsZQ==?= <other@x.example>", True),
    ],
)
async def test_an_address_is_a_whole_word(text: str, is_named: bool, tmp_path: Path) -> None:
    spool = open_spool(tmp_path, 0)
    await spool.log(changed(REFUSED, mail_from=text))
    await spool.close()
    assert bool(await open_reader(tmp_path).naming(["ann@x.example"])) is is_named


async def test_letters_are_the_same_however_they_are_composed(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, 0)
    await spool.log(changed(REFUSED, mail_from="JO\u0308RG@x.example"))
    await spool.close()
    for typed in ("j\u00f6rg@x.example", "jo\u0308rg@x.example"):
        assert await open_reader(tmp_path).naming([typed])


async def test_a_subject_that_outlives_its_header_section_is_looked_at(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, 0)
    await spool.log(changed(REFUSED, subject="your order, ann@x.example"))
    await spool.close()
    assert await open_reader(tmp_path).naming(["ann@x.example"])
