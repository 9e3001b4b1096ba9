"""Signed messages are judged with what the tests of verdicts judge with."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "verdicts"))
