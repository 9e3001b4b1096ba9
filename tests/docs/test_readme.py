"""The first page keeps its word: every block is run, every target and file that it names is there."""

from __future__ import annotations

import re

from console import ROOT, Console, blocks, recipe

README = ROOT / "README.md"


def test_every_block_prints_what_the_page_shows(console: Console) -> None:
    assert len(blocks(README, "console")) >= 3
    console.run_page(README)


def test_the_page_shows_why_a_rule_did_not_match() -> None:
    assert "not matched because" in "".join(block.text for block in blocks(README, "console"))


def test_every_target_of_make_that_is_named_exists() -> None:
    text = "".join(path.read_text() for path in (README, *(ROOT / "docs").glob("*.md")))
    named = set(re.findall(r"(?:`|^|\$ )make ([a-z]+)\b", text, re.MULTILINE))
    assert {"serve", "test"} <= named
    for target in sorted(named):
        assert recipe(target), target


def test_the_index_lists_every_page() -> None:
    index = set(re.findall(r"^\| \[[a-z-]+\]\(docs/([a-z-]+\.md)\)", README.read_text(), re.MULTILINE))
    assert index == {path.name for path in (ROOT / "docs").glob("*.md")}
