"""docs/ tells the truth: consoles are run, YAML is loaded, links lead somewhere, tables are those of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from console import ROOT, Block, Console, blocks

from gatepost.cli import COMMANDS
from gatepost.control import TAKES
from gatepost.settings import table
from gatepost.settings_file import load_settings
from gatepost.zone_file import read_zone
from mail.outcome import Result
from rules.load import load_text
from rules.object_keys import PLACEHOLDERS
from rules.schema_actions import ACTIONS, AVAILABLE, COMMON, RETRY_SECONDS
from rules.schema_conditions import CONDITION_WORDS
from rules.schema_rules import RULE_KEYS
from spool.ports import MessageState
from tools.settings_table import rendered, with_table

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
_LISTS = "{partners: [acme.example], offices: [192.0.2.0/24], vips: [ceo@example.com]}"
_BOOK = f"domains: [example.com]\naddress_lists: {_LISTS}\nrule_sets:\n  default:\n"


def named(path: Path) -> str:
    return path.name


def yaml_blocks() -> list[Block]:
    return [block for path in [ROOT / "README.md", *PAGES] for block in blocks(path, "yaml")]


def indented(text: str, spaces: int) -> str:
    return "".join(" " * spaces + line for line in text.splitlines(keepends=True))


@pytest.mark.parametrize("page", [path for path in PAGES if blocks(path, "console")], ids=named)
def test_every_console_prints_what_the_page_shows(page: Path, console: Console) -> None:
    console.run_page(page)


@pytest.mark.parametrize("block", yaml_blocks(), ids=lambda block: f"{block.path.name}:{block.line}")
def test_every_yaml_block_is_what_it_says_it_is(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    match block.info.partition(" ")[2]:
        case "settings":
            monkeypatch.setenv("RELAY_PASSWORD", "x")
            path = tmp_path / "gatepost.yaml"
            path.write_text(block.text)
            assert load_settings(path).findings == ()
            return
        case "zone":
            path = tmp_path / "zone.yaml"
            path.write_text(block.text)
            read_zone(path)
            return
        case "added":
            return  # tests/docs/test_adding_an_action.py runs it
        case "rules":
            text = block.text
        case "rule":
            text = _BOOK + indented(block.text, 4)
        case "actions":
            text = f"{_BOOK}    - name: shown\n      actions:\n{indented(block.text, 8)}"
        case "conditions":
            text = f"{_BOOK}    - name: shown\n      when:\n{indented(block.text, 8)}      actions: [drop: {{}}]\n"
        case other:
            pytest.fail(f"{block.path.name}:{block.line}: say what the YAML is, not {other!r}")
    assert [str(error) for error in load_text(text.encode(), "shown", Path()).errors] == []


def test_the_table_of_settings_is_the_programs() -> None:
    page = (DOCS / "settings.md").read_text()
    assert rendered() in page
    assert with_table(page) == page, "run: python -m tools.settings_table"


_UNITS = {"": 1, "s": 1, "day": 86_400, "days": 86_400, "MB": 10**6, "MiB": 2**20, "GiB": 2**30}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=named)
def test_a_default_that_prose_tells_is_the_programs(page: Path) -> None:
    defaults = {row.name: row.default for row in table()}
    told = re.findall(r"`([a-z0-9_.]+)` \(([0-9][0-9,]*) ?([A-Za-z]*)", page.read_text())
    wrong = [
        (name, number, unit)
        for name, number, unit in told
        if name in defaults and int(number.replace(",", "")) * _UNITS[unit] != defaults[name]
    ]
    assert wrong == []


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """The first table under a heading: what its first column names in backquotes, and the other cells."""
    text = (DOCS / page).read_text()
    part = re.split(r"^#+ ", text.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found = {}
    for line in part.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if line.startswith("|"):
            for name in re.findall(r"`([a-z_]+)`", cells[0]):
                found[name] = cells[1:]
    return found


@pytest.mark.parametrize("action", AVAILABLE)
def test_the_fields_of_an_action_are_the_programs(action: str) -> None:
    shown = rows("actions.md", f"## {action}")
    schema = ACTIONS[action].fields
    told_once = {"topic_arn"} if action not in ("sns", "webhook", "lambda") else set()  # under: Telling a topic
    assert set(shown) == set(schema) - told_once
    for name, cells in shown.items():
        field = schema[name]
        if cells[0] in ("yes", "no"):
            assert (cells[0] == "yes") == field.required, name
        default = field.default
        if default:
            assert f"`{default}`" in cells, name


def test_the_common_fields_of_actions_are_shown() -> None:
    shown = rows("actions.md", "## When an action fails")
    assert set(shown) == set(COMMON)
    assert shown["retry_for"][0] == f"`{RETRY_SECONDS // 3600}h`"


def test_the_actions_that_can_fail_are_named() -> None:
    (told,) = re.findall(r"\n(`disk`[^:]*) can fail, and take two more fields:", (DOCS / "actions.md").read_text())
    assert set(re.findall(r"`([a-z0-9_]+)`", told)) == {name for name in AVAILABLE if ACTIONS[name].retries}


def test_operations_names_every_command() -> None:
    page = (DOCS / "operations.md").read_text()
    assert [name for name in COMMANDS if f"`gatepost {name}" not in page] == []


def test_every_condition_has_its_row_and_example() -> None:
    shown = rows("conditions.md", "## Every condition")
    assert set(shown) == set(CONDITION_WORDS)
    for name, cells in shown.items():
        example = re.fullmatch(r"`(.+)`", cells[-1])
        assert example is not None, name
        text = f"{_BOOK}    - name: shown\n      when: [{{{example[1]}}}]\n      actions: [drop: {{}}]\n"
        assert [str(error) for error in load_text(text.encode(), "shown", Path()).errors] == [], name


def test_every_key_of_a_rule_has_its_row() -> None:
    assert set(rows("rules.md", "## A rule")) >= set(RULE_KEYS)


def test_every_placeholder_of_a_template_is_shown() -> None:
    text = (DOCS / "actions.md").read_text().partition("### Templates")[2].partition("\n## ")[0]
    shown = set(re.findall(r"`\{([A-Za-z_.]+)(?::[^}]*)?\}`", text))
    assert shown == set(PLACEHOLDERS)


def test_every_message_state_and_step_outcome_has_its_row() -> None:
    assert list(rows("operations.md", "## Message states")) == [state.value for state in MessageState]
    assert set(rows("operations.md", "## Step outcomes")) == {result.value for result in Result}


def test_the_jobs_that_a_command_is_for_are_the_programs() -> None:
    text = (DOCS / "operations.md").read_text()
    for operation, states in TAKES.items():
        row = re.search(rf"^\| `gatepost queue {operation}` \|.*\| ([a-z, ]+) \|$", text, re.MULTILINE)
        assert row is not None, operation
        assert set(row[1].split(", ")) == {state.value for state in states}, operation


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"(?:\]\(|src=\")([^)\"\s]+)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=named)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named_files = re.findall(
        r"`((?:samples|tools|mail|rules|verdicts|smtp|spool|actions|inbound|gatepost)/[\w./-]*)`", page.read_text()
    )
    assert [name for name in named_files if not (ROOT / name).exists()] == []
