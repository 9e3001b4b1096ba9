"""docs/metrics.md shows the table of metrics, the table has what the program counts, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from console import ROOT

from gatepost.metrics import family_of
from gatepost.metrics_table import FAMILIES

PAGE = ROOT / "docs" / "metrics.md"
PACKAGES = ("mail", "rules", "verdicts", "smtp", "spool", "actions", "inbound", "outbound", "gatepost")


def counted() -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Name, labels and place of every count in the program: `key(...)`, `counters.add(...)`, `counters.histogram(...)`."""
    for path in (path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _counts(node.func) and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    labels = sorted(each.arg for each in node.keywords if each.arg not in (None, "amount"))
                    yield first.value, tuple(map(str, labels)), f"{path.relative_to(ROOT)}:{node.lineno}"


def _counts(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id == "key"
    if not isinstance(function, ast.Attribute) or function.attr not in ("add", "histogram"):
        return False
    owner = function.value
    return getattr(owner, "attr", getattr(owner, "id", "")).lstrip("_") == "counters"


def test_every_count_of_the_program_has_its_row_in_gatepost_metrics_table() -> None:
    wrong = []
    for name, labels, place in counted():
        family = family_of(name)
        if family is None or family.labels != labels:
            wrong.append(f"{place}: {name} {labels} needs a row in gatepost/metrics_table.py and docs/metrics.md")
    assert wrong == []


def test_every_row_of_the_table_is_counted_somewhere() -> None:
    found = {family.name for name, _, _ in counted() if (family := family_of(name)) is not None}
    assert {family.name for family in FAMILIES} - found == set()


def test_the_page_shows_the_table() -> None:
    rows = re.findall(
        r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| (.+?) \| (.+) \|$", PAGE.read_text(), re.MULTILINE
    )
    expected = [
        (each.name, each.kind, ", ".join(f"`{label}`" for label in each.labels) or "none", each.text)
        for each in FAMILIES
    ]
    assert rows == expected


def test_the_page_names_every_check() -> None:
    source = "".join((ROOT / "gatepost" / name).read_text() for name in ("observer.py", "overview.py"))
    names = dict.fromkeys(re.findall(r'Check\(name="([a-z]+)"', source))
    table = PAGE.read_text().partition("| check |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE)) == set(names)
