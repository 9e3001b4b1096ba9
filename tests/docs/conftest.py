"""One console for each page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from console import Console


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """A copy of the samples, and the gateway that a page starts there; it ends with the test."""
    made = Console(tmp_path)
    yield made
    made.close()
