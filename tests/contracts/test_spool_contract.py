"""What every spool does, whatever it is made of. One sentence each; both stores must pass all of them."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.errors import Malformed, Misuse
from mail.ids import message_id
from mail.outcome import Result
from mail.values import changed
from spool import history, schema
from spool.database import open_spool
from spool.jobs import shard_of_job
from spool.memory import MemorySpool
from spool.ports import (
    Accepted,
    Full,
    HistoryQuery,
    HistoryRow,
    JobChange,
    JobKind,
    JobQuery,
    JobState,
    LedgerRow,
    MessageState,
    NewJob,
    NotFound,
    Pause,
    Recorded,
    Retention,
    Wanted,
)

NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
SHARD = 3
HEADER = b"Subject: hello\r\n\r\n"
RAW = HEADER + b"body\r\n"
DAY = timedelta(days=1)


@pytest.fixture(params=["memory", "sqlite"])
async def spool(request, tmp_path):
    made = MemorySpool(SHARD) if request.param == "memory" else open_spool(tmp_path / "var", SHARD)
    yield made
    await made.close()


def identity(number: int, at: datetime = NOON) -> str:
    return message_id(at, SHARD, number.to_bytes(17, "big"))


def row(number: int = 1, at: datetime = NOON, **changes) -> HistoryRow:
    values = {
        "id": identity(number, at),
        "session": "s1",
        "at": at,
        "client_ip": "192.0.2.7",
        "helo": "mx.sender.example",
        "mail_from": "Ann@sender.example",
        "rcpt_to": ("bob@ours.example", "Carol@ours.example"),
        "phase": "accepted",
        "outcome": "accepted",
        "reply": "250 2.0.0 kept",
        "subject": "Hello",
        "header_from": "Ann <ann@sender.example>",
        "size": len(RAW),
    }
    return HistoryRow(**{**values, **changes})


def walk(number: int = 1, at: datetime = NOON) -> NewJob:
    name = identity(number, at)
    return NewJob(kind=JobKind.WALK, message_id=name, key=f"{name}/0", not_before=at)


def accepted(number: int = 1, at: datetime = NOON, **changes) -> Accepted:
    values = {
        "message_id": identity(number, at),
        "received_at": at,
        "receipt": b'{"x":1}',
        "header_octets": len(HEADER),
        "raw": RAW,
        "answers": {"d1": ("v=spf1 -all",), "d2": ()},
        "rule_book": "book",
        "history": row(number, at),
        "job": walk(number, at),
    }
    return Accepted(**{**values, **changes})


def step_job(number: int = 1, index: int = 0, at: datetime = NOON, **changes) -> NewJob:
    name = identity(number)
    values = {"kind": JobKind.STEP, "message_id": name, "key": f"{name}/0/rule/{index}", "not_before": at}
    return NewJob(**{**values, **changes})


def ledger(number: int = 1, index: int = 0, result: Result = Result.DONE, **changes) -> LedgerRow:
    values = {"evaluation": 0, "rule": "rule", "recipient": "", "action": "disk", "position": index, "at": NOON}
    return LedgerRow(**{"message_id": identity(number), "index": index, "result": result, **values, **changes})


async def finish(spool, job, state=MessageState.DONE, **changes):
    await spool.record(Recorded(message_id=job.message_id, job=JobChange(id=job.id), state=state, **changes))


async def finished(spool, number=1, at=NOON, state=MessageState.DONE, **changes):
    job = await spool.accept(accepted(number, at, **changes))
    await finish(spool, job, state)


class TestArriving:
    """A large message that comes in pieces."""

    LARGE = HEADER + b"0123456789abcde\n" * 40_000

    async def come(self, spool):
        arriving = spool.arriving()
        for at in range(0, len(self.LARGE), 65_536):
            await arriving.write(self.LARGE[at : at + 65_536])
        return arriving, await arriving.finish()

    async def test_what_came_in_pieces_is_the_message(self, spool):
        arriving, content = await self.come(spool)
        assert (len(content), content[10:20]) == (len(self.LARGE), self.LARGE[10:20])
        assert await spool.accept(accepted(raw=content)) is not None
        await arriving.discard()
        await arriving.discard()
        assert await spool.body(identity(1)) == self.LARGE
        kept = await spool.content(identity(1))
        assert (len(kept), kept[:], kept[7:9]) == (len(self.LARGE), self.LARGE, self.LARGE[7:9])
        assert (await spool.message(identity(1))).header == HEADER

    async def test_what_is_discarded_can_be_read_and_is_not_there(self, spool):
        arriving, content = await self.come(spool)
        await arriving.discard()
        assert content[:] == self.LARGE
        with pytest.raises(NotFound):
            await spool.content(identity(1))

    async def test_a_rejected_message_keeps_its_header_alone(self, spool):
        arriving, content = await self.come(spool)
        await spool.accept(accepted(raw=content, keep_body=False, job=None))
        await arriving.discard()
        assert (await spool.message(identity(1))).header == HEADER
        with pytest.raises(NotFound):
            await spool.content(identity(1))

    async def test_a_small_message_is_read_alike(self, spool):
        await spool.accept(accepted())
        assert (await spool.content(identity(1)))[:] == RAW


class TestAccept:
    async def test_the_first_job_comes_leased_to_the_caller(self, spool):
        job = await spool.accept(accepted())
        assert (job.state, job.attempts, job.kind, job.key) == (JobState.LEASED, 1, JobKind.WALK, f"{identity(1)}/0")
        assert await spool.jobs(JobQuery()) == [job]
        assert await spool.claim(NOON + DAY, 10) == []

    async def test_a_message_is_given_back_as_it_was_accepted(self, spool):
        await spool.accept(accepted())
        message = await spool.message(identity(1))
        assert message.received_at == NOON
        assert (message.state, message.evaluation, message.rule_book) == (MessageState.ACTIVE, 0, "book")
        assert (message.receipt, message.header, message.has_body) == (b'{"x":1}', HEADER, True)
        assert message.answers == {"d1": ("v=spf1 -all",), "d2": ()}
        assert await spool.body(identity(1)) == RAW

    @pytest.mark.parametrize("octets", [len(HEADER), 128 * 1024, 128 * 1024 + 1, 3_000_000])
    async def test_a_body_of_any_size_comes_back_byte_for_byte(self, spool, octets):
        raw = HEADER + bytes(range(256)) * (octets // 256 + 1)
        raw = raw[:octets]
        await spool.accept(accepted(raw=raw))
        assert await spool.body(identity(1)) == raw
        assert (await spool.message(identity(1))).header == HEADER

    async def test_a_refused_message_keeps_its_header_only_and_has_no_job(self, spool):
        unit = accepted(job=None, keep_body=False, state=MessageState.REJECTED)
        assert await spool.accept(unit) is None
        message = await spool.message(identity(1))
        assert (message.state, message.header, message.has_body) == (MessageState.REJECTED, HEADER, False)
        with pytest.raises(NotFound):
            await spool.body(identity(1))

    @pytest.mark.parametrize("raw", [RAW, HEADER + b"x" * 200_000])
    async def test_an_id_cannot_be_accepted_twice_and_the_first_stands(self, spool, raw):
        await spool.accept(accepted(raw=raw))
        with pytest.raises(Misuse):
            await spool.accept(accepted(raw=raw + b"other"))
        assert await spool.body(identity(1)) == raw
        assert len(await spool.jobs(JobQuery())) == 1

    async def test_answers_shared_by_messages_are_there_for_each(self, spool):
        await spool.accept(accepted(1))
        await spool.accept(accepted(2, answers={"d1": ("v=spf1 -all",), "d3": ("x", "y")}))
        assert (await spool.message(identity(2))).answers == {"d1": ("v=spf1 -all",), "d3": ("x", "y")}

    async def test_text_that_has_no_utf8_form_is_kept_legibly(self, spool):
        await spool.accept(accepted(history=row(subject="caf\udce9 \u00e9", rcpt_to=("b\udcff@x.example",))))
        ((found, _),) = await spool.find(HistoryQuery())
        assert (found.subject, found.rcpt_to) == ("caf? \u00e9", ("b?@x.example",))

    async def test_unknown_ids_are_not_found(self, spool):
        for call in (spool.message, spool.body):
            with pytest.raises(NotFound):
                await call(identity(9))
        assert await spool.ledger(identity(9)) == []
        with pytest.raises(NotFound):
            await spool.re_evaluate(identity(9), "book", NOON)
        with pytest.raises(NotFound):
            await spool.record(Recorded(message_id=identity(9), ledger=(ledger(9),)))
        assert await spool.ledger(identity(9)) == []


class TestClaim:
    async def queue(self, spool, *jobs):
        first = await spool.accept(accepted())
        await finish(spool, first, MessageState.RETRYING, new_jobs=jobs)

    async def test_jobs_are_claimed_by_due_time_and_then_in_the_order_they_came(self, spool):
        times = (NOON + timedelta(seconds=5), NOON, NOON + timedelta(seconds=5), NOON + timedelta(microseconds=1))
        await self.queue(spool, *(step_job(index=index, at=at) for index, at in enumerate(times)))
        claimed = await spool.claim(NOON + timedelta(seconds=5), 3)
        assert [job.key[-1] for job in claimed] == ["1", "3", "0"]
        assert {(job.state, job.attempts) for job in claimed} == {(JobState.LEASED, 1)}
        assert [job.key[-1] for job in await spool.claim(NOON + DAY, 3)] == ["2"]

    async def test_a_job_is_not_claimed_before_it_is_due(self, spool):
        await self.queue(spool, step_job(at=NOON + timedelta(microseconds=1)))
        assert await spool.claim(NOON, 10) == []
        assert len(await spool.claim(NOON + timedelta(microseconds=1), 10)) == 1

    async def test_destinations_left_out_do_not_hold_up_the_others(self, spool):
        slow = [step_job(index=index, destination="slow") for index in range(5)]
        await self.queue(spool, *slow, step_job(index=7, destination="quick"), step_job(index=8))
        claimed = await spool.claim(NOON, 3, Wanted(without=frozenset({"slow", "other"})))
        assert [job.key[-1] for job in claimed] == ["7", "8"]

    async def test_of_a_paused_destination_only_what_has_expired_is_claimed(self, spool):
        await self.queue(
            spool,
            step_job(index=1, destination="down", expires_at=NOON + DAY),
            step_job(index=2, destination="down", expires_at=NOON),
            step_job(index=3, destination="up", expires_at=NOON + DAY),
        )
        wanted = Wanted(paused=frozenset({"down"}))
        claimed = await spool.claim(NOON, 9, wanted)
        assert [job.key[-1] for job in claimed] == ["2", "3"]
        assert [job.key[-1] for job in await spool.claim(NOON + DAY, 9, wanted)] == ["1"]

    async def test_one_destination_can_be_asked_for_alone(self, spool):
        await self.queue(spool, *(step_job(index=index, destination=name) for index, name in enumerate("aab")))
        assert [job.key[-1] for job in await spool.claim(NOON, 1, Wanted(only="b"))] == ["2"]
        assert await spool.claim(NOON, 1, Wanted(only="c")) == []

    async def test_a_lease_that_made_no_attempt_does_not_count(self, spool):
        await self.queue(spool, step_job(destination="down"))
        (job,) = await spool.claim(NOON, 1)
        change = JobChange(id=job.id, state=JobState.READY, last="paused", is_unmade=True)
        await spool.record(Recorded(message_id=job.message_id, job=change))
        (again,) = await spool.claim(NOON, 1)
        assert (job.attempts, again.attempts, again.last) == (1, 1, "paused")

    async def test_pauses_may_be_told_again_and_again(self, spool):
        pause = Pause(destination="down", failures=5, last="refused", until=NOON)
        for pauses in ((pause,), (pause, changed(pause, destination="too")), ()):
            await spool.pauses_are(pauses)

    async def test_next_due_is_the_earliest_ready_job(self, spool):
        assert await spool.next_due() is None
        await self.queue(spool, step_job(index=0, at=NOON + DAY), step_job(index=1, at=NOON + 2 * DAY))
        assert await spool.next_due() == NOON + DAY
        await spool.claim(NOON + DAY, 1)
        assert await spool.next_due() == NOON + 2 * DAY

    async def test_an_attempt_more_is_counted_at_each_lease(self, spool):
        await self.queue(spool, step_job(attempts=1, last="503", expires_at=NOON + DAY))
        (job,) = await spool.claim(NOON, 1)
        later = NOON + timedelta(minutes=5)
        change = JobChange(id=job.id, state=JobState.READY, not_before=later, last="504")
        await spool.record(Recorded(message_id=job.message_id, job=change))
        (again,) = await spool.claim(later, 1)
        assert (job.attempts, again.attempts, again.last, again.not_before) == (2, 3, "504", later)
        assert again.expires_at == NOON + DAY

    async def test_ids_name_their_shard_and_are_never_given_twice(self, spool):
        first = await spool.accept(accepted(1))
        await finish(spool, first)
        second = await spool.accept(accepted(2))
        assert second.id > first.id
        assert {shard_of_job(job.id) for job in (first, second)} == {SHARD}


class TestRecord:
    async def test_one_outcome_is_one_unit(self, spool):
        job = await spool.accept(accepted())
        unit = Recorded(
            message_id=job.message_id,
            ledger=(ledger(index=0, data={"object_key": "x"}, detail="kept"), ledger(index=1, result=Result.RETRYING)),
            job=JobChange(id=job.id),
            new_jobs=(step_job(index=1, attempts=1, last="refused", destination="hook"),),
            state=MessageState.RETRYING,
        )
        await spool.record(unit)
        assert await spool.ledger(job.message_id) == list(unit.ledger)
        (step,) = await spool.jobs(JobQuery())
        assert (step.state, step.attempts, step.last, step.destination) == (JobState.READY, 1, "refused", "hook")
        assert (await spool.message(job.message_id)).state is MessageState.RETRYING

    async def test_a_step_recorded_again_replaces_its_row(self, spool):
        await spool.accept(accepted())
        for attempt, result in ((1, Result.FAILED), (2, Result.DONE), (2, Result.DONE)):
            await spool.record(
                Recorded(message_id=identity(1), ledger=(ledger(result=result, attempts=attempt, control="STOP_RULE"),))
            )
        (kept,) = await spool.ledger(identity(1))
        assert (kept.result, kept.attempts, kept.control) == (Result.DONE, 2, "STOP_RULE")

    async def test_the_ledger_stands_in_the_order_of_the_walk(self, spool):
        await spool.accept(accepted())
        rows = [
            ledger(position=2, rule="a", index=0),
            ledger(position=0, rule="z", index=1),
            ledger(position=1, rule="b", index=0, recipient="x@y.example"),
            ledger(position=0, rule="z", index=0, evaluation=1),
        ]
        await spool.record(Recorded(message_id=identity(1), ledger=tuple(rows)))
        assert await spool.ledger(identity(1)) == [rows[1], rows[2], rows[0], rows[3]]

    async def test_a_job_that_waits_is_changed_where_that_is_said_and_the_evaluation_goes_up_with_it(self, spool):
        job = await spool.accept(accepted())
        await finish(spool, job, MessageState.QUARANTINED, new_jobs=(step_job(kind=JobKind.HOLD, last="held"),))
        (hold,) = await spool.jobs(JobQuery())
        assert spool.load().ready_jobs == 0
        unit = Recorded(message_id=job.message_id, job=JobChange(id=hold.id, was=JobState.READY), evaluation=1)
        await spool.record(unit)
        assert await spool.jobs(JobQuery()) == []
        message = await spool.message(job.message_id)
        assert (message.state, message.evaluation) == (MessageState.QUARANTINED, 1)
        with pytest.raises(NotFound):
            await spool.record(unit)

    async def test_a_hold_keeps_its_message_until_it_is_gone(self, spool):
        job = await spool.accept(accepted())
        hold = step_job(kind=JobKind.HOLD, last="held", not_before=NOON + 400 * DAY)
        await finish(spool, job, MessageState.QUARANTINED, new_jobs=(hold,))
        await spool.sweep(NOON + 300 * DAY, Retention())
        assert await spool.body(job.message_id) == RAW
        (held,) = await spool.claim(NOON + 400 * DAY, 1)
        await spool.record(Recorded(message_id=job.message_id, job=JobChange(id=held.id), state=MessageState.DONE))
        assert (await spool.sweep(NOON + 400 * DAY, Retention())).messages == 1

    async def test_a_job_that_is_not_leased_cannot_be_changed_and_nothing_else_is_kept(self, spool):
        job = await spool.accept(accepted())
        await finish(spool, job)
        again = Recorded(
            message_id=job.message_id,
            job=JobChange(id=job.id),
            new_jobs=(step_job(),),
            state=MessageState.DEAD,
            ledger=(ledger(),),
        )
        with pytest.raises(NotFound):
            await spool.record(again)
        assert (await spool.message(job.message_id)).state is MessageState.DONE
        assert await spool.jobs(JobQuery()) == []
        assert await spool.ledger(job.message_id) == []


class TestOperator:
    async def dead(self, spool, number=1, **changes):
        job = await spool.accept(accepted(number))
        new = step_job(number, attempts=1, last="HTTP 503 from hook", destination="hook", **changes)
        row = ledger(number, result=Result.RETRYING, action="webhook")
        await finish(spool, job, MessageState.RETRYING, ledger=(row,), new_jobs=(new,))
        (leased,) = await spool.claim(NOON, 1)
        change = JobChange(id=leased.id, state=JobState.DEAD, last="HTTP 503 from hook")
        await spool.record(Recorded(message_id=leased.message_id, job=change, state=MessageState.DEAD))
        return leased.id

    async def test_a_dead_job_is_redriven_now_with_a_fresh_four_hours(self, spool):
        job_id = await self.dead(spool, expires_at=NOON)
        later = NOON + 3 * DAY
        assert await spool.change_jobs([job_id, job_id, 999], JobState.READY, later) == 1
        (job,) = await spool.claim(later, 1)
        assert (job.not_before, job.expires_at) == (later, later + timedelta(hours=4))
        assert (await spool.message(identity(1))).state is MessageState.RETRYING

    async def test_a_parked_job_stays_until_it_is_released(self, spool):
        job_id = await self.dead(spool)
        assert await spool.change_jobs([job_id], JobState.PARKED, NOON) == 1
        assert (await spool.message(identity(1))).state is MessageState.PARKED
        assert await spool.claim(NOON + DAY, 9) == []
        assert await spool.next_due() is None

    async def test_a_cancelled_job_is_gone_and_its_message_done(self, spool):
        job_id = await self.dead(spool)
        assert await spool.change_jobs([job_id], None, NOON) == 1
        assert await spool.jobs(JobQuery()) == []
        assert (await spool.message(identity(1))).state is MessageState.DONE

    async def test_a_cancelled_jobs_step_is_tried_no_more_and_says_so(self, spool):
        job = await self.dead(spool)
        walking = await spool.accept(accepted(2))
        held = JobChange(id=walking.id, state=JobState.READY, not_before=NOON, last="503")
        rows = (ledger(2, 0, detail="kept"), ledger(2, 1, Result.FAILED, detail="503"))
        await spool.record(Recorded(message_id=identity(2), ledger=rows, job=held))
        await spool.record(Recorded(message_id=identity(1), ledger=(ledger(1, 0, Result.RETRYING, detail="504"),)))
        await spool.record(Recorded(message_id=identity(1), ledger=(ledger(1, 1, Result.RETRYING),)))
        assert await spool.change_jobs([job, walking.id], None, NOON + DAY) == 2
        assert [(row.result, row.detail, row.at) for row in await spool.ledger(identity(1))] == [
            (Result.SKIPPED, "cancelled; last: 504", NOON + DAY),
            (Result.RETRYING, "", NOON),
        ]
        assert [row.detail for row in await spool.ledger(identity(2))] == ["kept", "cancelled; last: 503"]

    async def test_jobs_are_selected_by_when_their_message_came(self, spool):
        for number in (1, 2, 3):
            await spool.accept(accepted(number, NOON + number * DAY))
        query = JobQuery(since=NOON + 2 * DAY, until=NOON + 3 * DAY)
        assert [job.message_id for job in await spool.jobs(query)] == [identity(2, NOON + 2 * DAY)]

    async def test_a_leased_job_stays_as_it_is(self, spool):
        job = await spool.accept(accepted())
        assert await spool.change_jobs([job.id], None, NOON) == 0
        assert await spool.jobs(JobQuery()) == [job]

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"message_id": identity(1)}, [1]),
            ({"state": JobState.DEAD}, [1, 2]),
            ({"state": JobState.READY}, []),
            ({"destination": "hook"}, [1, 2]),
            ({"destination": "hoo"}, []),
            ({"error": "503"}, [1, 2]),
            ({"error": "504"}, []),
            ({"rule": "rule"}, [1, 2]),
            ({"rule": "rule", "action": "webhook"}, [1, 2]),
            ({"action": "disk"}, []),
            ({"rule": "other"}, []),
            ({"limit": 1}, [1]),
        ],
    )
    async def test_jobs_are_selected_by_every_field(self, spool, query, found):
        await self.dead(spool, 1)
        await self.dead(spool, 2)
        assert [job.message_id for job in await spool.jobs(JobQuery(**query))] == [identity(each) for each in found]

    async def test_jobs_are_selected_by_their_ids(self, spool):
        first, second = await self.dead(spool, 1), await self.dead(spool, 2)
        assert [job.id for job in await spool.jobs(JobQuery(ids=(second, 77, first)))] == [first, second]

    async def test_re_evaluation_raises_the_evaluation_and_queues_a_walk(self, spool):
        await finished(spool)
        new = await spool.re_evaluate(identity(1), "book-2", NOON + DAY)
        assert (new.kind, new.evaluation, new.key) == (JobKind.WALK, 1, f"{identity(1)}/1")
        message = await spool.message(identity(1))
        assert (message.state, message.evaluation, message.rule_book) == (MessageState.ACTIVE, 1, "book-2")
        (job,) = await spool.claim(NOON + DAY, 5)
        assert (job.evaluation, job.key, job.attempts) == (1, new.key, 1)

    async def test_a_message_without_its_body_cannot_be_evaluated_again(self, spool):
        await finished(spool, keep_body=False)
        with pytest.raises(NotFound):
            await spool.re_evaluate(identity(1), "book-2", NOON)


def refused(number, at, **changes):
    values = {"phase": "rcpt", "outcome": "refused", "reply": "550 5.7.1 no", "by": "block-list", "size": 0}
    return row(number, at, **{**values, "id": f"s{number}-1", "subject": "", **changes})


class TestFind:
    async def fill(self, spool):
        await spool.log(refused(1, NOON, mail_from=None, rcpt_to=(), phase="mail", client_ip="203.0.113.9"))
        job = await spool.accept(accepted(2, NOON + timedelta(seconds=1)))
        kept = ledger(message_id=job.message_id, action="disk")
        await finish(spool, job, ledger=(kept,))
        at = NOON + timedelta(seconds=2)
        job = await spool.accept(
            accepted(
                3,
                at,
                history=row(
                    3,
                    at,
                    subject="\u00c4rger 50%_off",
                    rcpt_to=("Zoe@ours.example",),
                    detail="unscanned: spam scan failed: down",
                ),
            )
        )
        dead = ledger(message_id=job.message_id, action="webhook", result=Result.DEAD)
        await finish(spool, job, MessageState.DEAD, ledger=(dead,))
        await spool.log(
            refused(4, NOON + timedelta(seconds=3), outcome="deferred", helo="x", detail="virus: unscanned: no")
        )

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, [4, 3, 2, 1]),
            ({"limit": 2}, [4, 3]),
            ({"mail_from": "ANN@"}, [4, 3, 2]),
            ({"rcpt_to": "carol"}, [4, 2]),
            ({"rcpt_to": "zoe@OURS"}, [3]),
            ({"ip": "203.0.113"}, [1]),
            ({"subject": "hell"}, [2]),
            ({"subject": "\u00e4RGER"}, [3]),
            ({"subject": "50%_"}, [3]),
            ({"subject": "%"}, [3]),
            ({"subject": "e%r"}, []),
            ({"since": NOON + timedelta(seconds=2)}, [4, 3]),
            ({"until": NOON + timedelta(seconds=2)}, [2, 1]),
            ({"since": NOON, "until": NOON + timedelta(seconds=1)}, [1]),
            ({"outcome": "refused"}, [1]),
            ({"outcome": "deferred"}, [4]),
            ({"outcome": "accepted"}, [3, 2]),
            ({"outcome": "aborted"}, []),
            ({"outcome": "stored"}, [2]),
            ({"outcome": "failed"}, [3]),
            ({"outcome": "dead"}, [3]),
            ({"outcome": "done"}, [2]),
            ({"outcome": "bounced"}, []),
            ({"outcome": "unscanned"}, [3]),
            ({"outcome": "done", "mail_from": "nobody"}, []),
        ],
    )
    async def test_filters(self, spool, query, found):
        await self.fill(spool)
        numbers = {"s1-1": 1, "s4-1": 4, identity(2, NOON + timedelta(seconds=1)): 2}
        hits = await spool.find(HistoryQuery(**query))
        assert [numbers.get(hit.id, 3) for hit, _ in hits] == found

    async def test_a_row_comes_back_whole_with_its_messages_state(self, spool):
        logged = refused(1, NOON, mail_from=None, rcpt_to=(), detail="because")
        await spool.log(logged)
        await spool.accept(accepted(2, NOON + DAY))
        assert await spool.find(HistoryQuery()) == [(row(2, NOON + DAY), MessageState.ACTIVE), (logged, None)]

    async def test_rows_of_one_moment_stand_latest_first(self, spool):
        for number in (1, 2, 3):
            await spool.log(refused(number, NOON))
        assert [hit.id for hit, _ in await spool.find(HistoryQuery())] == ["s3-1", "s2-1", "s1-1"]

    async def test_the_first_row_under_an_id_stands(self, spool):
        await spool.accept(accepted())
        await spool.log(row(1, reply="other"))
        ((hit, state),) = await spool.find(HistoryQuery())
        assert (hit.reply, state) == ("250 2.0.0 kept", MessageState.ACTIVE)

    async def test_a_word_that_is_no_outcome_is_malformed(self, spool):
        with pytest.raises(Malformed, match="no outcome is called happy"):
            await spool.find(HistoryQuery(outcome="happy"))

    @pytest.mark.parametrize("word", history.OUTCOMES)
    async def test_every_word_can_be_asked_for(self, spool, word):
        await self.fill(spool)
        await spool.find(HistoryQuery(outcome=word))

    @given(
        st.lists(st.text(alphabet="aA\u00e4\u00c4%_ \u0130s\u00df\\", max_size=6), max_size=5),
        st.text(alphabet="aA\u00e4\u00c4%_\u0130s", max_size=3),
    )
    def test_the_statement_means_what_matches_says(self, subjects, term):
        connection = sqlite3.connect(":memory:")
        schema.SHARD.bring_up(connection)
        rows = [refused(number, NOON, subject=subject) for number, subject in enumerate(subjects)]
        for each in rows:
            history.log(connection, each)
        query = HistoryQuery(subject=term)
        expected = [each for each in reversed(rows) if history.matches(query, each, None, ())]
        assert [hit for hit, _ in history.find(connection, query)] == expected
        connection.close()


class TestSweep:
    KEEP = Retention(full_seconds=10, headers_seconds=100, metadata_seconds=1000, cap_octets=None)

    async def look(self, spool, number=1):
        try:
            message = await spool.message(identity(number))
        except NotFound:
            return None
        return message.has_body, message.header is not None

    @pytest.mark.parametrize(
        ("age", "left"), [(10, (True, True)), (11, (False, True)), (101, (False, False)), (1001, None)]
    )
    async def test_body_header_and_the_rest_go_in_their_time(self, spool, age, left):
        await finished(spool)
        await spool.record(Recorded(message_id=identity(1), ledger=(ledger(),)))
        await spool.log(refused(2, NOON))
        await spool.sweep(NOON + timedelta(seconds=age), self.KEEP)
        assert await self.look(spool) == left
        assert len(await spool.find(HistoryQuery())) == (0 if left is None else 2)
        assert len(await spool.ledger(identity(1))) == (0 if left is None else 1)

    async def test_it_says_what_it_deleted(self, spool):
        await finished(spool, 1)
        await finished(spool, 2, raw=HEADER + b"x" * 200_000)
        await spool.log(refused(3, NOON))
        counts = []
        for age in (0, 11, 101, 1001):
            swept = await spool.sweep(NOON + timedelta(seconds=age), self.KEEP)
            counts.append((swept.bodies, swept.headers, swept.messages))
        assert counts == [(0, 0, 0), (2, 0, 0), (0, 2, 0), (0, 0, 2)]

    @pytest.mark.parametrize("octets", [len(RAW), 200_000])
    async def test_the_body_that_is_gone_is_not_found(self, spool, octets):
        await finished(spool, raw=HEADER + b"x" * (octets - len(HEADER)))
        await spool.sweep(NOON + timedelta(seconds=11), self.KEEP)
        with pytest.raises(NotFound, match="gone"):
            await spool.body(identity(1))

    @pytest.mark.parametrize("state", ["active", "retrying", "dead", "unhandled", "suppressed", "parked"], ids=str)
    async def test_a_message_somebody_may_still_ask_for_loses_nothing(self, spool, state):
        await finished(spool, state=MessageState(state))
        await spool.sweep(
            NOON + 10_000 * DAY, Retention(full_seconds=0, headers_seconds=0, metadata_seconds=0, cap_octets=0)
        )
        assert await self.look(spool) == (True, True)
        assert (await spool.message(identity(1))).answers == {"d1": ("v=spf1 -all",), "d2": ()}

    @pytest.mark.parametrize("state", [JobState.READY, JobState.DEAD, JobState.PARKED, None], ids=str)
    async def test_a_message_with_a_job_left_loses_nothing(self, spool, state):
        job = await spool.accept(accepted(state=MessageState.REJECTED))
        if state is not None:
            await spool.record(Recorded(message_id=job.message_id, job=JobChange(id=job.id, state=state)))
        await spool.sweep(NOON + 10_000 * DAY, self.KEEP)
        assert await self.look(spool) == (True, True)

    async def test_a_header_does_not_go_before_its_body(self, spool):
        await finished(spool)
        short = Retention(full_seconds=100, headers_seconds=5, metadata_seconds=5, cap_octets=None)
        await spool.sweep(NOON + timedelta(seconds=50), short)
        assert await spool.body(identity(1)) == RAW

    async def test_above_the_cap_the_oldest_finished_bodies_go_first(self, spool):
        for number in range(1, 5):
            await finished(spool, number, NOON + timedelta(seconds=number))
        cap = Retention(cap_octets=2 * len(RAW))
        swept = await spool.sweep(NOON + DAY / 2, cap)
        assert swept.bodies == 2
        assert not spool.load().cap_reached
        left = [(await spool.message(identity(each, NOON + timedelta(seconds=each)))).has_body for each in range(1, 5)]
        assert left == [False, False, True, True]

    async def test_bodies_that_may_not_go_fill_the_cap(self, spool):
        await finished(spool, 1, state=MessageState.UNHANDLED)
        await spool.sweep(NOON + DAY, Retention(cap_octets=len(RAW) - 1))
        assert spool.load().cap_reached
        await spool.record(Recorded(message_id=identity(1), state=MessageState.DONE))
        await spool.sweep(NOON + DAY, Retention(cap_octets=len(RAW) - 1))
        assert not spool.load().cap_reached

    async def test_answers_still_in_use_outlive_the_messages_that_brought_them(self, spool):
        await finished(spool, 1)
        later = NOON + 2 * DAY
        await finished(spool, 2, later)
        await spool.sweep(NOON + DAY, self.KEEP)
        assert (await spool.message(identity(2, later))).answers["d1"] == ("v=spf1 -all",)
        await spool.sweep(later + DAY, self.KEEP)
        await finished(spool, 3, NOON + 9 * DAY)
        await spool.sweep(NOON + 9 * DAY, self.KEEP)
        assert (await spool.message(identity(3, NOON + 9 * DAY))).answers["d1"] == ("v=spf1 -all",)


class TestLoad:
    async def test_ready_jobs_that_have_failed_before_do_not_count(self, spool):
        job = await spool.accept(accepted())
        assert (spool.load().ready_jobs, spool.load().leased_jobs) == (0, 1)
        await finish(spool, job, new_jobs=(step_job(index=0), step_job(index=1, last="503")))
        assert (spool.load().ready_jobs, spool.load().leased_jobs) == (1, 0)
        first, second = await spool.claim(NOON, 5)
        assert (spool.load().ready_jobs, spool.load().leased_jobs) == (0, 2)
        await spool.record(Recorded(message_id=job.message_id, job=JobChange(id=first.id, state=JobState.READY)))
        await spool.record(
            Recorded(message_id=job.message_id, job=JobChange(id=second.id, state=JobState.READY, last="504"))
        )
        assert (spool.load().ready_jobs, spool.load().leased_jobs) == (1, 0)
        await spool.change_jobs([first.id], JobState.PARKED, NOON)
        assert spool.load().ready_jobs == 0
        await spool.change_jobs([first.id], JobState.READY, NOON)
        await spool.re_evaluate(identity(1), "book", NOON)
        assert spool.load().ready_jobs == 2

    async def test_a_lease_whose_next_attempt_is_put_down_is_still_one(self, spool):
        job = await spool.accept(accepted())
        later = JobChange(id=job.id, state=JobState.LEASED, not_before=NOON + DAY)
        await spool.record(Recorded(message_id=job.message_id, job=later))
        assert spool.load().leased_jobs == 1

    async def test_it_tells_the_room_that_is_left(self, spool):
        load = spool.load()
        assert 0 < load.free_octets <= load.total_octets
        assert (load.queued_units, load.queued_octets, load.oldest_wait_seconds) == (0, 0, 0.0)


async def test_the_twin_has_a_disk_that_can_be_full():
    spool = MemorySpool(room_octets=len(RAW))
    await spool.accept(accepted(1))
    with pytest.raises(Full):
        await spool.accept(accepted(2))
    with pytest.raises(NotFound):
        await spool.message(identity(2))
