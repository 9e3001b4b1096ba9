"""A file is one thought, and a function one step of it."""

from __future__ import annotations

import ast
from pathlib import Path

from house_tree import ROOT, parse, shown, sources

MOST_FILE_LINES = 300
MOST_FUNCTION_LINES = 60
# Tables, read from top to bottom, which a split would only scatter: the file and what it tabulates.
TABLES = {
    "gatepost/settings.py": "every setting with its default and its sentence, from which all else about them follows",
    "rules/schema_actions.py": "every action with its fields: what the loader checks and the documentation shows",
    "spool/ports.py": "the contract of durable state, types and ports side by side: three stores are written from it",
}


def checked() -> list[Path]:
    """The program, and the tools that prepare it."""
    return [*sources(), *sorted((ROOT / "tools").glob("*.py"))]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring: that may be as long as it needs."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= (function.body[0].end_lineno or 0) - function.body[0].lineno + 1
    return lines


def test_no_file_is_longer_than_the_ceiling() -> None:
    lengths = {shown(path): len(path.read_text().splitlines()) for path in checked()}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_FILE_LINES and name not in TABLES} == {}


def test_no_function_is_longer_than_the_ceiling() -> None:
    long = {
        f"{shown(path)}:{node.lineno} {node.name}": body_lines(node)
        for path in checked()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > MOST_FUNCTION_LINES
    }
    assert long == {}


def test_the_exempt_tables_exist_and_need_it() -> None:
    for name in TABLES:
        assert len((ROOT / name).read_text().splitlines()) > MOST_FILE_LINES, f"{name} needs no exemption any more"
