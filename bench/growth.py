"""Whether rules, recipients, deferred jobs and workers in great number make us slower: one load on gateways that differ in one.

Rules are for one recipient each, but the last, which takes everybody's mail and stores it; the mail is for others than they name.
That is what an index can spare. A hundred rules that all want a message must all be walked, and cost what they cost.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.deferred import fill
from bench.turns import Turn, ours

LOAD, LOAD_OF_TWO = "4k:10:20", "4k:20:20"
_STORE = [{"disk": {"path": "mail"}}]


def book(rules: list[dict[str, object]]) -> str:
    """A rules file, as JSON: YAML of that size takes its reader longer than a server may take to start."""
    return json.dumps({"version": 1, "domains": ["rcpt.test"], "rule_sets": {"default": rules}})


def many_rules(count: int) -> str:
    boxes = [{"name": f"box{n}", "recipients": [f"box{n}@rcpt.test"], "actions": _STORE} for n in range(count - 1)]
    return book([*boxes, {"name": "keep", "actions": _STORE}])


def many_recipients(count: int) -> str:
    return book([{"name": "keep", "recipients": [f"user{n}@rcpt.test" for n in range(count)], "actions": _STORE}])


def turns(directory: Path, deferred: int) -> Iterator[Turn]:
    """What they need is made in the directory first; `deferred` jobs stand for very many."""
    books = {"rules-1": many_rules(1), "rules-100": many_rules(100), "rules-10000": many_rules(10_000)}
    books["recipients-100000"] = many_recipients(100_000)
    for name, text in books.items():
        path = directory / f"{name}.json"
        path.write_text(text)
        yield _turn(name, path, LOAD)
    plain, state = directory / "rules-1.json", directory / "deferred"
    print(f"making a spool with {deferred:,} deferred jobs", file=sys.stderr)
    fill(state, deferred, 2)
    yield _turn("deferred-0", plain, LOAD)
    yield _turn("deferred-many", plain, LOAD, data=str(state))
    yield _turn("workers-1", plain, LOAD, workers=1)
    yield _turn("workers-2", plain, LOAD_OF_TWO)


def _turn(name: str, rules: Path, load: str, *, data: str = "{dir}/var", workers: int = 2) -> Turn:
    command = ours(rules, data=data, options=f"--workers {workers}", verdicts__checks="none")
    return Turn("run", name, "growth", (load,), command)
