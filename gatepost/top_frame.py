"""One frame of `gatepost top`: two surveys, and what happened between them. Pure.

*Trust.* Names come from rules and replies: they are made visible and cut to their column.
"""

from collections.abc import Iterable, Mapping, Sequence

import click

from gatepost.alert_conditions import Condition
from gatepost.cli.layout import bold, columns_of, faint, padded, shortened, size_text, span_text, visible
from gatepost.metrics import by_label, total
from gatepost.observation import Observation
from gatepost.survey import Survey
from mail.counters import Key, key

_OUTCOMES = ("accepted", "refused", "deferred", "aborted")
_BAD = ("dead", "parked", "unhandled")
_MOST_ROWS = 5
_LABEL = 10
_CELL = 11


def frame(before: Survey, after: Survey, wrong: Sequence[Condition], *, columns: int = 80) -> str:
    """Lines of at most so many columns, without a final line break."""
    seconds = max(0.001, (after.at - before.at).total_seconds())
    # A gateway that was started again counts anew.
    rates = {name: max(0.0, value - before.samples.get(name, 0)) for name, value in after.samples.items()}
    blocks = [
        _head(after, columns),
        _mail(rates, after, seconds),
        _pace(rates, after),
        _waiting(after),
        _wrong(wrong, columns),
        _workers(before, after, seconds),
        _busiest(rates, seconds, columns),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _head(survey: Survey, columns: int) -> list[str]:
    state = click.style("ready", fg="green") if survey.is_ready else click.style("NOT READY", fg="red", bold=True)
    rules = survey.rules
    named = "" if rules is None else f"rules {visible(rules.rule_set)}@{rules.version[:8]}"
    pinned = ", pinned" if rules is not None and rules.pinned else ""
    began = min((each.started_at for each in survey.workers), default=survey.at)
    left = f"{bold('gatepost')}  {state}  up {span_text((survey.at - began).total_seconds())}  {named}{pinned}"
    right = f"{survey.at:%H:%M:%S}Z"
    return [left + " " * max(2, columns - columns_of(left) - columns_of(right)) + right]


def _row(label: str, cells: Iterable[str], *, is_head: bool = False) -> str:
    shown = padded(label, _LABEL) + "".join(" " * max(1, _CELL - columns_of(cell)) + cell for cell in cells)
    return faint(shown) if is_head else shown


def _mail(rates: Mapping[Key, float], survey: Survey, seconds: float) -> list[str]:
    samples = survey.samples
    last = by_label(rates, "messages_total", "outcome")
    ever = by_label(samples, "messages_total", "outcome")
    octets = total(rates, "received_bytes_total") / seconds
    return [
        _row("mail", (*_OUTCOMES, "bytes", "conns"), is_head=True),
        _row(
            "per s",
            (
                *(_rate(last.get(word, 0) / seconds) for word in _OUTCOMES),
                f"{size_text(int(octets))}/s",
                _rate(total(rates, "connections_total") / seconds),
            ),
        ),
        _row(
            "in all",
            (
                *(f"{ever.get(word, 0):,.0f}" for word in _OUTCOMES),
                size_text(int(total(samples, "received_bytes_total"))),
                f"{total(samples, 'connections'):,.0f} open",
            ),
        ),
    ]


def _pace(rates: Mapping[Key, float], survey: Survey) -> list[str]:
    """How fast, how fresh, how much room."""
    latencies = [
        f"{faint(name)} p50 {_quantile(rates, family, 0.5)}  p99 {_quantile(rates, family, 0.99)}"
        for name, family in (("accept", "accept_seconds"), ("commit", "spool_commit_seconds"))
    ]
    hits, misses = total(rates, "dns_cache_hits_total"), total(rates, "dns_cache_misses_total")
    share = f"{100 * hits / (hits + misses):.0f} %" if hits + misses else "-"
    age = survey.samples.get(key("oldest_retry_age_seconds"), 0)
    rest = [
        f"{faint('dns cache')} {share}",
        f"{faint('disk')} {size_text(int(survey.samples.get(key('disk_free_bytes'), 0)))} free",
        f"{faint('oldest retry')} {span_text(age) if age else '-'}",
    ]
    return ["   ".join(latencies), "   ".join(rest)]


def _quantile(rates: Mapping[Key, float], name: str, share: float) -> str:
    """The bound below which that share of the observations lies: as exact as the buckets are."""
    buckets = sorted(
        (float(dict(labels)["le"]), count) for (each, labels), count in rates.items() if each == f"{name}_bucket"
    )
    if not buckets or not buckets[-1][1]:
        return "-"
    wanted = share * buckets[-1][1]
    bound = next(bound for bound, count in buckets if count >= wanted)
    if bound == float("inf"):
        return f">{_seconds(buckets[-2][0])}"
    return f"≤{_seconds(bound)}"


def _seconds(value: float) -> str:
    return f"{value:g} s" if value >= 1 else f"{value * 1000:g} ms"


def _waiting(survey: Survey) -> list[str]:
    return [*_counts("jobs", survey.standing.jobs), *_counts("messages", survey.standing.messages)]


def _counts(label: str, numbers: Mapping[str, int]) -> list[str]:
    cells = [
        click.style(f"{count:,}", fg="red" if count and word in _BAD else None, dim=not count)
        for word, count in numbers.items()
    ]
    return [_row(label, numbers, is_head=True), _row("", cells)]


def _wrong(wrong: Sequence[Condition], columns: int) -> list[str]:
    colours = {"critical": "red", "warning": "yellow"}
    return [
        f"{click.style(padded(each.level, _LABEL), fg=colours[each.level])}{shortened(visible(each.text), columns - _LABEL)}"
        for each in wrong
    ]


def _workers(before: Survey, after: Survey, seconds: float) -> list[str]:
    earlier = {each.worker: dict(each.samples) for each in before.workers}
    lines = [_row("worker", ("pid", "cpu", "memory", "conns", "mail/s", "waiting"), is_head=True)]
    for each in after.workers:
        lines.append(_worker(each, earlier.get(each.worker, {}), seconds))
    return lines


def _worker(each: Observation, earlier: Mapping[Key, float], seconds: float) -> str:
    samples, worker = dict(each.samples), str(each.worker)

    def since(name: Key) -> float:
        return max(0.0, samples.get(name, 0) - earlier.get(name, 0)) / seconds

    cpu = since(key("worker_cpu_seconds_total", worker=worker))
    cells = (
        str(each.pid),
        f"{100 * cpu:.0f} %",
        size_text(int(samples.get(key("worker_resident_bytes", worker=worker), 0))),
        f"{samples.get(key('connections'), 0):.0f}",
        _rate(since(key("messages_total", outcome="accepted"))),
        f"{samples.get(key('steps_waiting'), 0):.0f}",
    )
    return _row(worker, cells)


def _busiest(rates: Mapping[Key, float], seconds: float, columns: int) -> list[str]:
    """What was refused and done most, side by side."""
    refused = _most(rates, "refusals_total", ("phase", "reply"))
    steps = _most(rates, "steps_total", ("action", "outcome"))
    if not refused and not steps:
        return []
    half = columns // 2
    lines = [faint(padded("refusals per s", half) + "steps per s")]
    for number in range(max(len(refused), len(steps))):
        cells = [_busy(found, number, seconds, half - 2) for found in (refused, steps)]
        lines.append(f"{padded(cells[0], half)}{cells[1]}".rstrip())
    return lines


def _busy(found: Sequence[tuple[str, float]], number: int, seconds: float, columns: int) -> str:
    if number >= len(found):
        return ""
    name, count = found[number]
    return f"{_rate(count / seconds):>7}  {shortened(visible(name), columns - 9)}"


def _most(rates: Mapping[Key, float], name: str, labels: Sequence[str]) -> list[tuple[str, float]]:
    found = [
        (" ".join(dict(values)[label] for label in labels), count)
        for (each, values), count in rates.items()
        if each == name and count > 0
    ]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:_MOST_ROWS]


def _rate(value: float) -> str:
    return "0" if value <= 0 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
