"""Regular expressions that hostile text cannot slow down: google-re2, linear in the text, bounded in memory (semantics.md §2).

*Trust.* The pattern is the owner's, the text anybody's.
*Failure.* Without google-re2 every pattern is refused with that reason; there is no slower engine to fall back to.
"""

from collections.abc import Callable
from typing import Any

from mail.errors import Malformed

try:
    import re2
except ImportError:
    re2 = None

MAX_PATTERN_OCTETS = 1 << 20  # RE2's budget for one pattern and its automaton
MISSING = "google-re2 is not installed, so `matches` cannot be used"


def pattern_error(pattern: str) -> str | None:
    """What is wrong with a pattern, in RE2's words; None if it can be used."""
    try:
        compile_pattern(pattern)
    except Malformed as error:
        return str(error)
    return None


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A test whether the pattern is found anywhere in a text, without regard to case. Raises `Malformed`."""
    compiled = _compiled(pattern, never_capture=True)

    def is_found(text: str) -> bool:
        return compiled.search(text.encode(errors="replace")) is not None

    return is_found


Captured = Callable[[str], dict[str, str] | None]


def compile_captures(pattern: str) -> Captured:
    """What the named groups of a pattern captured in a text, those that took part; None where it is not found."""
    compiled = _compiled(pattern, never_capture=False)

    def find(text: str) -> dict[str, str] | None:
        found = compiled.search(text.encode(errors="replace"))
        if found is None:
            return None
        groups = found.groupdict()
        return {name.decode(): held.decode(errors="replace") for name, held in groups.items() if held is not None}

    return find


def group_names(pattern: str) -> list[str]:
    """The names of its groups; none for a pattern that cannot be used."""
    try:
        return [name.decode() for name in _compiled(pattern, never_capture=False).groupindex]
    except Malformed:
        return []


def _compiled(pattern: str, *, never_capture: bool) -> Any:
    if re2 is None:
        raise Malformed(MISSING)
    options = re2.Options()
    options.max_mem = MAX_PATTERN_OCTETS
    options.case_sensitive = False
    options.never_capture = never_capture
    options.log_errors = False
    try:
        return re2.compile(pattern.encode(errors="replace"), options=options)
    except re2.error as error:
        detail = error.args[0]
        raise Malformed(detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)) from None
