"""Labelled mail on disk: directories of message files, or a list of labels and files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mail.crlf import wire_bytes
from mail.errors import Malformed

MAX_OCTETS = 64 << 20
LABELS = {"spam": True, "ham": False}
_LINE = re.compile(r"(spam|ham)[\s,]+(\S.*?)\s*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A message file and what a person called it."""

    path: Path
    is_spam: bool

    def raw(self) -> bytes:
        """The message as on the wire. Raises `Malformed` for one that is too large or empty, OSError."""
        if self.path.stat().st_size > MAX_OCTETS:
            raise Malformed(f"larger than {MAX_OCTETS:,} octets")
        data = self.path.read_bytes()
        if not data.strip():
            raise Malformed("is empty")
        return wire_bytes(data)[0]


def messages_in(directory: Path, *, is_spam: bool) -> Iterator[Labelled]:
    """Every file below a directory, in order of names; a file holds one message. Hidden ones are left out, and the envelope
    `FILE.yaml` beside a FILE."""
    for path in sorted(directory.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(directory).parts)
        beside = path.suffix == ".yaml" and path.with_suffix("").is_file()
        if path.is_file() and not hidden and not beside:
            yield Labelled(path, is_spam)


def labelled(source: Path) -> list[Labelled]:
    """The messages of a directory with `spam` and `ham` in it, or of a list with a line `spam PATH` or `ham PATH` for each.

    Paths are relative to the list. Raises `Malformed` with what is wrong.
    """
    if source.is_dir():
        missing = [name for name in LABELS if not (source / name).is_dir()]
        if missing:
            raise Malformed(f"{source} has no directory {' and none '.join(missing)}; expected spam and ham in it")
        return [each for name, is_spam in LABELS.items() for each in messages_in(source / name, is_spam=is_spam)]
    found = []
    for number, line in enumerate(source.read_text(encoding="utf-8", errors="surrogateescape").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise Malformed(f"{source}:{number}: expected spam or ham, and a path")
        found.append(Labelled(source.parent / match.group(2), LABELS[match.group(1).lower()]))
    return found
