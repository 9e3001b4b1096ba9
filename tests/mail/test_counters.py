"""Counts by name and labels."""

from mail.counters import Counters


def test_counts_add_up_by_name_and_labels_in_any_order() -> None:
    counters = Counters()
    counters.add("limited", limit="ip", reply="421")
    counters.add("limited", 2, reply="421", limit="ip")
    counters.add("limited", limit="errors", reply="421")
    assert counters.value("limited", limit="ip", reply="421") == 3
    assert counters.value("limited") == 0
    assert counters.snapshot() == {
        ("limited", (("limit", "ip"), ("reply", "421"))): 3,
        ("limited", (("limit", "errors"), ("reply", "421"))): 1,
    }


def test_a_snapshot_does_not_change_afterwards() -> None:
    counters = Counters()
    before = counters.snapshot()
    counters.add("x")
    assert before == {}
