"""A message of the spool, to be judged again: as it came, with what its verdicts rested on (house.md: same input, same answer)."""

import re
from dataclasses import dataclass

from gatepost.sample import Sample
from gatepost.scanners import Scanners
from mail.errors import Malformed
from mail.message import Message
from mail.receipt import Receipt, decode_receipt
from mail.values import changed
from mail.verdict import CHECKS, Status
from spool.ports import NotFound
from spool.reader import SpoolReader
from verdicts.dns_recorded import RecordedResolver
from verdicts.null_scanners import RecordedScanner

RECORDED = "recorded"  # the word of --dns
_ID = re.compile(r"[0-9a-v]{6,40}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A stored message as a sample, and the resolver and engines that answer as they did then; no network is asked.

    An engine that was not asked then is none: its verdict was DISABLED. `checks` are those that were made.
    """

    sample: Sample
    resolver: RecordedResolver
    scanners: Scanners
    checks: tuple[str, ...]


def may_be_id(text: str) -> bool:
    return _ID.match(text) is not None


async def read_recorded(reader: SpoolReader, message_id: str) -> Recorded:
    """Raises `Malformed` where what it needs is no longer kept."""
    try:
        stored = await reader.message(message_id)
        raw = await reader.body(message_id)
    except NotFound as error:
        raise Malformed(str(error)) from None
    if stored.header is None:
        raise Malformed("its header section is no longer kept (retention.headers)")
    receipt = decode_receipt(stored.receipt, stored.header, stored.answers)
    return Recorded(
        sample=_sample(receipt, raw),
        resolver=RecordedResolver(receipt.evidence),
        scanners=Scanners(spam=_engine("spam", receipt), virus=_engine("virus", receipt)),
        checks=tuple(check for check in CHECKS if receipt.verdicts.status(check) is not Status.DISABLED),
    )


def _sample(receipt: Receipt, raw: bytes) -> Sample:
    return Sample(
        file=receipt.message_id,
        message=Message.of(raw),
        envelope=receipt.envelope,
        client=receipt.client,
        now=receipt.received_at,
        recorded=changed(receipt, header=b""),
    )


def _engine(method: str, receipt: Receipt) -> RecordedScanner | None:
    return RecordedScanner(method, receipt.evidence) if method in receipt.evidence.scanner_replies else None
