"""What fuzzers feed: one function a grammar, from octets to nothing. One fails by raising, or by an assertion about the answer.

Only what a function documents may escape it; `Malformed` and its like are answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from session_target import session

from mail.address import Mailbox, parse_domain, parse_mailbox, parse_path
from mail.address_list import parse_address_list
from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Malformed
from mail.headers import parse_header
from mail.message import Message
from mail.receipt import Receipt
from mail.verdict import AuthResult, Verdicts
from verdicts.auth_results import authentication_results, forged_spans, property_value
from verdicts.canonical import BodyHashes
from verdicts.check_arc import check_arc
from verdicts.check_dkim import check_dkim
from verdicts.check_spf import check_spf
from verdicts.dkim_key import Key, parse_key
from verdicts.dkim_signature import Refused, read_signature, read_tags
from verdicts.dmarc_record import POLICIES, find_record
from verdicts.dns_resolver import LiveResolver
from verdicts.dns_zone import ZoneResolver
from verdicts.foreign_results import read_foreign_results
from verdicts.inquiry import Inquiry, OverBudget
from verdicts.policy import Policy
from verdicts.ports import Answer, Lookup

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SPF_WORDS = {"pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"}
DKIM_WORDS = {"pass", "fail", "policy", "neutral", "none", "temperror", "permerror"}
OCTETS = 8 * 1024
KEY = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
_PRINTABLE = re.compile(r"[ -~]*\Z")


def header_split(data: bytes) -> None:
    """The fields tile the header section, and what is cut is whole fields of it."""
    view = parse_header(data)
    assert 0 <= view.body_start <= len(data)
    position = 0
    for field in view.fields:
        assert (field.start, data[field.start : field.end]) == (position, field.raw)
        position = field.end
        assert isinstance(field.text, str)
    assert data[position : view.body_start] in (b"", b"\r\n")
    spans = {(field.start, field.end) for field in view.fields}
    assert spans.issuperset(forged_spans(view, "mx.example"))


def dkim_tags(data: bytes) -> None:
    """A signature field and a key record: read, or refused with a reason."""
    view = parse_header(b"DKIM-Signature:" + data.replace(b"\r\n\r\n", b"\r\n") + b"\r\n")
    with suppress(Refused):
        signature = read_signature(read_tags(view.fields[0]), now=int(NOW.timestamp()))
        assert parse_domain(signature.domain) == signature.domain
        assert signature.key_name.isascii()
    assert isinstance(parse_key(data.decode("latin-1")), Key | Malformed)


def dkim_message(data: bytes) -> None:
    """A whole message, with a key at hand for its first label."""
    message = Message.of(data)
    zone = {"s._domainkey.acme.example": {"TXT": [KEY]}}
    for check, name in ((check_dkim, "dkim"), (check_arc, "arc")):
        ask = Inquiry(ZoneResolver(zone)).begin(name)
        with suppress(OverBudget):
            found = check(ask, message, BodyHashes(data, message.header.body_start), received_at=NOW, policy=Policy())
            results = found if isinstance(found, tuple) else (found,)
            assert all(each.result in DKIM_WORDS and _PRINTABLE.match(each.reason) for each in results)


def spf_record(data: bytes) -> None:
    """A record, and what it includes, at the sender's domain."""
    records = data.decode("latin-1").split("\n")[:4]
    zone = {
        f"{name}.example": Answer(outcome=Lookup.RECORDS, records=(text,))
        for name, text in zip("abcd", records, strict=False)
    }
    ask = Inquiry(_Records(zone)).begin("spf")
    with suppress(OverBudget):
        result = check_spf(
            ask,
            ip="192.0.2.1",
            helo="h.example",
            reverse_path=Mailbox(local_part="a", domain="a.example"),
            received_at=NOW,
        )
        assert result.result in SPF_WORDS
        assert _PRINTABLE.match(result.reason)


class _Records:
    """TXT records by name; every other question finds nothing."""

    def __init__(self, texts: dict[str, Answer]) -> None:
        self._texts = texts

    async def lookup(self, name: str, type: str) -> Answer:  # noqa: A002
        return self.cached(name, type)

    def cached(self, name: str, type: str) -> Answer:  # noqa: A002
        return self._texts.get(name, _NOTHING) if type == "TXT" else _NOTHING


_NOTHING = Answer(outcome=Lookup.NONE)


def dmarc_record(data: bytes) -> None:
    record = find_record(data.decode("latin-1").split("\n")[:4])
    if record is not None:
        assert record.policy is None or record.policy in POLICIES
        assert {record.subdomain_policy, record.nonexistent_policy} <= {*POLICIES}
        assert 0 <= record.percent <= 100


