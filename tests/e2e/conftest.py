"""Fixtures of the tests that start the real program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gateway_process import PROGRAM, PYTHON, GatewayProcess, Start
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


@contextmanager
def gateways(base: Path) -> Iterator[Start]:
    """Makes gateways, started unless `start=False`. At the end each must stop cleanly, and no Python may stand in its output."""
    made: list[GatewayProcess] = []

    def make(*, start: bool = True, rules: Path | str | None = None, **given: object) -> GatewayProcess:
        directory = base / f"gateway{len(made)}"
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
        assert not PYTHON.search(each.output), each.output


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Start]:
    with gateways(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """For tests that leave a gateway as they found it."""
    with gateways(tmp_path_factory.mktemp("shared")) as make:
        yield make
