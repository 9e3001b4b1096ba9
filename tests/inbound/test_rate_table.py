"""Counts that workers share: each writes its own column, all judge by the sum."""

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inbound.rate_table import RateTable, create_rate_table

NOON = 1_795_000_000.0


@pytest.fixture
def table(tmp_path: Path) -> RateTable:
    return create_rate_table(tmp_path / "limits", workers=3, buckets=64)


def test_every_worker_judges_by_the_sum_of_all(table: RateTable) -> None:
    columns = [table.column(worker) for worker in range(3)]
    counted = [columns[turn % 3].add("ip 192.0.2.1", NOON, 60) for turn in range(6)]
    assert counted == [1, 2, 3, 4, 5, 6]
    assert columns[0].count("ip 192.0.2.1", NOON, 60) == 6
    assert columns[0].count("ip 192.0.2.2", NOON, 60) == 0


def test_a_new_window_counts_from_the_beginning(table: RateTable) -> None:
    column = table.column(0)
    assert column.add("a", NOON, 60) == 1
    assert column.add("a", NOON + 60, 60) == 1
    assert column.count("a", NOON, 60) == 1


def test_what_is_there_now_is_counted_until_it_leaves(table: RateTable) -> None:
    here, there = table.column(0), table.column(1)
    assert [here.enter("ip"), there.enter("ip"), here.enter("ip")] == [1, 2, 3]
    here.leave("ip")
    assert there.enter("ip") == 3
    for _ in range(9):
        here.leave("ip")  # more than came: nothing below none
    assert there.enter("ip") == 3


def test_the_column_of_a_dead_worker_is_zeroed_and_no_other(table: RateTable) -> None:
    here, dead = table.column(0), table.column(2)
    for _ in range(5):
        dead.enter("ip")
        dead.add("ip", NOON, 60)
    here.enter("ip")
    table.zero(2)
    assert here.enter("ip") == 2
    assert here.add("ip", NOON, 60) == 1


def test_more_keys_than_there_is_room_for_cost_the_smallest_counts(table: RateTable) -> None:
    column = table.column(0)
    assert [column.add("big", NOON, 60, 1000), column.enter("connected")] == [1000, 1]
    for number in range(5000):
        column.add(f"key {number}", NOON, 60)
    assert column.count("big", NOON, 60) == 1000
    assert column.enter("connected") == 2


def test_a_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    create_rate_table(tmp_path / "limits", workers=2, buckets=64)
    with pytest.raises(ValueError, match="not of this size"):
        RateTable(tmp_path / "limits", workers=3, buckets=64)
    (tmp_path / "other").write_bytes(bytes((tmp_path / "limits").stat().st_size))
    with pytest.raises(ValueError, match="not ours"):
        RateTable(tmp_path / "other", workers=2, buckets=64)


def test_the_file_is_for_its_owner_and_its_hash_is_secret(tmp_path: Path) -> None:
    one, other = (create_rate_table(tmp_path / name, workers=1, buckets=64) for name in ("one", "other"))
    assert (tmp_path / "one").stat().st_mode & 0o077 == 0
    one.column(0).add("a", NOON, 60)
    other.column(0).add("a", NOON, 60)
    assert (tmp_path / "one").read_bytes()[64:] != (tmp_path / "other").read_bytes()[64:]


def _count(path: Path, worker: int) -> None:
    column = RateTable(path, workers=2, buckets=64).column(worker)
    for _ in range(1000):
        column.add("shared", NOON, 60)


def test_two_processes_at_once_lose_no_count(tmp_path: Path) -> None:
    table = create_rate_table(tmp_path / "limits", workers=2, buckets=64)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(tmp_path / "limits", worker)) for worker in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert table.column(0).count("shared", NOON, 60) == 2000


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abcdef"), st.booleans()), max_size=80))
def test_presence_is_a_bag_of_keys(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, bool]]
) -> None:
    table = create_rate_table(tmp_path_factory.mktemp("limits") / "limits", workers=3, buckets=64)
    columns = [table.column(worker) for worker in range(3)]
    there: dict[tuple[int, str], int] = {}
    for worker, key, comes in steps:
        if comes:
            there[worker, key] = there.get((worker, key), 0) + 1
            expected = sum(count for (_, name), count in there.items() if name == key)
            assert columns[worker].enter(key) == expected
        else:
            there[worker, key] = max(0, there.get((worker, key), 0) - 1)
            columns[worker].leave(key)
