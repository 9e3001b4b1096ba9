"""A worker that ended is started again for as long as it takes, whatever the system lacks meanwhile."""

import asyncio
import errno
import logging
from typing import Any

import pytest

from gatepost.worker_ends import BackOff
from gatepost.workers import Errand, Workers
from mail.errors import Temporary


class Dead:
    """The process that ended."""

    pid = 4711


class Scarce(Workers):
    """The system has what a process needs at the last attempt only."""

    lacks: list[Exception]

    async def _begin(self, place: Any) -> None:
        if self.lacks:
            raise self.lacks.pop(0)
        place.ready.set()


async def nothing(_: dict[str, Any]) -> None: ...


async def test_a_system_that_has_no_room_for_a_process_now_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gatepost")
    back_off = BackOff(first=0.001, most=0.001)
    workers = Scarce(1, lambda _: Errand(request={}, sockets=()), handler=nothing, back_off=back_off)
    workers.lacks = [
        OSError(errno.EMFILE, "Too many open files"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
        Temporary("its shard is held"),
    ]
    (place,) = workers._places
    place.process, place.deaths = Dead(), 1  # type: ignore[assignment]
    await asyncio.wait_for(workers._start_again(place, "was killed by SIGKILL"), 10)
    assert place.ready.is_set()
    assert "cannot start: [Errno 24] Too many open files" in caplog.text
