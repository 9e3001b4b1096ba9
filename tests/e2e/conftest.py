"""Fixtures of the tests that start the real program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_process import PROGRAM, GatewayProcess, Start
from webhook_sink import Sink


@pytest.fixture
def gatepost_program() -> tuple[str, ...]:
    """The command line's beginning."""
    return PROGRAM


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Start]:
    """Makes a gateway, started unless `start=False`. At the end it must stop cleanly, and no Python may stand in its output."""
    made: list[GatewayProcess] = []

    def make(*, start: bool = True, rules: Path | str | None = None, **given: object) -> GatewayProcess:
        directory = tmp_path / f"gateway{len(made)}"
        directory.mkdir()
        if isinstance(rules, str):
            written = directory / "rules.yaml"
            written.write_text(rules)
            rules = written
        process = GatewayProcess(directory=directory, rules=rules, **given)  # type: ignore[arg-type]
        made.append(process)
        return process.start() if start else process

    try:
        yield make
        codes = [each.stop() for each in made if each.process is not None and each.process.poll() is None]
    finally:
        for each in made:
            each.kill()
    assert codes == [0] * len(codes), "".join(each.output for each in made)
    for each in made:
        assert not re.search(r"Traceback|Error\b.*File \"|never awaited|Task exception", each.output), each.output
