"""Octets in flight: who waits, and that somebody always goes on."""

from hypothesis import given
from hypothesis import strategies as st

from smtp.budget import Budget


class Holder:
    def __init__(self) -> None:
        self.weight = 0
        self.is_waiting = False

    def lighten(self) -> None:
        self.is_waiting = False


def weigh(budget: Budget, holder: Holder, octets: int) -> None:
    holder.is_waiting = budget.weigh(holder, octets)


def test_the_first_over_the_limit_goes_on_and_the_others_wait_for_it() -> None:
    budget = Budget(100)
    first, second, third = Holder(), Holder(), Holder()
    weigh(budget, first, 90)
    weigh(budget, second, 20)
    weigh(budget, third, 20)
    assert [holder.is_waiting for holder in (first, second, third)] == [False, False, True]
    weigh(budget, second, 0)
    assert not third.is_waiting
    assert budget.held == 110


def test_while_the_store_is_strained_one_reads_at_a_time() -> None:
    strained = True
    budget = Budget(100, lambda: strained)
    first, second, third = Holder(), Holder(), Holder()
    for holder in (first, second, third):
        weigh(budget, holder, 1)
    assert [holder.is_waiting for holder in (first, second, third)] == [False, True, True]
    weigh(budget, first, 0)
    assert [holder.is_waiting for holder in (second, third)] == [False, True]
    strained = False
    weigh(budget, second, 0)
    assert not third.is_waiting


def test_who_holds_less_makes_room_for_others_and_waits_no_longer_itself() -> None:
    budget = Budget(100)
    leader, silent, waiting = Holder(), Holder(), Holder()
    weigh(budget, silent, 90)
    weigh(budget, leader, 20)
    weigh(budget, waiting, 10)
    weigh(budget, silent, 90)
    assert [holder.is_waiting for holder in (leader, silent, waiting)] == [False, True, True]
    weigh(budget, silent, 5)
    assert [holder.is_waiting for holder in (leader, silent, waiting)] == [False, False, False]
    assert budget.waiting == 0


def test_a_strain_that_ends_by_itself_is_seen_by_who_looks() -> None:
    strained = True
    budget = Budget(100, lambda: strained)
    leader, waiting = Holder(), Holder()
    weigh(budget, leader, 1)
    weigh(budget, waiting, 1)
    budget.let_go()
    assert waiting.is_waiting
    strained = False
    budget.let_go()
    assert not waiting.is_waiting


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 120)), max_size=60))
def test_not_all_wait_and_when_all_are_done_nothing_is_held(changes: list[tuple[int, int]]) -> None:
    budget = Budget(100)
    holders = [Holder() for _ in range(6)]
    for number, octets in changes:
        if not holders[number].is_waiting or octets == 0:
            weigh(budget, holders[number], octets)
        assert budget.held == sum(holder.weight for holder in holders)
        holding = [holder for holder in holders if holder.weight]
        assert not holding or not all(holder.is_waiting for holder in holding)
    for holder in holders:
        weigh(budget, holder, 0)
    assert budget.held == 0
    assert not any(holder.is_waiting for holder in holders)
