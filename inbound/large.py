"""A message that is too large to be kept in memory, while it is received and judged: it stands in a file of the spool.

*Trust.* It is hostile, and there may be as many as there are connections: none takes room that the disk's reserve needs.
*Failure.* After a failure what still comes is passed over, since a client can be answered at the end of its message only; then
`finish` raises it.
"""

from inbound.admission import is_below_reserve
from inbound.ports import Services
from mail.errors import Temporary
from mail.octets import Octets
from spool.ports import Arriving, Full
from verdicts.arriving import ArrivingMessage


class LargeMessage:
    """`hashes` are what was made of it so far. Whoever makes one calls `discard` in the end, whatever became of it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._file: Arriving | None = None
        self._failure: Temporary | None = None
        self.hashes = ArrivingMessage(is_verified=services.settings.verifies_signatures)

    async def add(self, octets: bytes) -> None:
        if self._failure is not None:
            return
        try:
            await self._write(octets)
        except Temporary as failure:
            self._failure = failure
            await self.discard()
        else:
            self.hashes.add(octets)

    async def _write(self, octets: bytes) -> None:
        spool = self._services.spool
        if is_below_reserve(spool.load(), self._services.settings):
            raise Full("what is left of the disk is held in reserve")
        if self._file is None:
            self._file = spool.arriving()
        await self._file.write(octets)

    async def finish(self, rest: bytes) -> Octets:
        """The whole message, of which `rest` came last."""
        await self.add(rest)
        if self._failure is not None:
            raise self._failure
        assert self._file is not None
        return await self._file.finish()

    async def discard(self) -> None:
        """Nothing of it stays on the disk, unless the spool has accepted it."""
        if self._file is not None:
            await self._file.discard()
