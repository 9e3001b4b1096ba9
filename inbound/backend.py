"""The factory that the SMTP listener is given: one `InboundSession` per connection."""

from inbound.ports import Services
from inbound.session import InboundSession


class InboundBackend:
    """`smtp.backend.Backend` for mail from strangers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def __call__(self) -> InboundSession:
        return InboundSession(self._services)
