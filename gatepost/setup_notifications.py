"""Writes SES's setup notification whenever another version of the rules is active, the first one included."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from actions.buckets import Buckets
from actions.setup_notification import write_setup_notifications
from rules.model import RuleBook

log = logging.getLogger("gatepost")
_LOOK_SECONDS = 1.0


async def keep_announcing(
    active: Callable[[], RuleBook],
    buckets: Buckets,
    clock: Callable[[], datetime],
    *,
    look_seconds: float = _LOOK_SECONDS,
) -> None:
    """Until it is cancelled; however a version became active: at the start, by its file, by a command."""
    announced = ""
    while True:
        book = active()
        if book.digest != announced:
            announced = book.digest
            written = await write_setup_notifications(book, buckets, clock())
            if written:
                log.info("%d setup notifications were written", written)
        await asyncio.sleep(look_seconds)
