"""Scanners without an engine: the one that answers from recorded evidence. Having no engine at all is `None`."""

import msgspec

from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Temporary
from mail.octets import Octets
from mail.receipt import Evidence
from mail.values import changed
from mail.verdict import ScanResult

REPLY_OCTETS = 8 * 1024  # semantics.md §5

_decoder = msgspec.json.Decoder(ScanResult)


def recorded_reply(result: ScanResult) -> str:
    """A scan's result as evidence, which is as long as `bounded` left it."""
    return msgspec.json.encode(result).decode()


def bounded(result: ScanResult) -> ScanResult:
    """A result whose evidence is of at most 8 KiB, so that the verdict and its replay are the same; of too many symbols the last
    ones are left out."""
    result = changed(
        result,
        engine=result.engine[:64],
        version=result.version[:128],
        reason=result.reason[:512],
        symbols=tuple(symbol[:128] for symbol in result.symbols[:256]),
    )
    while result.symbols and len(msgspec.json.encode(result)) > REPLY_OCTETS:
        result = changed(result, symbols=result.symbols[: len(result.symbols) // 2])
    return result


class RecordedScanner:
    """Answers what the engine said when the message was judged. Raises `Temporary` if it was not asked then."""

    def __init__(self, method: str, evidence: Evidence) -> None:
        reply = evidence.scanner_replies.get(method)
        self._result = None if reply is None else _decoder.decode(reply)
        self.name = self._result.engine if self._result else "recorded"

    async def scan(self, raw: Octets, envelope: Envelope, client: Client, message_id: str = "") -> ScanResult:
        del raw, envelope, client, message_id
        if self._result is None:
            raise Temporary("no scan was recorded")
        return self._result
