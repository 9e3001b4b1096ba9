"""Which version of the rules a worker judges by, and that a new one holds up nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gatepost import library as library_module
from gatepost.library import Library, open_rules
from gatepost.settings import Settings
from rules.compiled import CompiledBook
from rules.model import RuleBook
from spool.rule_sets import SqliteRuleBooks, open_rule_books

NOW = datetime(2026, 3, 17, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteRuleBooks]:
    books = open_rule_books(tmp_path / "rules.db")
    yield books
    books.close()


def loaded(store: SqliteRuleBooks, tmp_path: Path, name: str) -> str:
    """Make a version the active one, as the parent does; its digest."""
    path = tmp_path / "rules.yaml"
    path.write_text(f"rule_sets: {{default: [{{name: {name}, actions: [{{disk: {{path: mail}}}}]}}]}}\n")
    opened = open_rules(Settings(rules=path))
    assert opened.book is not None
    Library(store, Settings(), lambda: NOW).load(opened)
    return opened.book.digest


async def test_a_new_version_is_compiled_beside_the_loop_and_then_in_force(
    store: SqliteRuleBooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[bool] = []
    compile_book = library_module.compile_book

    def noted(book: RuleBook) -> CompiledBook:
        compiled.append(threading.current_thread() is threading.main_thread())
        return compile_book(book)

    one = loaded(store, tmp_path, "one")
    worker = Library(store, Settings(), lambda: NOW)
    monkeypatch.setattr(library_module, "compile_book", noted)
    assert worker.active().digest == one
    assert compiled == [True], "at the start nobody waits"
    two = loaded(store, tmp_path, "two")
    compiled.clear()
    assert worker.active().digest == one, "until it is told"
    await worker.follow()
    assert worker.active().digest == two
    assert compiled == [False]
    await worker.follow()
    store.activate(one, pinned=True)
    await worker.follow()
    assert worker.active().digest == one
    assert compiled == [False], "what was compiled once stays so"


async def test_of_very_many_versions_the_oldest_is_compiled_again(
    store: SqliteRuleBooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library_module, "_COMPILED_VERSIONS", 2)
    digests = [loaded(store, tmp_path, name) for name in ("one", "two", "three")]
    worker = Library(store, Settings(), lambda: NOW)
    assert [worker.by_digest(digest).digest for digest in digests * 2] == digests * 2
