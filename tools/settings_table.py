"""Writes the table of settings into docs/settings.md, from the table that the program reads: `python -m tools.settings_table`."""

import sys
from pathlib import Path
from typing import Any

from gatepost.settings import Described, table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
BEGIN, END = "<!-- begin: python -m tools.settings_table -->\n", "<!-- end -->\n"
# What a value of each kind looks like; the page explains them below the table.
KINDS = {
    "duration0": "duration",
    "deadline": "duration",
    "workers": "count",
    "endpoints": "list of endpoint",
    "texts": "list of text",
    "dns_lists": "list of text",
    "domains": "list of text",
    "addresses": "list of text",
    "hook": "webhook",
    "cidrs": "list of CIDR",
    "paths": "list of path",
    "checks": "list of these",
}
_UNITS = ((2**30, "GiB"), (10**6, "MB"), (2**20, "MiB"))
_TIMES = ((86_400, "d"), (3_600, "h"), (60, "m"))


def rendered() -> str:
    """The whole table as Markdown, sections in the order of the program's table."""
    lines = ["| setting | kind | default | read | what it does |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| `{row.name}` | {_kind(row)} | {_default(row)} | {_read(row)} | {_escaped(row.text)} |" for row in table()
    ]
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with the table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{rendered()}\n{END}{after}"


def _read(row: Described) -> str:
    return "reload" if row.at_reload else "start"


def _kind(row: Described) -> str:
    kind = [] if row.words and row.kind == "word" else [KINDS.get(row.kind, row.kind)]
    return " or ".join([*(f"`{word}`" for word in row.words), *kind])


def _default(row: Described) -> str:
    value: Any = row.default
    if value in ("", None, (), {}):
        return "none"
    if row.kind == "size":
        return f"`{_in_units(value, _UNITS)}`"
    if row.kind in ("duration", "duration0", "deadline"):
        return f"`{_in_units(value, _TIMES) if value % 60 == 0 else f'{value}s'}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value)
    return f"`{value}`"


def _in_units(value: int, units: tuple[tuple[int, str], ...]) -> str:
    return next((f"{value // unit}{name}" for unit, name in units if value and value % unit == 0), str(value))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page."""
    PAGE.write_text(with_table(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