def own_results(data: bytes) -> None:
    """Values of strangers in our field: it stays one field, and says nothing that we do not."""
    texts = [*data.decode("utf-8", "replace").split("\n"), "", "", "", ""]
    verdicts = Verdicts(
        spf=AuthResult(method="spf", result="fail", reason=texts[0], properties={"smtp.mailfrom": texts[0]}),
        dkim=(AuthResult(method="dkim", result="fail", properties={"header.d": texts[1], "header.i": texts[2]}),),
        arc=AuthResult(method="arc", result="fail", properties={"header.d": texts[3]}),
        dmarc=AuthResult(method="dmarc", result="fail", properties={"header.from": texts[0], "policy.arc": texts[1]}),
    )
    receipt = Receipt(
        message_id="0",
        received_at=NOW,
        client=Client(ip="192.0.2.1", helo=texts[2]),
        envelope=Envelope(reverse_path=None, recipients=()),
        size=0,
        digest="",
        verdicts=verdicts,
    )
    for style in ("ses", "rfc8601"):
        raw = authentication_results(receipt, authserv_id="mx.example", style=style)
        (field,) = parse_header(raw + b"\r\n").fields
        assert field.raw == raw
        assert b"\n" not in raw.replace(b"\r\n", b"")
        assert all(octet >= 32 or octet in b"\r\n" for octet in raw)
        assert forged_spans(parse_header(raw + b"\r\n"), "mx.example") == ((0, len(raw)),)
    said = read_foreign_results(field.value)
    assert [(each.method, each.result) for each in said.results] == [
        (name, "fail") for name in ("spf", "dkim", "arc", "dmarc")
    ]
    assert said.is_whole
    told = said.results[0].properties.get("smtp.mailfrom")
    assert told == (texts[0] if texts[0] and property_value(texts[0]) else None)


def foreign_results(data: bytes) -> None:
    said = read_foreign_results(data)
    for each in said.results:
        assert each.method == each.method.lower() != ""
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", each.result)
    again = read_foreign_results(data + b" (a comment)")
    assert not said.is_whole or again == said or len(data) > 60_000


def address(data: bytes) -> None:
    """What is read is written so that it is read again."""
    text = data.decode("utf-8", "replace")
    with suppress(Malformed):
        mailbox = parse_mailbox(text)
        assert parse_mailbox(str(mailbox)) == mailbox
    with suppress(Malformed):
        parse_path(text)
    with suppress(Malformed):
        domain = parse_domain(text)
        assert parse_domain(domain) == domain
        assert domain.isascii()
    for named in parse_address_list(text):
        assert isinstance(str(named), str)
        assert isinstance(named.domain, str)


def zone_answers(data: bytes) -> None:
    """A zone of lines `name type value`: refused with a reason, or every question has an answer."""
    zone: dict[str, Any] = {}
    for line in data.decode("utf-8", "replace").split("\n")[:20]:
        name, _, rest = line.partition(" ")
        kind, _, value = rest.partition(" ")
        entry = zone.setdefault(name, {} if value else rest)
        if isinstance(entry, dict):
            entry.setdefault(kind, []).append(value)
    with suppress(Malformed):
        resolver = ZoneResolver(zone)
        for name in zone:
            for kind in ("TXT", "A", "AAAA", "MX", "PTR", "CNAME"):
                answer = resolver.cached(name, kind)
                assert bool(answer.records) == (answer.outcome is Lookup.RECORDS)


def dns_wire(data: bytes) -> None:
    """The octets of an answer, behind the id and the question that were sent: an answer or a failure, never an exception."""
    asyncio.run(_asked(data))


async def _asked(data: bytes) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Name(data), local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")[:2]
    resolver = LiveResolver([f"{host}:{port}"], query_seconds=0.15)
    try:
        for kind in ("TXT", "MX"):
            answer = await resolver.lookup("a.example", kind)
            assert bool(answer.records) == (answer.outcome is Lookup.RECORDS)
            assert all(isinstance(record, str) for record in answer.records)
    finally:
        await resolver.close()
        transport.close()


class _Name(asyncio.DatagramProtocol):
    """A name server that answers every question with the same flags, counts and records."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        end = data.find(b"\0", 12) + 5
        self._transport.sendto(data[:2] + self._data[:10] + data[12:end] + self._data[10:], address)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        header_split,
        dkim_tags,
        dkim_message,
        spf_record,
        dmarc_record,
        own_results,
        foreign_results,
        address,
        zone_answers,
        dns_wire,
        session,
    )
}
