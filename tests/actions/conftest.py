"""A runner over both spools, stopped at the end of the test whatever happened in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from acting import House, Make, Told, book_of

from actions.add_header import AddHeader
from actions.protocol import Action
from actions.runner import Tuning
from actions.stop import Stop
from spool.database import open_spool
from spool.memory import MemorySpool
from spool.ports import Spool


@pytest.fixture(params=["memory", "sqlite"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    houses: list[House] = []

    def spool() -> Spool:
        return MemorySpool() if request.param == "memory" else open_spool(tmp_path, 0, ballast_octets=0)

    def build(
        *rules: Any, tuning: Tuning | None = None, book: dict[str, Any] | None = None, **actions: Action
    ) -> House:
        given: dict[str, Action] = {"add_header": AddHeader(), "stop": Stop(), "disk": Told(), **actions}
        if "function" in given:
            given["lambda"] = given.pop("function")
        house = House(book_of(*rules, **(book or {})), given, open=spool)
        if tuning is not None:
            house.tuning = tuning
        houses.append(house.start())
        return house

    yield build
    for house in houses:
        await house.stop(0)
        await house.spool.close()
