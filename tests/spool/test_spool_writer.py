"""The writer: what is promised to callers when units fail, disks fail and callers go away."""

import asyncio
import sqlite3
import threading

import pytest
from spool_units import accepted_of as unit

from mail.counters import Histogram, key
from mail.errors import Misuse
from mail.values import changed
from spool.database import open_spool
from spool.ports import Broken, Full, JobQuery, JobState, NotFound, Recorded
from spool.schema import SHARD, open_for_writing
from spool.units import GROUP_UNITS, Change
from spool.writer import Writer


class Scripted:
    """A connection that does what its script says when a statement begins with its word, once for each entry."""

    def __init__(self, connection, script=()):
        self._connection = connection
        self.script = list(script)
        self.said = []

    def execute(self, statement, *arguments):
        self.said.append(statement)
        if self.script and statement.startswith(self.script[0][0]):
            error = self.script.pop(0)[1]
            if isinstance(error, threading.Event):
                error.wait(10)
            else:
                raise error
        return self._connection.execute(statement, *arguments)

    @property
    def in_transaction(self):
        return self._connection.in_transaction


def failure(code, text):
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


DISK_ERROR = failure(sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error")
NO_ROOM = failure(sqlite3.SQLITE_FULL, "database or disk is full")


@pytest.fixture
async def made(tmp_path):
    connection = open_for_writing(tmp_path / "a.db")
    SHARD.bring_up(connection)
    connection.execute("CREATE TABLE noted (word TEXT UNIQUE)")
    scripted = Scripted(connection)
    broken, room, commits = [], [], Histogram()
    writer = Writer(
        scripted,
        monotonic=lambda: writer.now,
        make_room=lambda: bool(room and room.pop()),
        landed=lambda change: None,
        broke=broken.append,
        commit_seconds=commits,
    )
    writer.now, writer.commits = 0.0, commits
    writer.broken, writer.room = broken, room
    yield writer, scripted
    await writer.close()
    connection.close()


def note(word):
    def apply(connection):
        connection.execute("INSERT INTO noted VALUES (?)", (word,))
        return Change(result=word)

    return apply


def words(scripted):
    return [word for (word,) in scripted.execute("SELECT word FROM noted ORDER BY rowid")]


async def test_units_submitted_together_share_one_commit(made):
    writer, scripted = made
    assert await asyncio.gather(*(writer.submit(note(str(each))) for each in range(20))) == [
        str(each) for each in range(20)
    ]
    assert scripted.said.count("COMMIT") == 1


async def test_a_group_has_a_bound(made):
    writer, scripted = made
    await asyncio.gather(*(writer.submit(note(str(each))) for each in range(2 * GROUP_UNITS + 1)))
    assert scripted.said.count("COMMIT") == 3


async def test_accepts_that_follow_a_group_of_accepts_wait_for_those_that_are_expected(made, monkeypatch):
    for name in ("ACCEPT_SECONDS", "CLOSE_SECONDS"):
        monkeypatch.setattr(f"spool.pace.{name}", 3600.0)
    writer, scripted = made
    await asyncio.gather(*(writer.submit(note(word), first=True) for word in "abc"))
    waiting = []
    for word in "def":
        assert scripted.said.count("COMMIT") == 1
        waiting.append(writer.submit(note(word), first=True, patience=writer.patience(3)))
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == list("def")
    assert scripted.said.count("COMMIT") == 2


async def test_who_waits_for_company_does_not_wait_for_the_writer(made):
    writer, _ = made
    waiting = writer.submit(note("a"), first=True, patience=3600)
    writer.now = 3599.0
    assert writer.oldest_wait_seconds == 0
    writer.now = 3602.0
    assert writer.oldest_wait_seconds == 2
    await asyncio.gather(waiting, writer.submit(note("b")))


async def test_accepts_go_before_other_units(made):
    writer, scripted = made
    await asyncio.gather(writer.submit(note("later")), writer.submit(note("accept"), first=True))
    assert words(scripted) == ["accept", "later"]


async def test_a_failing_unit_is_answered_alone_and_leaves_nothing(made):
    writer, scripted = made

    def half(connection):
        connection.execute("INSERT INTO noted VALUES ('half')")
        raise NotFound("no")

    results = await asyncio.gather(
        writer.submit(note("a")),
        writer.submit(half),
        writer.submit(note("a")),
        writer.submit(note("b")),
        return_exceptions=True,
    )
    assert [type(each) for each in results] == [str, NotFound, sqlite3.IntegrityError, str]
    assert words(scripted) == ["a", "b"]


async def test_nothing_is_answered_before_the_commit_returned(made):
    writer, scripted = made
    gate = threading.Event()
    scripted.script = [("COMMIT", gate)]
    waiting = writer.submit(note("a"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not waiting.done()
    assert writer.queued_units == 1
    gate.set()
    assert await waiting == "a"


async def test_a_full_disk_fails_only_the_units_that_do_not_fit(made):
    writer, scripted = made
    scripted.script = [("COMMIT", NO_ROOM), ("COMMIT", NO_ROOM)]
    results = await asyncio.gather(*(writer.submit(note(each)) for each in "abc"), return_exceptions=True)
    assert [type(each) for each in results] == [Full, str, str]
    assert words(scripted) == ["b", "c"]
    assert await writer.submit(note("d")) == "d"


async def test_a_disk_that_fills_while_units_are_applied_is_full_too(made):
    writer, scripted = made
    scripted.script = [("INSERT", NO_ROOM), ("INSERT", NO_ROOM)]
    results = await asyncio.gather(writer.submit(note("a")), writer.submit(note("b")), return_exceptions=True)
    assert [type(each) for each in results] == [Full, str]


async def test_outcomes_get_the_room_that_is_held_back_and_accepts_do_not(made):
    writer, scripted = made
    writer.room.append(True)
    scripted.script = [("COMMIT", NO_ROOM), ("COMMIT", NO_ROOM), ("COMMIT", NO_ROOM)]
    results = await asyncio.gather(
        writer.submit(note("outcome")), writer.submit(note("accept"), first=True), return_exceptions=True
    )
    assert results[0] == "outcome"
    assert isinstance(results[1], Full)
    assert writer.room == []


@pytest.mark.parametrize("where", ["BEGIN", "INSERT", "COMMIT"])
async def test_an_io_error_breaks_every_unit_and_closes_for_ever(made, where):
    writer, scripted = made
    scripted.script = [(where, DISK_ERROR)]
    units = [writer.submit(note(str(each))) for each in range(GROUP_UNITS + 3)]
    results = await asyncio.gather(*units, return_exceptions=True)
    assert {type(each) for each in results} == {Broken}
    said = len(scripted.said)
    with pytest.raises(Broken, match="disk I/O error"):
        await writer.submit(note("later"))
    assert len(scripted.said) == said
    assert len(writer.broken) == 1


async def test_a_corrupt_file_is_not_one_units_fault(made):
    writer, scripted = made
    scripted.script = [("INSERT", sqlite3.DatabaseError("database disk image is malformed"))]
    with pytest.raises(Broken):
        await writer.submit(note("a"))


async def test_a_rollback_that_fails_closes_the_writer(made):
    writer, scripted = made
    scripted.script = [("COMMIT", NO_ROOM), ("ROLLBACK", DISK_ERROR)]
    with pytest.raises(Broken):
        await writer.submit(note("a"))


async def test_a_caller_that_goes_away_cancels_nothing_and_its_result_is_handed_on(made):
    writer, scripted = made
    handed = []
    waiting = writer.submit(note("a"), abandoned=handed.append)
    waiting.cancel()
    await writer.submit(note("b"))
    assert words(scripted) == ["a", "b"]
    assert handed == ["a"]


async def test_a_patient_unit_goes_with_the_next_group(made):
    writer, scripted = made
    patient = writer.submit(note("patient"), patience=3600)
    for _ in range(20):
        await asyncio.sleep(0)
    assert scripted.said == []
    await writer.submit(note("a"))
    assert patient.done()
    assert scripted.said.count("COMMIT") == 1


async def test_closing_writes_what_waits(made):
    writer, scripted = made
    patient = writer.submit(note("patient"), patience=3600)
    assert await writer.close()
    assert patient.result() == "patient"
    assert words(scripted) == ["patient"]
    assert not await writer.close()


async def test_a_unit_that_runs_alone_stands_back(made):
    writer, scripted = made
    await asyncio.gather(
        writer.submit(note("alone"), alone=True), writer.submit(note("a")), writer.submit(note("b"), first=True)
    )
    assert words(scripted) == ["b", "a", "alone"]


class TestSpool:
    """The same promises, seen through the spool."""

    async def test_an_accept_whose_caller_has_gone_leaves_a_ready_job(self, tmp_path):
        spool = open_spool(tmp_path, 0)
        for number, octets in ((1, 4096), (2, 300_000)):
            task = asyncio.create_task(spool.accept(unit(number, octets)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while not (found := await spool.jobs(JobQuery(message_id=unit(number).message_id, state=JobState.READY))):  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert found[0].attempts == 0
            assert await spool.body(unit(number).message_id) == unit(number, octets).raw
        await spool.close()

    async def test_an_answer_of_a_unit_that_failed_is_not_taken_for_known(self, tmp_path):
        spool = open_spool(tmp_path, 0)
        await spool.accept(unit(1))
        with pytest.raises(Misuse):
            await spool.accept(changed(unit(1), answers={"d": ("x",)}))
        await spool.accept(changed(unit(2), answers={"d": ("x",)}))
        assert (await spool.message(unit(2).message_id)).answers == {"d": ("x",)}
        await spool.close()

    async def test_after_a_failure_the_spool_answers_nothing(self, tmp_path):
        told = []
        spool = open_spool(tmp_path, 0, on_broken=told.append)
        await spool.accept(unit(1))
        spool._writer._connection = Scripted(spool._connection, [("COMMIT", DISK_ERROR)])
        with pytest.raises(Broken):
            await spool.accept(unit(2))
        name = unit(1).message_id
        for call in (
            spool.accept(unit(3)),
            spool.accept(unit(4, 300_000)),
            spool.message(name),
            spool.body(name),
            spool.jobs(JobQuery()),
            spool.next_due(),
            spool.record(Recorded(message_id=name)),
        ):
            with pytest.raises(Broken):
                await call
        assert len(told) == 1
        await spool.close()

    async def test_a_closed_spool_says_so(self, tmp_path):
        spool = open_spool(tmp_path, 0)
        await spool.close()
        await spool.close()
        with pytest.raises(Broken, match="closed"):
            await spool.accept(unit(1))


async def test_each_groups_commit_is_observed_once(made):
    writer, _ = made
    await asyncio.gather(writer.submit(note("a")), writer.submit(note("b")))
    await writer.submit(note("c"))
    assert dict(writer.commits.samples("x"))[key("x_count")] == 2
