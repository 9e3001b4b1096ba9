"""The virus scan by clamd, over unix sockets and TCP (clamd(8): zINSTREAM).

The clamd package parses the replies. Its own client sends 1 KB at a time, ignores short writes and connects without a time
limit (python-packages A.5), so the octets travel by `verdicts.daemon`.

*Trust.* The message is hostile and never leaves as anything but raw octets. The daemon is the operator's.
*Failure.* `Permanent` for a message larger than our limit or clamd's, `Temporary` for everything else that is not a verdict:
only `stream: OK` to the whole message is PASS.
"""

import asyncio
import struct
import warnings
from collections.abc import AsyncIterator, Sequence

from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Permanent, Temporary
from mail.octets import Octets
from mail.verdict import ScanResult, Status
from verdicts.daemon import Daemons, Endpoint, Timing, at_once, exchange, in_pieces

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks pkg_resources for its own version, which is deprecated
    import clamd

CHUNK_OCTETS = 128 * 1024
VERSION_SECONDS = 60.0
_SHOWN = 200


class ClamdScanner:
    """`verdicts.ports.Scanner`. Used in one event loop; `size_limit` in octets."""

    name = "clamd"

    def __init__(self, endpoints: Sequence[Endpoint], *, size_limit: int, timing: Timing | None = None) -> None:
        self._size_limit = size_limit
        self._timing = timing or Timing()
        self._daemons = Daemons(endpoints, self._ping, self._timing)
        self._versions: dict[Endpoint, tuple[float, str]] = {}

    async def scan(self, raw: Octets, envelope: Envelope, client: Client, message_id: str = "") -> ScanResult:
        del envelope, client, message_id
        if len(raw) > self._size_limit:
            limit = f"virus.size_limit is {self._size_limit:,}"
            raise Permanent(f"not scanned: too large, {len(raw):,} octets where {limit}")
        return await self._daemons.ask(lambda endpoint: self._scan(endpoint, raw))

    async def _scan(self, endpoint: Endpoint, raw: Octets) -> ScanResult:
        reply = await exchange(endpoint, _instream(raw), _ends, self._timing)
        symbol = _symbol(reply.octets, endpoint, is_sent=reply.is_sent)
        return ScanResult(
            status=Status.PASS if symbol is None else Status.FAIL,
            engine=self.name,
            version=await self._version(endpoint),
            reason="" if symbol is None else f"found {symbol}",
            symbols=() if symbol is None else (symbol,),
        )

    async def _version(self, endpoint: Endpoint) -> str:
        """Engine and signatures, asked again once a minute; "" from a daemon that does not say: the scan stands."""
        now = asyncio.get_running_loop().time()
        asked_at, version = self._versions.get(endpoint, (-VERSION_SECONDS, ""))
        if now - asked_at < VERSION_SECONDS:
            return version
        try:
            async with asyncio.timeout(self._timing.connect):
                version = await self._command(endpoint, b"zVERSION\0")
        except (TimeoutError, Temporary):
            version = ""
        self._versions[endpoint] = (now, version if version.startswith("ClamAV") else "")
        return self._versions[endpoint][1]

    async def _ping(self, endpoint: Endpoint) -> None:
        said = await self._command(endpoint, b"zPING\0")
        if said != "PONG":
            raise Temporary(f"{endpoint} answered {said[:_SHOWN]!r} to a ping")

    async def _command(self, endpoint: Endpoint, command: bytes) -> str:
        reply = await exchange(endpoint, at_once(command), _ends, self._timing)
        return _text(reply.octets)


async def _instream(raw: Octets) -> AsyncIterator[bytes]:
    """The message in chunks behind their lengths, a length of 0 at the end."""
    if len(raw) <= CHUNK_OCTETS:
        head = struct.pack("!L", len(raw)) if raw else b""
        yield b"".join((b"zINSTREAM\0", head, raw[:], struct.pack("!L", 0)))
        return
    yield b"zINSTREAM\0"
    async for chunk in in_pieces(raw):
        yield struct.pack("!L", len(chunk))
        yield chunk
    yield struct.pack("!L", 0)


def _ends(octets: bytes) -> bool:
    return b"\0" in octets


def _text(octets: bytes) -> str:
    return octets.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _symbol(octets: bytes, endpoint: Endpoint, *, is_sent: bool) -> str | None:
    """The signature that was found, None for a clean message. Raises `Temporary` or `Permanent` for what is no verdict."""
    said = _text(octets)
    if said.startswith("INSTREAM size limit exceeded"):
        raise Permanent("not scanned: too large for clamd (its StreamMaxLength)")
    if not _ends(octets):
        rest = f" in the middle of {said[:_SHOWN]!r}" if said else ""
        raise Temporary(f"{endpoint} closed the connection{rest or ' without an answer'}")
    found = clamd.scan_response.match(said)
    path, virus, status = found.group("path", "virus", "status") if found else ("", None, "")
    if path == "stream" and status == "FOUND" and virus:
        return str(virus)
    if path == "stream" and status == "OK" and not virus:
        if not is_sent:
            raise Temporary(f"{endpoint} answered before it had the whole message")
        return None
    raise Temporary(f"{endpoint} answered {said[:_SHOWN]!r}")
