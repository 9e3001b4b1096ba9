"""`gatepost rules`: versions, the active one, and what pins it (semantics.md §4)."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatepost.cli.rules import command
from gatepost.control import RULE_BOOKS
from gatepost.library import Library
from gatepost.settings import Settings
from rules.load import load_text
from spool.rule_sets import open_rule_books

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Opened:
    """What `open_rules` gives for a file with this text."""

    def __init__(self, text: str, origin: str) -> None:
        self.book = load_text(text.encode(), origin, Path()).book
        self.origin = origin


def rules_named(name: str) -> str:
    return f"rule_sets:\n  default:\n    - name: {name}\n      actions: [{{disk: {{path: mail}}}}]\n"


@pytest.fixture
def data(tmp_path):
    books = open_rule_books(tmp_path / RULE_BOOKS)
    library = Library(books, Settings(), lambda: NOW)
    library.load(Opened(rules_named("one"), "one.yaml"))
    library.load(Opened(rules_named("two"), "two.yaml"))
    yield tmp_path
    books.close()


def run(data, *arguments):
    return CliRunner().invoke(command, [*arguments, "--data", str(data)])


def listed(data):
    return [json.loads(line) for line in run(data, "list", "--json").output.splitlines()]


def test_every_version_is_listed_newest_first(data):
    assert [(each["origin"], each["active"], each["pinned"]) for each in listed(data)] == [
        ("two.yaml", True, False),
        ("one.yaml", False, False),
    ]
    assert "active" in run(data, "list").output.splitlines()[1]


def test_going_back_pins_the_version_before(data):
    assert run(data, "rollback").exit_code == 0
    assert [(each["origin"], each["active"], each["pinned"]) for each in listed(data)] == [
        ("two.yaml", False, False),
        ("one.yaml", True, True),
    ]
    assert run(data, "rollback").exit_code == 1


def test_a_pinned_choice_survives_a_changed_file_until_it_is_unpinned(data):
    one = listed(data)[1]["digest"]
    assert run(data, "activate", one[:8]).exit_code == 0
    books = open_rule_books(data / RULE_BOOKS)
    library = Library(books, Settings(), lambda: NOW)
    assert not library.load(Opened(rules_named("three"), "three.yaml"))
    assert library.active().digest == one
    assert run(data, "unpin").exit_code == 0
    assert library.load(Opened(rules_named("four"), "four.yaml"))
    books.close()


def test_a_version_that_is_not_there_is_said(data):
    result = run(data, "activate", "ffffffffffff")
    assert result.exit_code == 2


def test_without_state_it_says_so(tmp_path):
    assert run(tmp_path, "list").exit_code == 2


def test_versions_that_no_message_refers_to_are_forgotten_but_the_newest(data):
    books = open_rule_books(data / RULE_BOOKS)
    library = Library(books, Settings(), lambda: NOW)
    for number in range(30):
        library.load(Opened(rules_named(f"rule{number}"), "more.yaml"))
    one = next(version.digest for version in books.versions() if version.origin == "one.yaml")
    assert library.forget(frozenset({one})) == 32 - 20 - 1
    assert one in {version.digest for version in books.versions()}
    assert library.active().digest == books.versions()[0].digest
    books.close()
