"""From lines of results to medians, tables, plots and a judgement on each goal; and what a round consists of."""

from __future__ import annotations

import argparse
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench import beside, growth
from bench.figures import calm, judged, median, plot, plot_name, read, report, runs_of, summary, table
from bench.reach import NAMES, OURS, ROWS, Goal, Row
from bench.turns import Turn, ours, own_figures

ACCEPT = next(row for row in ROWS if row.key == "accept-4k:10:20")


def run(
    peer: str, rate: float, cost: float, mode: str = "accept", load: str = "4k:10:20", **more: Any
) -> dict[str, Any]:
    figures = {"msg_per_s": rate, "cpu_ms": cost, "p50_ms": 1.0, "p99_ms": 2.0, "peak_mb": 3.0}
    return {"kind": "run", "peer": peer, "mode": mode, "load": load, **figures, **more}


RUNS = [
    run(OURS, 4000, 0.2),
    run(OURS, 5000, 0.3),
    run(OURS, 4500, 0.4),
    run("exim", 1000, 0.7),
    run("exim", 1200, 0.8),
    run("postfix", 1500, 1.0, failed=2, rejected=1),
    run("opensmtpd", 9000, 0.1),
    run("exim", 1, 99, load="4k:10:1"),
    run("exim", 1, 99, mode="verify"),
    {"kind": "latency", "peer": OURS, "mode": "verify", "p50_ms": 1.5, "p99_ms": 3.0},
]


def test_a_row_takes_its_own_runs_alone() -> None:
    found = runs_of(ACCEPT, RUNS)
    assert list(found) == [OURS, "exim", "postfix", "opensmtpd"]
    assert [len(each) for each in found.values()] == [3, 2, 1, 1]


def test_a_figure_is_the_median_of_the_calm_runs() -> None:
    runs = [run(OURS, 1, 0.5, other_cpu=0.4), run(OURS, 1, 0.2, other_cpu=0.1), run(OURS, 1, 0.3)]
    assert median(runs, "cpu_ms") == pytest.approx(0.25)
    assert calm(runs[:1]) == runs[:1], "a disturbed run is better than none"


def test_a_goal_is_held_against_the_best_of_those_that_it_names() -> None:
    cpu, rate, never_syncs = judged(ACCEPT, RUNS)
    assert (cpu.ours, cpu.theirs, cpu.is_met) == (0.3, 0.75, True)  # 0.3 <= 0.75 / 2
    assert (rate.ours, rate.theirs, rate.is_met) == (4500, 1500, True)  # 4500 >= 2 * 1500
    assert (never_syncs.theirs, never_syncs.is_met) == (9000, False)


def test_a_goal_without_others_is_a_number_and_without_figures_nothing() -> None:
    row = Row("x", "x", "own", "own", "", ("large-1",), (Goal("value", 2, of="large-1"),))
    line = {"kind": "own", "mode": "own", "peer": "large-1", "value": 2.0}
    assert [each.is_met for each in judged(row, [line])] == [True]
    assert [each.is_met for each in judged(row, [{**line, "value": 2.1}])] == [False]
    assert [each.is_met for each in judged(row, [])] == [None]
    assert [each.is_met for each in judged(ACCEPT, RUNS[:3])] == [None] * 3, "nobody to be compared with"


def test_a_table_has_the_cheapest_first_and_says_what_failed() -> None:
    lines = table(ACCEPT, RUNS)
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "OpenSMTPD (never syncs)",
        "Gatepost",
        "Exim, queue only",
        "Postfix (3 messages failed)",
    ]
    assert "| 4,500 (4,000 to 5,000) | 0.30 (0.20 to 0.40) | 1.0 | 2.0 | 3 |" in lines[3]
    assert len({line.count("|") for line in lines}) == 1
    assert table(ACCEPT, []) == []


def test_the_summary_says_of_every_goal_that_was_measured_whether_it_is_met() -> None:
    lines = summary(RUNS)
    assert (
        "| accept only, 4k:10:20 | CPU a message at most 0.5 × the best that syncs | 0.30 | 0.75 | 0.40 | yes |"
        in lines
    )
    assert any(line.startswith("| verified, one message") and line.endswith("| not measured |") for line in lines)
    assert not any("mix" in line for line in lines)


