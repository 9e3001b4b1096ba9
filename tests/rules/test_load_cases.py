"""Every file of tests/cases/rules_broken and rules_good, with the exact text of what is found in it.

`NN-name.expected` stands beside a file that has findings. A case that comes out otherwise leaves its text in `NN-name.got`.
"""

from pathlib import Path

import pytest

from rules.load import Loaded, load_text
from rules.model import decode_book

CASES = Path(__file__).parents[1] / "cases"
BROKEN = sorted(path for path in (CASES / "rules_broken").iterdir() if path.suffix in (".yaml", ".json"))
GOOD = sorted(path for path in (CASES / "rules_good").iterdir() if path.suffix in (".yaml", ".json"))


def load_case(path: Path) -> Loaded:
    return load_text(path.read_bytes(), path.name, path.parent)


def expect(path: Path, loaded: Loaded) -> None:
    expected = path.with_suffix(".expected")
    found = "".join(f"{finding}\n" for finding in loaded.findings)
    wanted = expected.read_text(encoding="utf-8") if expected.exists() else ""
    if found != wanted:
        path.with_suffix(".got").write_text(found, encoding="utf-8")
    assert found == wanted


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_file_is_refused_with_all_its_findings(path):
    loaded = load_case(path)
    expect(path, loaded)
    assert loaded.book is None
    assert loaded.errors


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_file_becomes_a_book_that_survives_its_own_json(path):
    loaded = load_case(path)
    expect(path, loaded)
    assert loaded.book is not None
    again = decode_book(loaded.book.content)
    assert again == loaded.book
    assert again.digest == loaded.book.digest == load_case(path).book.digest
    assert again.rule_set.name == loaded.book.active


def test_there_are_at_least_sixty_broken_files():
    assert len(BROKEN) >= 60


def test_every_expected_text_belongs_to_a_case():
    texts = {path.stem for folder in ("rules_broken", "rules_good") for path in (CASES / folder).glob("*.expected")}
    assert texts <= {path.stem for path in (*BROKEN, *GOOD)}


@pytest.mark.parametrize("path", [*BROKEN, *GOOD], ids=lambda path: path.stem)
def test_findings_stand_at_places_that_exist_and_are_one_line_each(path):
    for finding in load_case(path).findings:
        lines = (path.parent / finding.file).read_bytes().decode("utf-8", "replace").split("\n")
        assert 1 <= finding.line <= len(lines)
        assert 1 <= finding.column <= len(lines[finding.line - 1]) + 1
        assert str(finding).isprintable()
        assert finding.code.replace("-", "").isalnum()
