"""The runner of the pages tells a page that is right from one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from console import Block, Command, Console, blocks, commands, matches

ID = "06gvsgk5r808e27miegev2e08bk1gq3a3drcvd01"
OTHER = "06gvsjne8s05ignvbt8lk1gcqpd7u7vddrg5km01"


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["one", "two"], "one\ntwo\n"),
        (["one ... three"], "one two three\n"),
        (["one", "...", "five"], "one\ntwo\nthree\nfive\n"),
        (["one", "..."], "one\n"),
        ([f"2026-01-13 21:02:45Z  done  {ID}"], f"2026-11-21 13:32:28Z  done  {OTHER}\n"),
        (["a  b"], "a      b\n"),
        ([], ""),
    ],
)
def test_these_are_the_same(shown: list[str], printed: str) -> None:
    assert matches(tuple(shown), printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["one"], "two\n"),
        (["one"], "one\ntwo\n"),
        (["one", "two"], "one\n"),
        (["one ... three"], "one two four\n"),
        (["a.c"], "abc\n"),
        ([f"done  {ID}"], "done  no-id\n"),
        ([], "something\n"),
        (["something"], ""),
    ],
)
def test_these_are_not(shown: list[str], printed: str) -> None:
    assert not matches(tuple(shown), printed)


def test_a_command_goes_on_after_a_backslash() -> None:
    block = Block(info="console", text="$ one \\\n    two\nout\n$ three\n", path=Path("page.md"), line=1)
    assert [(each.command, each.expected) for each in commands(block)] == [("one two", ("out",)), ("three", ())]


def test_a_block_that_is_not_closed_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ true\n")
    with pytest.raises(AssertionError, match=r"page\.md:1: the block is not closed"):
        blocks(page)


def test_an_id_that_a_page_showed_stands_for_the_real_one(console: Console) -> None:
    console.run(Command(command=f"echo {ID}", expected=(OTHER,), place="page.md:1"))
    console.run(Command(command=f"echo {OTHER[:12]} x", expected=("... x",), place="page.md:2"))
    assert console._translated(f"echo {OTHER[:12]}") == f"echo {ID}"


def test_an_output_that_differs_names_the_place(console: Console) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:7: \$ echo two\n--- shown\none\n--- printed\ntwo"):
        console.run(Command(command="echo two", expected=("one",), place="page.md:7"))
