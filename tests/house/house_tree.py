"""The tree as the house rules see it: our packages, their files and what each file imports."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
# A package imports only from floors below its own, never sideways.
FLOORS = {
    "mail": 0,
    "rules": 1,
    "verdicts": 1,
    "smtp": 1,
    "spool": 1,
    "actions": 2,
    "inbound": 2,
    "outbound": 2,
    "gatepost": 4,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported module, by its dotted name, and where."""

    module: str
    path: str
    line: int

    @property
    def top(self) -> str:
        """The top-level name."""
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.module}"


def packages() -> list[str]:
    """The packages of the floors that exist, those of later floors last."""
    return [name for name in FLOORS if (ROOT / name).is_dir()]


def sources(*names: str) -> list[Path]:
    """Every Python file of the packages named, or of all of them."""
    return [path for name in names or packages() for path in sorted((ROOT / name).rglob("*.py"))]


def shown(path: Path) -> str:
    """The path as a person names it."""
    return path.relative_to(ROOT).as_posix()


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file; read once."""
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file, at whatever depth, those for types only and those by `import_module("...")` too."""
    for node in ast.walk(parse(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                names = [str(first.value)]
        for name in names:
            yield Import(module=name, path=shown(path), line=getattr(node, "lineno", 0))


@cache
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@cache
def tracked() -> list[Path]:
    """The files that git keeps here, new ones that it would not ignore included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
