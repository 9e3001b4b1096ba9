"""Plug-ins are loaded only when they are named, and what is wrong with one is said where the rules are checked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gatepost.library import open_rules
from gatepost.plugins import plugins_of
from gatepost.settings import Settings

MODULE = """
from actions.plugin import ActionPlugin
from rules.schema_actions import ActionSchema, Field


def read(reading, node, what):
    text = node.text
    if text == "crash":
        raise RuntimeError("out of order")
    if text == "object":
        return object()
    if text == "bad":
        reading.error("bad-tone", node, f"{what} is bad")
        return None
    return text


class Bell:
    def destination(self, parameters):
        return ""


def plugin_of(**fields):
    schema = ActionSchema(description="rings", retries=True, fields={"tone": Field(read=read, description="x"), **fields})
    return ActionPlugin(schema=schema, make=lambda ports: Bell())


bell, wrong = plugin_of(), "no plug-in"
taken = plugin_of(retry_for=Field(read=read, description="x"))
"""
OFFERS = (
    "[gatepost.actions]\nbell = plugged:bell\nwrong = plugged:wrong\ngone = plugged:gone\ndisk = plugged:bell\n"
    "taken = plugged:taken\nbroken = not_there_at_all:x\n"
)
RULES = "version: 1\nrule_sets:\n  default:\n    - name: all\n      actions:\n        - bell: {tone: %s}\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(name: str, offers: str) -> None:
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(offers)

    (tmp_path / "plugged.py").write_text(MODULE)
    add("plugged", OFFERS)
    plugins_of.cache_clear()
    yield add
    sys.modules.pop("plugged", None)
    plugins_of.cache_clear()


def said(tmp_path: Path, tone: str = "c", *plugins: str) -> list[str]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES % tone)
    opened = open_rules(Settings(plugins=plugins or ("bell",)), rules)
    return [str(each).removeprefix(f"{tmp_path}/") for each in opened.findings if each.severity == "error"]


@pytest.mark.usefixtures("site")
def test_a_plug_in_that_is_named_is_one_more_action(tmp_path: Path) -> None:
    assert said(tmp_path) == []
    opened = open_rules(Settings(plugins=("bell",)), tmp_path / "rules.yaml")
    assert opened.book is not None
    (spec,) = opened.book.rule_set.rules[0].actions
    assert (spec.type, spec.parameters) == ("bell", {"retry_for": 14_400, "tone": "c"})


@pytest.mark.usefixtures("site")
def test_one_that_is_not_named_is_not_even_imported(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES % "c")
    (finding,) = [each for each in open_rules(Settings(), rules).findings if each.severity == "error"]
    assert (finding.code, finding.line, finding.column) == ("unknown-action", 6, 11)
    assert "plugged" not in sys.modules


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("tone", "found"),
    [
        ("bad", "rules.yaml:6:24: error: bell tone is bad"),
        ("crash", "rules.yaml:6:24: error: bell tone: the plug-in bell failed: RuntimeError: out of order"),
    ],
)
def test_its_parameters_are_checked_where_they_stand(tmp_path: Path, tone: str, found: str) -> None:
    assert said(tmp_path, tone) == [found]


@pytest.mark.usefixtures("site")
def test_what_cannot_be_kept_is_its_fault(tmp_path: Path) -> None:
    (found,) = said(tmp_path, "object")
    assert found.startswith("rules.yaml:6:24: error: bell tone: the plug-in bell failed: TypeError")


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("bel", 'plugins: bel: no installed distribution offers it; did you mean "bell"?'),
        ("wrong", "plugins: wrong: plugged:wrong of plugged is no ActionPlugin but str"),
        ("gone", "plugins: gone: plugged:gone of plugged cannot be loaded: AttributeError: "),
        ("broken", "plugins: broken: not_there_at_all:x of plugged cannot be loaded: ModuleNotFoundError: "),
        ("disk", "plugins: disk: is an action of Gatepost's own"),
        ("taken", "plugins: taken: its field retry_for is one that every action has"),
        ("ring", "plugins: ring: several distributions offer it: other:a of one, other:b of two"),
    ],
)
def test_what_is_wrong_with_a_plug_in_is_an_error_of_check(
    site: Callable[[str, str], None], tmp_path: Path, word: str, why: str
) -> None:
    site("one", "[gatepost.actions]\nring = other:a\n")
    site("two", "[gatepost.actions]\nring = other:b\n")
    (found,) = said(tmp_path, "c", "bell", word)
    assert found.startswith(f"rules.yaml:1:1: error: {why}")
    settings = Settings(plugins=("bell", word), files=(tmp_path / "gatepost.yaml",))
    opened = open_rules(settings, tmp_path / "rules.yaml")
    assert opened.book is None
    assert str(opened.findings[0]).startswith(f"{tmp_path}/gatepost.yaml:1:1: error: plugins: {word}")
    assert open_rules(Settings(plugins=(word,))).book is None, "the built-in rules are no way around"
