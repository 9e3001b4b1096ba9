"""From the lines that the runs left to tables, plots and a judgement on each goal. Pure.

A line is one run of one server. A figure is the median of its runs; runs that other work on the machine disturbed are left out
where calmer ones are left.
"""

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.bars import Bar, bars
from bench.reach import OURS, ROWS, Goal, Row, named

QUIET_CORES = 0.3  # what others may use during a run
Record = dict[str, Any]
_HEADS = {
    "run": ("messages a second (least to most)", "CPU ms a message (least to most)", "p50 ms", "p99 ms", "peak MB"),
    "latency": ("p50 ms (least to most)", "p99 ms (least to most)"),
    "idle": ("held", "KB a connection", "KB of kernel memory", "server alone, MB"),
    "own": ("figure (least to most)",),
}
_ORDER = {"run": "cpu_ms", "latency": "p50_ms", "idle": "kb_per_conn"}
_PANELS = {
    "run": (("cpu_ms", "CPU ms a message", "{:.2f}"), ("msg_per_s", "messages a second", "{:,.0f}")),
    "latency": (("p50_ms", "p50 ms", "{:.1f}"), ("p99_ms", "p99 ms", "{:.1f}")),
    "idle": (("kb_per_conn", "KB a connection", "{:,.1f}"),),
    "own": (("value", "", "{:,.1f}"),),
}


class Judged(NamedTuple):
    """`ours` and `theirs` are medians; `is_met` None where one of them was not measured."""

    goal: Goal
    ours: float | None
    theirs: float | None
    is_met: bool | None


def read(path: Path) -> list[Record]:
    """The lines of a file of results; what is no object is skipped."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def runs_of(row: Row, records: Iterable[Record]) -> dict[str, list[Record]]:
    """The runs of each member that was measured, in the row's order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        fits = (
            record["kind"] == row.kind and row.mode in ("", record.get("mode")) and row.load in ("", record.get("load"))
        )
        if fits and record.get("peer") in row.members:
            found.setdefault(record["peer"], []).append(record)
    return {member: found[member] for member in row.members if member in found}


def calm(runs: Sequence[Record]) -> Sequence[Record]:
    return [run for run in runs if run.get("other_cpu", 0) <= QUIET_CORES] or runs


def median(runs: Sequence[Record], measure: str) -> float:
    return float(statistics.median(run[measure] for run in calm(runs)))


def judged(row: Row, records: Iterable[Record]) -> list[Judged]:
    """Each goal of the row, held against what was measured."""
    return [_judged(goal, runs_of(row, records)) for goal in row.goals]


def _judged(goal: Goal, runs: dict[str, list[Record]]) -> Judged:
    ours = median(runs[goal.of], goal.measure) if goal.of in runs else None
    others = [median(runs[each], goal.measure) for each in goal.against if each in runs]
    theirs = (max(others) if goal.least else min(others)) if others else None
    if ours is None or (goal.against and theirs is None):
        return Judged(goal, ours, theirs, None)
    bound = goal.factor * (1 if theirs is None else theirs)
    return Judged(goal, ours, theirs, ours >= bound if goal.least else ours <= bound)


def table(row: Row, records: Iterable[Record]) -> list[str]:
    """A line for each member, cheapest first; a row of growth in its own order. [] where nothing was measured."""
    runs = runs_of(row, records)
    if not runs:
        return []
    members = list(runs)
    if row.kind in _ORDER and row.mode != "growth":
        members.sort(key=lambda member: median(runs[member], _ORDER[row.kind]))
    lines = [f"| server | {' | '.join(_HEADS[row.kind])} |", "| --- |" + " --- |" * len(_HEADS[row.kind])]
    return lines + [
        f"| {named(each, row.mode)}{_failed(runs[each])} | {' | '.join(_cells(row, runs[each]))} |" for each in members
    ]


def _failed(runs: Sequence[Record]) -> str:
    """What makes a figure worth less than it seems."""
    count = sum(run.get("failed", 0) + run.get("rejected", 0) for run in runs)
    return f" ({count} messages failed)" if count else ""


def _cells(row: Row, runs: Sequence[Record]) -> Iterator[str]:
    if row.kind == "run":
        yield _spread(runs, "msg_per_s", "{:,.0f}")
        yield _spread(runs, "cpu_ms", "{:.2f}")
        yield f"{median(runs, 'p50_ms'):.1f}"
        yield f"{median(runs, 'p99_ms'):.1f}"
        yield f"{median(runs, 'peak_mb'):.0f}"
    elif row.kind == "latency":
        yield _spread(runs, "p50_ms", "{:.2f}")
        yield _spread(runs, "p99_ms", "{:.2f}")
    elif row.kind == "idle":
        yield f"{median(runs, 'held') - median(runs, 'lost'):,.0f} of {median(runs, 'conns'):,.0f}"
        yield _spread(runs, "kb_per_conn", "{:,.1f}")
        yield f"{median(runs, 'kernel_kb_per_conn'):,.1f}"
        yield f"{median(runs, 'base_mb'):,.0f}"
    else:
        yield _spread(runs, "value", "{:,.1f}")


def _spread(runs: Sequence[Record], measure: str, form: str) -> str:
    values = [float(run[measure]) for run in calm(runs)]
    middle, least, most = (form.format(each) for each in (statistics.median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({least} to {most})"


def plot(row: Row, records: Iterable[Record]) -> str:
    """The drawing of a row that was measured."""
    runs = runs_of(row, records)
    panels = [
        (
            title,
            [
                Bar(named(each, row.mode), value := median(runs[each], measure), form.format(value), is_ours(each, row))
                for each in runs
            ],
        )
        for measure, title, form in _PANELS[row.kind]
    ]
    return bars(row.title, panels)


def is_ours(member: str, row: Row) -> bool:
    return member == OURS or OURS not in row.members


def summary(records: Sequence[Record]) -> list[str]:
    """Every goal with what came of it."""
    lines = ["| work | goal | Gatepost | best of the others | ratio | met |", "| --- | --- | --- | --- | --- | --- |"]
    for row in ROWS:
        for each in judged(row, records):
            if each.ours is None:
                continue
            theirs = "" if each.theirs is None else f"{each.theirs:,.2f}"
            ratio = "" if not each.theirs else f"{each.ours / each.theirs:.2f}"
            met = {True: "yes", False: "no", None: "not measured"}[each.is_met]
            lines.append(
                f"| {row.title} | {each.goal.text(row.mode)} | {each.ours:,.2f} | {theirs} | {ratio} | {met} |"
            )
    return lines


def report(records: Sequence[Record], plots: str = "") -> str:
    """All of it as Markdown, with the plots of a directory under it."""
    parts = [*_machine(records), "", *summary(records)]
    for row in ROWS:
        lines = table(row, records)
        if lines:
            shown = ["", f"![{row.title}]({plots}/{plot_name(row)})"] if plots else []
            parts += ["", f"### {row.title[0].upper()}{row.title[1:]}", "", *lines, *shown]
    return "\n".join(parts) + "\n"


def _machine(records: Sequence[Record]) -> list[str]:
    for record in reversed(records):
        if record["kind"] == "machine":
            return [record["text"]]
    return []


def plot_name(row: Row) -> str:
    return row.key.replace(":", "-") + ".svg"
