"""Every shard has one holder, and what an operator asks reaches it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.control import NO_JOB, NO_MESSAGE, Answer, Request, Skipped
from gatepost.shards import deal, holders, merged, split
from mail.ids import message_id

IDS = [message_id(datetime(2026, 5, 4, tzinfo=UTC), shard, bytes(17)) for shard in range(4)]


def job(shard: int, number: int = 1) -> int:
    return number << 8 | shard


@given(existing=st.sets(st.integers(0, 254)), workers=st.integers(1, 64))
def test_every_shard_has_one_holder_and_every_worker_its_own_first(existing, workers):
    shares = deal(existing, workers)
    dealt = [shard for share in shares for shard in share.shards]
    assert sorted(dealt) == sorted(existing | set(range(workers)))
    assert [share.shards[0] for share in shares] == list(range(workers))
    assert [share.is_first for share in shares] == [True] + [False] * (workers - 1)
    sizes = [len(share.shards) for share in shares]
    if existing == set(range(max(existing, default=0) + 1)):
        assert max(sizes) - min(sizes) <= 1


def test_fewer_workers_take_the_shards_of_those_that_are_gone():
    assert [share.shards for share in deal({0, 1, 2}, 1)] == [(0, 1, 2)]
    assert [share.shards for share in deal({0, 1, 2, 5}, 2)] == [(0, 2), (1, 5)]


def test_ids_go_to_the_worker_that_holds_their_shard():
    holder_of = holders(deal({0, 1, 2, 3}, 2))
    asked = Request(operation="retry", jobs=(job(0), job(3), job(2), job(1)))
    parts = split(asked, holder_of)
    assert {worker: part.jobs for worker, part in parts.items()} == {0: (job(0), job(2)), 1: (job(3), job(1))}
    walked = split(Request(operation="re_evaluate", messages=tuple(IDS)), holder_of)
    assert {worker: part.messages for worker, part in walked.items()} == {0: (IDS[0], IDS[2]), 1: (IDS[1], IDS[3])}


@pytest.mark.parametrize("odd", [job(200), -5, 0], ids=["a shard that is not there", "negative", "zero"])
def test_an_id_of_nowhere_goes_to_one_worker_that_says_so(odd):
    assert list(split(Request(operation="park", jobs=(odd,)), holders(deal((), 2)))) == [0]


def test_words_that_are_no_ids_go_to_one_worker():
    assert list(split(Request(operation="re_evaluate", messages=("nonsense",)), holders(deal((), 2)))) == [0]


def test_what_only_a_look_everywhere_can_find_is_asked_of_all():
    request = Request(operation="erase", messages=("0123456789abcdef.1",))
    assert split(request, holders(deal((), 3))) == dict.fromkeys((0, 1, 2), request)


def test_answers_add_up_in_the_order_of_the_question():
    asked = Request(operation="retry", jobs=(job(1), job(0), job(0, 2)))
    answers = [
        Answer(changed=1, skipped=(Skipped(id=job(0), why=NO_JOB),)),
        Answer(changed=2, skipped=(Skipped(id=job(1), why="is parked: release it"),), rule_book="abc"),
    ]
    answer = merged(asked, answers)
    assert (answer.changed, answer.rule_book) == (3, "abc")
    assert [skip.id for skip in answer.skipped] == [job(1), job(0)]


def test_one_that_has_a_message_speaks_for_those_that_have_not():
    asked = Request(operation="erase", messages=("a", "b", "c"))

    def missing(*names: str) -> tuple[Skipped, ...]:
        return tuple(Skipped(id=name, why=NO_MESSAGE) for name in names)

    busy = Skipped(id="b", why="is being worked on")
    answer = merged(asked, [Answer(changed=1, skipped=(busy, *missing("c"))), Answer(skipped=missing("a", "b", "c"))])
    assert answer.changed == 1
    assert answer.skipped == (busy, *missing("c"))


def test_shards_that_were_not_scrubbed_are_all_named():
    asked = Request(operation="scrub")
    read = [Skipped(id=f"shard 0{number}", why="is being read") for number in (0, 1)]
    assert merged(asked, [Answer(skipped=(each,)) for each in read]).skipped == tuple(read)