@pytest.mark.parametrize("row", ROWS, ids=[row.key for row in ROWS])
def test_every_row_can_be_drawn_and_written_down(row: Row) -> None:
    blank = dict.fromkeys(("msg_per_s", "cpu_ms", "p50_ms", "p99_ms", "peak_mb", "value", "kb_per_conn"), 1.0)
    more = dict.fromkeys(("held", "lost", "conns", "kernel_kb_per_conn", "base_mb"), 2)
    records = [
        {"kind": row.kind, "peer": each, "mode": row.mode, "load": row.load, **blank, **more} for each in row.members
    ]
    drawing = ET.fromstring(plot(row, records))
    texts = [each.text for each in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert row.title in texts
    assert len(table(row, records)) == 2 + len(row.members)
    assert f"![{row.title}](plots/{plot_name(row)})" in report(records, "plots")
    assert all(goal.of in row.members and set(goal.against) <= set(row.members) for goal in row.goals)
    assert set(row.members) <= NAMES.keys()


def test_the_page_is_written_between_its_marks_again_and_again(tmp_path: Path) -> None:
    results, page = tmp_path / "r.jsonl", tmp_path / "page.md"
    lines = [{"kind": "machine", "text": "two cores"}, *RUNS]
    results.write_text("noise\n" + "".join(json.dumps(line) + "\n" for line in lines))
    assert read(results) == lines
    page.write_text(f"before\n\n{beside.BEGIN}old\n{beside.END}\nafter\n")
    asked = argparse.Namespace(page=page, plots=tmp_path / "plots")
    beside.write(asked, results)
    once = page.read_text()
    beside.write(asked, results)
    assert page.read_text() == once
    assert once.startswith("before")
    assert once.endswith("after\n")
    assert "two cores" in once
    assert "old" not in once
    assert {path.name for path in (tmp_path / "plots").iterdir()} >= {"accept-4k-10-20.svg"}
    page.write_text("no marks")
    with pytest.raises(SystemExit):
        beside.write(asked, results)


def test_a_round_has_a_turn_for_every_member_of_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "is_there", lambda _: True)
    monkeypatch.setattr(growth, "fill", lambda *_: None)
    asked = argparse.Namespace(
        rows=list(beside.GROUPS), loads="4k:10:20", against="", options="", quick=False, deferred=1
    )
    taken = list(beside.turns(asked, tmp_path))
    for row in ROWS:
        what = {"own": "own"}.get(row.kind, row.kind)
        peers = {turn.peer for turn in taken if turn.what == what and row.mode in ("", turn.mode)}
        if what != "own":
            assert peers >= set(row.members), row.key
    assert {turn.what for turn in taken} == {"run", "latency", "idle", "idle-own", "large"}
    asked.against = "exim"
    assert {turn.peer for turn in beside.turns(asked, tmp_path) if turn.mode == "accept"} == {OURS, "exim"}


def test_rules_of_growth_name_nobody_who_gets_the_mail_but_the_last(tmp_path: Path) -> None:
    rules = json.loads(growth.many_rules(100))["rule_sets"]["default"]
    assert len(rules) == 100
    assert "recipients" not in rules[-1]
    assert not any("user" in each for rule in rules[:-1] for each in rule["recipients"])
    assert len(json.loads(growth.many_recipients(1000))["rule_sets"]["default"][0]["recipients"]) == 1000


def test_our_command_carries_settings_as_variables() -> None:
    command = ours(Path("/r.json"), options="--workers 2", verdicts__checks="none")
    assert "GATEPOST_VERDICTS__CHECKS=none" in command
    assert command.endswith("--listen 127.0.0.1:{port} --data {dir}/var --rules /r.json --workers 2")


@pytest.mark.parametrize(
    ("turn", "printed", "figures"),
    [
        (
            Turn("large", "large-1"),
            "1 of 39 MB, 1 at once, in 0.4 s: grew by 11.4 MiB at most, 2.0 MiB",
            [("large-1", 11.4)],
        ),
        (Turn("large", "large-1"), "it failed", []),
        (
            Turn("idle-own", OURS),
            "2929 octets each over the empty server; 1999 of 2000 served",
            [("idle-own", 2929.0), ("idle-unserved", 1.0)],
        ),
    ],
)
def test_our_own_benchmarks_are_read_by_their_last_words(
    turn: Turn, printed: str, figures: list[tuple[str, float]]
) -> None:
    assert own_figures(turn, printed) == figures
