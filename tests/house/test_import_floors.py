"""A package imports only from floors below it, and the pure ones touch neither network, disk, clock nor threads."""

from __future__ import annotations

import sys

import pytest
from house_tree import FLOORS, ROOT, imports, packages, sources

VOCABULARY = {"idna", "msgspec"}  # all that `mail` may use beside the standard library
IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "random", "secrets", "select", "selectors", "signal", "socket"),
    *("sqlite3", "ssl", "subprocess", "tempfile", "threading", "time"),
}


@pytest.mark.parametrize("package", FLOORS)
def test_a_package_imports_only_from_floors_below(package: str) -> None:
    wrong = [
        str(found)
        for path in sources(package)
        for found in imports(path)
        if found.top in FLOORS and found.top != package and FLOORS[found.top] >= FLOORS[package]
    ]
    assert wrong == []


def test_imports_are_absolute() -> None:
    assert [str(found) for path in sources() for found in imports(path) if found.module.startswith(".")] == []


def test_no_package_imports_tests_tools_or_samples() -> None:
    outside = {"tests", "tools", "samples", "bench"}
    assert [str(found) for path in sources() for found in imports(path) if found.top in outside] == []


def test_the_vocabulary_needs_the_standard_library_idna_and_msgspec_only() -> None:
    allowed = {*sys.stdlib_module_names, *VOCABULARY, "mail"}
    assert [str(found) for path in sources("mail") for found in imports(path) if found.top not in allowed] == []


@pytest.mark.parametrize("package", ["mail", "rules"])
def test_a_pure_package_reaches_for_nothing_outside(package: str) -> None:
    assert [str(found) for path in sources(package) for found in imports(path) if found.top in IMPURE] == []


def test_every_package_stands_on_a_floor() -> None:
    beside = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert beside - {"bench"} <= set(FLOORS), "a new top-level package needs a floor in house_tree.FLOORS"
    assert set(packages()) >= {
        "mail",
        "rules",
        "verdicts",
        "smtp",
        "spool",
        "actions",
        "inbound",
        "outbound",
        "gatepost",
    }
