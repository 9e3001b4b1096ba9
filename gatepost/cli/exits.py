"""Exit codes, the same for every command (semantics.md §8)."""

OK = 0
FINDINGS = 1
USAGE = 2
FAILED = 3
TIMEOUT = 4
