"""Every RFC that the program leans on has its line in docs/rfc.md, which says how far we go with it."""

from __future__ import annotations

import re

import pytest
from house_tree import ROOT, shown, sources

RFC = re.compile(r"\bRFC\s?(\d{3,5})\b")
TABLE = ROOT / "docs" / "rfc.md"


@pytest.fixture(scope="module")
def documented() -> set[str]:
    return set(RFC.findall(TABLE.read_text()))


def test_an_rfc_named_in_the_source_is_in_the_conformance_table(documented: set[str]) -> None:
    missing: dict[str, str] = {}
    for path in sources():
        for number in RFC.findall(path.read_text()):
            if number not in documented:
                missing.setdefault(f"RFC {number}", shown(path))
    assert missing == {}


def test_every_line_of_the_table_says_how_far() -> None:
    rows = re.findall(r"^\| (RFC \d+) \|(.*)\|$", TABLE.read_text(), re.MULTILINE)
    assert len(rows) > 40
    words = {"Yes", "Partial", "Used", "No"}
    assert [rfc for rfc, cells in rows if cells.count(" | ") != 2 or cells.split(" | ")[1] not in words] == []


def test_rfcs_are_named_in_one_greppable_form() -> None:
    odd = re.compile(r"\b(rfc|Rfc)[ -]?\d{3,5}\b|\bRFC-?\d{3,5}\b")
    found = []
    for path in sources():
        text = re.sub(r"[`'\"][^`'\"\n]*[`'\"]", "", path.read_text())  # names such as rfc8601 are values of settings
        found += [f"{shown(path)}: {match.group()}" for match in odd.finditer(text)]
    assert found == []
