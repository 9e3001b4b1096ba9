"""Text for people: strangers' text made visible, aligned tables, wrapped lines, colours, times and sizes.

*Trust.* Whatever came by mail may hold escape sequences, line breaks and writing that runs backwards. Every text that a command
prints goes through `visible`; programs' JSON goes through `visible_json`. Neither ever lets a terminal act on it.
*Failure.* None: a character that the output cannot show is shown as its escape.
"""

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import zip_longest

import click

from mail.charset import charset, decoded

NARROWEST, WIDEST = 60, 140  # a line longer than this is not read any more
MARKS_IN_A_ROW = 3  # combining marks on one character; beyond them they only deface the neighbouring lines

# What joins letters in Persian or parts of an emoji is meant; between ASCII letters it only hides.
_JOINERS = "\u200c\u200d"
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_IN_JSON = re.compile(
    r"[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff]"
)
_BEYOND_JSON = re.compile(r"[\U000e0000-\U000e0fff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# What each mark is where the output has no Unicode.
_ASCII = {"✓": "+", "·": "-", "✗": "x", "→": "->", "←": "<-", "…": "...", "─": "-", "└": "`-", "?": "?"}

_UNITS = (("kB", 10**3), ("MB", 10**6), ("GB", 10**9))

COLOURS = {
    "done": "green",
    "accepted": "green",
    "stored": "green",
    "pass": "green",
    "would_run": "cyan",
    "active": "cyan",
    "ready": "cyan",
    "leased": "cyan",
    "retrying": "yellow",
    "deferred": "yellow",
    "suppressed": "yellow",
    "unhandled": "yellow",
    "unmapped": "yellow",
    "gray": "yellow",
    "processing_failed": "yellow",
    "parked": "red",
    "failed": "red",
    "fail": "red",
    "dead": "red",
    "refused": "red",
    "rejected": "red",
    "aborted": "red",
}
"""One colour for each word of an outcome, a state or a verdict, the same on every screen."""


def speaks_unicode() -> bool:
    """Whether standard output takes any character."""
    return (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "") in ("utf8", "utf8sig")


def is_terminal() -> bool:
    return sys.stdout.isatty()


def colours() -> bool | None:
    """False if `NO_COLOR` is set (no-color.org) or the terminal knows no sequences; None: where the output is a terminal."""
    return False if os.environ.get("NO_COLOR") or is_dumb() else None


def is_dumb() -> bool:
    """Whether the terminal says that it acts on no sequences: an editor's, a serial line's."""
    return os.environ.get("TERM") == "dumb"


def width() -> int:
    """Columns to lay out for: the terminal's, within reason; 100 in a pipe."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((100, 24)).columns))


def visible(text: str) -> str:
    """The text on one line, with everything that is not plainly seen as its escape (`\\x1b`, `\\u202e`)."""
    if text.isascii() and text.isprintable():
        return text
    unicode = speaks_unicode()
    out: list[str] = []
    marks = 0
    for position, character in enumerate(text):
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if (
            (category in _HIDDEN and not _joins(text, position))
            or marks > MARKS_IN_A_ROW
            or not (unicode or character.isascii())
        ):
            out.append(_escape(character))
        else:
            out.append(character)
    return "".join(out)


def _joins(text: str, position: int) -> bool:
    around = text[max(0, position - 1) : position + 2]
    return text[position] in _JOINERS and len(around) == 3 and not around[0].isascii() and not around[2].isascii()


def _escape(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible_json(encoded: str) -> str:
    """JSON text with what a terminal would act on, or could not print, as JSON's own escapes: the value stays the same."""
    if encoded.isascii() and "\x7f" not in encoded:
        return encoded
    if not speaks_unicode():
        return re.sub(r"[^ -~]", lambda found: _json_escape(found.group()), encoded)
    safe = _IN_JSON.sub(lambda found: _json_escape(found.group()), encoded)
    return _BEYOND_JSON.sub(lambda found: _json_escape(found.group()), safe)


def _json_escape(character: str) -> str:
    octets = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{octets[at] << 8 | octets[at + 1]:04x}" for at in range(0, len(octets), 2))


def mark(character: str) -> str:
    """One of our own signs, or what stands for it in ASCII."""
    return character if speaks_unicode() else _ASCII[character]


def word(text: str, shown: str | None = None) -> str:
    """A word of ours in its colour, any other text as it is; `shown` in its place."""
    shown = visible(text if shown is None else shown)
    colour = COLOURS.get(text.lower())
    return click.style(shown, fg=colour) if colour else shown


def faint(text: str) -> str:
    return click.style(text, dim=True)


def bold(text: str) -> str:
    return click.style(text, bold=True)


def columns_of(text: str) -> int:
    """How many columns the text takes: wide characters two, combining ones none, colours none."""
    plain = click.unstyle(text)
    if plain.isascii():
        return len(plain)
    return sum(_columns(character) for character in plain)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shortened(text: str, columns: int) -> str:
    """Unstyled text in at most so many columns, its end cut with an ellipsis."""
    if columns_of(text) <= columns:
        return text
    end = mark("…")
    room = columns - len(end)
    kept: list[str] = []
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + end


def padded(text: str, columns: int) -> str:
    return text + " " * (columns - columns_of(text))


def table(rows: Iterable[Sequence[str]], *, head: Sequence[str] = (), gap: str = "  ") -> str:
    """Rows of finished (visible, perhaps coloured) cells in aligned columns; the last is not padded. "" without rows."""
    cells = [tuple(row) for row in rows]
    if not cells:
        return ""
    if head:
        cells.insert(0, tuple(faint(name) if name else "" for name in head))
    widths = [max(map(columns_of, column)) for column in zip_longest(*cells, fillvalue="")]
    lines = []
    for row in cells:
        line = gap.join(padded(cell, size) for cell, size in zip(row, widths, strict=False))
        lines.append(line.rstrip())
    return "\n".join(lines)


def wrapped(text: str, *, indent: str, first: str | None = None, columns: int | None = None) -> str:
    """Unstyled text broken between words at the width; `first` stands before the first line instead of `indent`."""
    lead = indent if first is None else first
    limit = columns or width()
    lines: list[str] = []
    line = ""
    for piece in text.split(" "):
        room = limit - columns_of(lead if not lines else indent)
        if line and columns_of(line) + 1 + columns_of(piece) > room:
            lines.append(line)
            line = piece
        else:
            line = f"{line} {piece}" if line else piece
    lines.append(line)
    return "\n".join((lead if number == 0 else indent) + part for number, part in enumerate(lines))


def size_text(octets: int) -> str:
    """`912 B`, `3.1 kB`, `24 MB`: powers of ten, as in the settings."""
    if octets < 1000:
        return f"{octets} B"
    unit, factor = next((each for each in _UNITS if octets < 999.5 * each[1]), _UNITS[-1])
    value = octets / factor
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def time_text(moment: datetime) -> str:
    """`2026-01-13 21:02:45Z`: UTC, as everywhere in our records."""
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def span_text(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h`, `5 d`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def visible_lines(content: bytes, charset_name: str = "") -> str:
    """Bytes as text of several lines, each of them `visible`; tabs stay. An unknown charset is read as UTF-8."""
    text = decoded(content, charset(charset_name) or "utf-8", "backslashreplace")
    lines = text.removesuffix("\n").replace("\r\n", "\n").removesuffix("\r").split("\n")
    return "\n".join("\t".join(map(visible, line.split("\t"))) for line in lines)
