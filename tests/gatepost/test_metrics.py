"""Samples of several workers become one text that Prometheus reads."""

import re

from gatepost.metrics import by_label, family_of, merged, rendered, total
from gatepost.metrics_table import BY_NAME, FAMILIES
from mail.counters import Counters, key

LINE = re.compile(r'gatepost_[a-z_]+(\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? \S+\Z')


def test_counts_add_up_and_gauges_do_what_the_table_says() -> None:
    first = {
        key("messages_total", outcome="accepted"): 3,
        key("disk_free_bytes"): 10,
        key("rules_pinned"): 0,
        key("accept_seconds_bucket", le="0.5"): 1,
    }
    second = {
        key("messages_total", outcome="accepted"): 4,
        key("messages_total", outcome="refused"): 1,
        key("disk_free_bytes"): 7,
        key("rules_pinned"): 1,
        key("accept_seconds_bucket", le="0.5"): 2,
    }
    assert merged([first, second]) == {
        key("messages_total", outcome="accepted"): 7,
        key("messages_total", outcome="refused"): 1,
        key("disk_free_bytes"): 7,
        key("rules_pinned"): 1,
        key("accept_seconds_bucket", le="0.5"): 3,
    }


def test_merging_does_not_depend_on_the_order_of_the_workers() -> None:
    parts = [{key("jobs", state="dead"): 2, key("connections"): number} for number in (1, 5, 3)]
    assert merged(parts) == merged(parts[::-1]) == {key("jobs", state="dead"): 2, key("connections"): 9}


def test_the_text_has_help_type_and_samples_of_each_family_in_the_order_of_the_table() -> None:
    text = rendered({key("connections"): 2, key("messages_total", outcome="accepted"): 7.0})
    assert text == (
        "# HELP gatepost_messages_total Mail transactions that ended: accepted, refused, deferred or aborted\n"
        "# TYPE gatepost_messages_total counter\n"
        'gatepost_messages_total{outcome="accepted"} 7\n'
        "# HELP gatepost_connections Connections that are open\n"
        "# TYPE gatepost_connections gauge\n"
        "gatepost_connections 2\n"
    )


def test_a_histogram_ends_with_its_largest_bucket_then_sum_and_count() -> None:
    counters = Counters()
    counters.histogram("spool_commit_seconds").observe(0.02)
    lines = rendered(counters.snapshot()).splitlines()
    bounds = re.findall(r'le="([^"]+)"', "\n".join(lines))
    assert bounds[-1] == "+Inf"
    assert [float(bound) for bound in bounds] == sorted(float(bound) for bound in bounds)
    assert lines[1] == "# TYPE gatepost_spool_commit_seconds histogram"
    assert lines[-3:] == [
        'gatepost_spool_commit_seconds_bucket{le="+Inf"} 1',
        "gatepost_spool_commit_seconds_sum 0.02",
        "gatepost_spool_commit_seconds_count 1",
    ]


def test_a_name_from_the_rules_cannot_end_its_line_or_begin_a_sample() -> None:
    rule = 'a"} 1\ngatepost_ready 1\\'
    text = rendered({key("rule_matches_total", rule=rule): 1})
    sample = text.splitlines()[2:]
    assert len(sample) == 1
    assert LINE.match(sample[0])
    assert r"a\"} 1\ngatepost_ready 1\\" in sample[0]


def test_a_sample_without_a_row_in_the_table_is_left_out() -> None:
    assert rendered({key("no_such_metric"): 1}) == ""
    assert family_of("messages_total_bucket") is None, "only a histogram has buckets"


def test_every_family_is_named_as_prometheus_asks() -> None:
    assert len(BY_NAME) == len(FAMILIES), "no name twice"
    for family in FAMILIES:
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", family.name)
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        assert list(family.labels) == sorted(family.labels), "samples carry them in this order"
        assert not re.search(r"octets|milliseconds|_ms\b", family.name), "base units are seconds and bytes"


def test_values_are_added_up_by_one_label() -> None:
    samples = {
        key("refusals_total", phase="rcpt", reply="550 5.1.1"): 2.0,
        key("refusals_total", phase="rcpt", reply="550 5.7.1"): 3.0,
        key("refusals_total", phase="mail", reply="452 4.3.1"): 1.0,
    }
    assert by_label(samples, "refusals_total", "phase") == {"mail": 1, "rcpt": 5}
    assert total(samples, "refusals_total") == 6
    assert total(samples, "connections") == 0
