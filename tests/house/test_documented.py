"""Every setting, condition, action and command is named in docs/, as `name` or as the command line that runs it."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module

import pytest
from house_tree import ROOT

DOCS = ROOT / "docs"


@cache
def pages() -> str:
    """All of docs/ as one text."""
    return "\n".join(path.read_text() for path in sorted(DOCS.rglob("*.md")))


def undocumented(names: list[str]) -> list[str]:
    """The names that stand neither alone in backquotes nor after `gatepost`, nor as a key in a sample."""
    forms = r"`{0}`|`gatepost {0}\b|^\s*(?:- )?\{{?{0}:|^\s*gatepost {0}\b"
    return [name for name in names if not re.search(forms.format(re.escape(name)), pages(), re.MULTILINE)]


def settings() -> list[str]:
    return [row.name for row in import_module("gatepost.settings").table()]


def conditions() -> list[str]:
    return sorted(import_module("rules.schema_conditions").CONDITION_WORDS)


def actions() -> list[str]:
    return sorted(import_module("rules.schema_actions").AVAILABLE)


def commands() -> list[str]:
    return sorted(import_module("gatepost.cli").COMMANDS)


@pytest.mark.parametrize("names", [settings, conditions, actions, commands])
def test_every_name_is_documented(names) -> None:
    found = names()
    assert len(found) > 5, "the table is elsewhere now: this test looks at the wrong one"
    assert undocumented(found) == []
