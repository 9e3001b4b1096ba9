"""Counts by name and labels: exact, in Prometheus's form, and bounded whatever the labels are."""

from mail.counters import LEFT_OUT, MOST_SAMPLES, Counters, Histogram, key


def test_counts_add_up_by_name_and_labels_in_any_order() -> None:
    counters = Counters()
    counters.add("limited", limit="ip", reply="421")
    counters.add("limited", 2, reply="421", limit="ip")
    counters.cell(key("limited", reply="421", limit="errors")).value += 1
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


def test_buckets_are_cumulative_and_a_bound_belongs_to_its_own() -> None:
    histogram = Histogram((0.5, 1.0))
    for value in (0.25, 0.5, 0.75, 4.0):
        histogram.observe(value)
    assert dict(histogram.samples("wait_seconds")) == {
        key("wait_seconds_bucket", le="0.5"): 2,
        key("wait_seconds_bucket", le="1"): 3,
        key("wait_seconds_bucket", le="+Inf"): 4,
        key("wait_seconds_sum"): 5.5,
        key("wait_seconds_count"): 4,
    }


def test_a_histogram_of_one_name_is_one() -> None:
    counters = Counters()
    counters.histogram("accept_seconds").observe(0.002)
    counters.histogram("accept_seconds").observe(0.002)
    assert counters.snapshot()[key("accept_seconds_count")] == 2


def test_labels_without_end_cost_memory_only_up_to_a_bound() -> None:
    counters = Counters()
    for number in range(MOST_SAMPLES + 10):
        counters.add("rule_matches_total", rule=f"rule {number}")
    counters.add("rule_matches_total", rule="rule 0")
    counters.add("messages_total", outcome="accepted")
    samples = counters.snapshot()
    assert len(samples) == MOST_SAMPLES + 2
    assert samples[key("messages_total", outcome="accepted")] == 1, "one name leaves room for the others"
    assert samples[LEFT_OUT] == 10
    assert samples[key("rule_matches_total", rule="rule 0")] == 2
