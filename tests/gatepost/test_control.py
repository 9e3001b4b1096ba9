"""An operator's word on jobs: the same doing behind the socket and under the locks."""

import asyncio
from datetime import timedelta

import pytest
from stored_mail import T0, Mail, fill

from gatepost.control import RULE_BOOKS, SOCKET, Request, apply, request_change
from mail.errors import Malformed
from mail.outcome import Result
from spool.control import open_control, serve_control
from spool.database import open_spool
from spool.memory import MemorySpool
from spool.ports import JobKind, JobQuery, JobState, Locked, MessageState, NotFound
from spool.reader import open_reader
from spool.rule_sets import open_rule_books

NOW = T0 + timedelta(days=1)
STEPS = (("support", "webhook", Result.DEAD, "HTTP 503"),)
DEAD = Mail(number=1, state=MessageState.DEAD, left=JobState.DEAD, steps=STEPS)
PARKED = Mail(number=2, state=MessageState.PARKED, left=JobState.PARKED, steps=STEPS)
UNHANDLED = Mail(number=3, state=MessageState.UNHANDLED)
BOOK = "cd" * 32


@pytest.fixture
def state(tmp_path):
    return fill(tmp_path, DEAD, PARKED, UNHANDLED)


def jobs(state, **query):
    return asyncio.run(open_reader(state).jobs(JobQuery(**query)))


def job_of(state, mail):
    [job] = jobs(state, message_id=mail.id)
    return job


def change(state, operation, *, jobs=(), messages=()):
    return asyncio.run(request_change(state, Request(operation=operation, jobs=jobs, messages=messages), NOW))


def test_a_dead_job_is_retried_now_with_fresh_hours(state):
    answer = change(state, "retry", jobs=(job_of(state, DEAD).id,))
    assert (answer.changed, answer.skipped) == (1, ())
    job = job_of(state, DEAD)
    assert (job.state, job.not_before) == (JobState.READY, NOW)
    assert job.expires_at == NOW + timedelta(hours=4)


@pytest.mark.parametrize(
    ("operation", "mail", "why"),
    [
        ("retry", PARKED, "is parked: release it"),
        ("release", DEAD, "is dead: retry it"),
        ("park", PARKED, "is parked: release it"),
    ],
)
def test_a_job_that_an_operation_is_not_for_stays_as_it_is(state, operation, mail, why):
    before = job_of(state, mail)
    answer = change(state, operation, jobs=(before.id,))
    assert (answer.changed, [each.why for each in answer.skipped]) == (0, [why])
    assert job_of(state, mail) == before


def test_release_park_and_cancel_do_what_they_say(state):
    job = job_of(state, PARKED).id
    assert change(state, "release", jobs=(job,)).changed == 1
    assert job_of(state, PARKED).state is JobState.READY
    assert change(state, "park", jobs=(job,)).changed == 1
    assert job_of(state, PARKED).state is JobState.PARKED
    assert change(state, "cancel", jobs=(job,)).changed == 1
    assert jobs(state, message_id=PARKED.id) == []


def test_a_job_that_is_gone_is_told(state):
    answer = change(state, "cancel", jobs=(9999, job_of(state, DEAD).id))
    assert answer.changed == 1
    assert [each.id for each in answer.skipped] == [9999]


def test_a_message_is_walked_anew_under_the_active_rule_book_and_its_old_jobs_go(state):
    activate(state)
    answer = change(state, "re_evaluate", messages=(DEAD.id, UNHANDLED.id, Mail(number=9).id, "junk"))
    assert (answer.changed, answer.rule_book) == (2, BOOK)
    assert [each.id for each in answer.skipped] == [Mail(number=9).id, "junk"]
    for mail in (DEAD, UNHANDLED):
        job = job_of(state, mail)
        assert (job.kind, job.evaluation, job.state) == (JobKind.WALK, 1, JobState.READY)
        message = asyncio.run(open_reader(state).message(mail.id))
        assert (message.state, message.rule_book) == (MessageState.ACTIVE, BOOK)


def activate(state):
    books = open_rule_books(state / RULE_BOOKS)
    books.put(BOOK, b"{}", "rules.yaml", T0)
    books.activate(BOOK, pinned=False)
    books.close()


def test_without_an_active_rule_book_nothing_is_walked_anew(state):
    before = job_of(state, DEAD)
    with pytest.raises(NotFound, match="no rule set is active"):
        change(state, "re_evaluate", messages=(DEAD.id,))
    assert job_of(state, DEAD) == before


async def test_a_job_that_is_being_worked_on_is_left_alone(tmp_path):
    spools = {0: MemorySpool()}
    await fill_memory(spools[0])
    [job] = await spools[0].jobs(JobQuery())
    for request in (
        {"operation": "cancel", "jobs": [job.id]},
        {"operation": "re_evaluate", "messages": [job.message_id]},
    ):
        answer = await apply(spools, request, now=NOW, active=lambda: BOOK)
        assert answer["changed"] == 0
        assert answer["skipped"][0]["why"] == "is being worked on"
    assert await spools[0].jobs(JobQuery()) == [job]


async def fill_memory(spool):
    from stored_mail import accepted  # noqa: PLC0415

    await spool.accept(accepted(Mail(number=1)))


@pytest.mark.parametrize(
    "request_",
    [{}, {"operation": "drop_everything"}, {"operation": "retry", "jobs": ["x"]}, {"operation": "retry", "jobs": 7}],
)
async def test_what_is_no_request_is_refused(request_):
    with pytest.raises(Malformed, match="not a request"):
        await apply({}, request_, now=NOW, active=lambda: None)


async def test_a_running_server_does_it_through_its_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = await asyncio.to_thread(fill, tmp_path / "v", DEAD)
    spool = open_spool(state, 0)

    async def handler(request):
        return await apply({0: spool}, request, now=NOW, active=lambda: BOOK)

    server = await serve_control(open_control(state / SOCKET), handler)
    try:
        [job] = await spool.jobs(JobQuery())
        answer = await request_change(state, Request(operation="retry", jobs=(job.id,)), NOW)
        assert answer.changed == 1
        with pytest.raises(Malformed):
            await request_change(state, Request(operation="nonsense", jobs=(job.id,)), NOW)
    finally:
        server.close()
        await server.wait_closed()
    # The server has gone and its socket's file too, yet the shard is still held: by whoever is starting or stopping.
    with pytest.raises(Locked):
        await request_change(state, Request(operation="retry", jobs=(job.id,)), NOW)
    await spool.close()


def test_many_ids_go_in_requests_that_the_socket_takes(state):
    assert len(change(state, "cancel", jobs=tuple(range(10_000, 12_500))).skipped) == 2500
