"""Signed messages for tests: stock dkimpy signs, with its published test keys, and the zone holds the public halves."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dkim
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mail.headers import parse_header
from mail.message import Message
from mail.verdict import AuthResult
from verdicts.canonical import BodyHashes, HeaderForms
from verdicts.check_dkim import check_dkim
from verdicts.dkim_signature import select_fields, signed_text
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Inquiry
from verdicts.policy import Policy

KEYS = Path(__file__).parent.parent / "vectors" / "dkim-dkimpy"
PRIVATE_2048 = (KEYS / "2048_testkey.key").read_bytes()
PRIVATE_1024 = (KEYS / "1024_testkey.key").read_bytes()
PUBLIC_2048 = (KEYS / "2048_testkey_wo_markers.pub.txt").read_text().strip().removeprefix("v=DKIM1; k=rsa; p=")
PUBLIC_1024 = (KEYS / "1024_testkey_wo_markers.pub.txt").read_text().strip().removeprefix("v=DKIM1; k=rsa; p=")
RECORD = f"v=DKIM1; k=rsa; p={PUBLIC_2048.rpartition('p=')[2]}"
PUBLIC = RECORD.rpartition("p=")[2]

MESSAGE = (
    b"From: Ann <ann@acme.example>\r\nTo: bob@example.com\r\nSubject: hello  there\r\n"
    b"Date: Fri, 02 Jan 2026 03:04:05 +0000\r\nMessage-ID: <1@acme.example>\r\n\r\nHello  Bob,\t \r\n\r\nregards\r\n\r\n\r\n"
)
# dkimpy signs at the machine's clock; the checks are told a time after that.
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def sign(
    message: bytes = MESSAGE,
    *,
    selector: str = "s",
    domain: str = "acme.example",
    key: bytes = PRIVATE_2048,
    canonicalize: tuple[bytes, bytes] = (b"relaxed", b"relaxed"),
    include: Sequence[bytes] | None = None,
    **options: Any,
) -> bytes:
    """The message with a DKIM-Signature on top."""
    field = dkim.sign(
        message,
        selector.encode(),
        domain.encode(),
        key,
        canonicalize=canonicalize,
        include_headers=include or [b"from", b"to", b"subject", b"date"],
        **options,
    )
    return bytes(field) + message


def check(
    raw: bytes,
    zone: dict[str, Any] | None = None,
    *,
    received_at: datetime = LATER,
    policy: Policy = Policy(),  # noqa: B008
) -> tuple[AuthResult, ...]:
    message = Message.of(raw)
    if zone is None:
        zone = {"s._domainkey.acme.example": {"TXT": [RECORD]}}
    bodies = BodyHashes(raw, message.header.body_start)
    ask = Inquiry(ZoneResolver(zone)).begin("dkim")
    return check_dkim(ask, message, bodies, received_at=received_at, policy=policy)


def key_zone(*records: str) -> dict[str, Any]:
    return {"s._domainkey.acme.example": {"TXT": list(records)}}


def resigned(
    more: bytes = b"",
    *,
    names: bytes = b"from:to:subject:date",
    identity: bytes = b"",
    message: bytes = MESSAGE,
    algorithm: bytes = b"rsa-sha256",
) -> bytes:
    """A message signed by ourselves with tags that dkimpy would not write."""
    key: Any = load_pem_private_key(PRIVATE_2048, None)
    body = message.partition(b"\r\n\r\n")[2].rstrip(b"\r\n") + b"\r\n"
    kind = SHA1() if algorithm == b"rsa-sha1" else SHA256()
    digest = base64.b64encode(hashlib.new(kind.name, body).digest())
    tags = b"v=1; a=" + algorithm + b"; c=relaxed/simple; d=acme.example; s=s; " + identity + more
    head = b"DKIM-Signature: " + tags + b"h=" + names + b"; bh=" + digest + b"; b="
    view = parse_header(head + b"\r\n" + message)
    own = view.fields[0]
    fields = select_fields(names.decode().split(":"), view, own)
    signed = signed_text(own, "relaxed", fields, HeaderForms())
    return head + base64.b64encode(key.sign(signed, PKCS1v15(), kind)) + b"\r\n" + message
