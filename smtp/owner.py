"""Who owns the connections and their tasks, as a connection sees it: the listener."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from mail.client import Client
from smtp.backend import Backend
from smtp.budget import Budget
from smtp.config import SmtpConfig
from smtp.door import Denial

if TYPE_CHECKING:
    from smtp.driver import Driver


class Owner(Protocol):
    config: SmtpConfig
    backend: Backend
    loop: asyncio.AbstractEventLoop
    budget: Budget
    is_draining: bool

    def joined(self, driver: "Driver") -> None: ...
    def gone(self, driver: "Driver") -> None: ...

    def admit(self, driver: "Driver", client: Client) -> Denial | None:
        """Whether one more connection is taken from this client: None, or the refusal."""

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it as a task to its end, whatever becomes of the connection."""
