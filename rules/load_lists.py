"""Files that a rules file names: one network or address a line, `#` begins a comment. They become part of the book.

*Trust.* Lists are often fetched from elsewhere: size and entries are bounded and every entry is checked like one of the rules file.
*Failure.* Findings; those about an entry carry the list's own file name and line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rules.schema_nodes import Node, Scalar, shown
from rules.schema_reading import Reading

MAX_LIST_OCTETS = 32 * 2**20
MAX_ENTRIES = 1_000_000


def read_bounded(path: Path, limit_octets: int) -> bytes | str:
    """The content of a regular file, or a sentence that says why there is none."""
    try:
        if path.exists() and not path.is_file():
            return "is not a regular file"
        with path.open("rb") as file:
            content = file.read(limit_octets + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "bad file name"
        return f"cannot be read: {reason[0].lower()}{reason[1:]}"
    if len(content) > limit_octets:
        return f"is larger than {limit_octets // 2**20} MiB"
    return content


def read_list_file(
    reading: Reading, node: Node, what: str, read: Callable[[Reading, Node, str], str | None]
) -> list[str | None]:
    """The entries of the file that `node` names, relative to the rules file."""
    name = reading.text(node, f"{what} file")
    if name is None:
        return []
    reading.files.append(reading.base / name)
    content = read_bounded(reading.base / name, MAX_LIST_OCTETS)
    if isinstance(content, str):
        reading.error("unreadable-file", node, f"{what} file {shown(name)} {content}")
        return []
    entries = _entries(content.decode("utf-8-sig", "replace"))
    if len(entries) > MAX_ENTRIES:
        reading.error("too-many-values", node, f"{what} file {shown(name)} has more than {MAX_ENTRIES:,} entries")
        return []
    shown_as = str(Path(reading.report.file).parent / name)
    within = replace(reading, report=reading.report.within(shown_as))
    return [read(within, entry, what) for entry in entries]


def _entries(text: str) -> list[Scalar]:
    entries = []
    for number, line in enumerate(text.split("\n"), 1):
        entry = line.partition("#")[0].strip()
        if entry:
            entries.append(Scalar(entry, entry, True, number, line.index(entry) + 1))
    return entries
