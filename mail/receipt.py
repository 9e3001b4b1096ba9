"""The receipt: all that a rule may look at, and all that a replay needs (house: `Receipt` is the machine's complete input).

It is stored with the message as JSON, apart from the header section (which is the message's own) and the DNS answers (which
many messages share and which are stored once by digest).
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from mail.client import Client
from mail.envelope import Envelope
from mail.headers import HeaderView, parse_header
from mail.message import Span, without_spans
from mail.values import Value, changed, field
from mail.verdict import Verdicts


class Query(Value, frozen=True, kw_only=True):
    """One DNS answer that a check used. `outcome` is records, none or temporary; `digest` names the answer's content."""

    check: str
    name: str
    type: str
    outcome: str
    digest: str
    ttl_left: int


class Evidence(Value, frozen=True, kw_only=True):
    """What the checks were told (semantics.md §5). `answers` maps a digest to the records, each a JSON-able list of strings."""

    queries: tuple[Query, ...] = ()
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scanner_replies: Mapping[str, str] = field(default_factory=dict)


class Attachment(Value, frozen=True, kw_only=True):
    """One MIME part that has a file name or an attachment disposition; `octets` are of the decoded content."""

    name: str
    type: str
    octets: int


class Receipt(Value, frozen=True, kw_only=True):
    """One received message, judged.

    `size` and `digest` (SHA-256, hex) are of the bytes as they came. `header` is the header section as it came, with the blank
    line that ends it; `cut` are the spans of fields that only we may write, which rules and actions do not see.
    `rule_set` is the digest of the pinned rule book. `attachments` and `longest_line` (octets without CRLF) are None unless
    the rule set asks. `dnsbl` are the names of the lists that list the client; `prepended_by` is our host name.
    """

    message_id: str
    received_at: datetime
    client: Client
    envelope: Envelope
    size: int
    digest: str
    verdicts: Verdicts
    rule_set: str = ""
    evidence: Evidence = Evidence()
    header: bytes = b""
    cut: tuple[Span, ...] = ()
    attachments: tuple[Attachment, ...] | None = None
    longest_line: int | None = None
    dnsbl: tuple[str, ...] = ()

    @property
    def fields(self) -> HeaderView:
        """The header section as rules and actions see it: forged fields are gone."""
        return parse_header(without_spans(self.header, self.cut))


def encode_receipt(receipt: Receipt) -> bytes:
    """The receipt as JSON without header section and DNS answers, which are stored beside it."""
    bare = changed(receipt, header=b"", evidence=changed(receipt.evidence, answers={}))
    return msgspec.json.encode(bare)


_decoder = msgspec.json.Decoder(Receipt)


def decode_receipt(data: bytes, header: bytes, answers: Mapping[str, tuple[str, ...]]) -> Receipt:
    """The receipt as it was, from its three stored parts."""
    bare = _decoder.decode(data)
    return changed(bare, header=header, evidence=changed(bare.evidence, answers=answers))
