"""A signer written from RFC 6376's text line by line, and sharing nothing with `verdicts/`: what it signs must verify.

A message is a template: in its DKIM-Signature, ARC-Message-Signature or ARC-Seal field stands `{bh}` and `{b}`, everything
else is as it goes over the wire. The tests' published keys sign.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

KEYS = Path(__file__).resolve().parent.parent / "vectors" / "dkim-dkimpy"


@lru_cache(maxsize=8)
def private_key(name: str) -> Any:
    """rsa2048, rsa1024, or ed25519 (RFC 8032 §7.1, whose secret RFC 8463 appendix A publishes)."""
    if name == "ed25519":
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="))
    return load_pem_private_key((KEYS / f"{name.removeprefix('rsa')}_testkey.key").read_bytes(), None)


def public_key(name: str, *, form: str = "SubjectPublicKeyInfo") -> str:
    """p= of a key record; `form` may be PKCS1 (RFC 6376 erratum 3017)."""
    public = private_key(name).public_key()
    if name == "ed25519":
        return base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    return base64.b64encode(public.public_bytes(Encoding.DER, getattr(PublicFormat, form))).decode()


def fields_of(head: bytes) -> list[bytes]:
    """The fields of a header section, each with its CRLF."""
    return re.findall(rb"[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", head)


def canonical_field(field: bytes, form: str) -> bytes:
    """RFC 6376 §3.4.1 and §3.4.2."""
    if form == "simple":
        return field
    name, _, value = field.partition(b":")
    value = value.replace(b"\r\n", b"")
    value = re.sub(rb"[ \t]+", b" ", value).strip(b" \t")
    return name.strip(b" \t").lower() + b":" + value + b"\r\n"


def canonical_body(body: bytes, form: str) -> bytes:
    """RFC 6376 §3.4.3 and §3.4.4."""
    lines = body.split(b"\r\n")
    if lines[-1] == b"":
        lines.pop()
    if form == "relaxed":
        lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" \t") for line in lines]
    while lines and lines[-1] == b"":
        lines.pop()
    if not lines:
        return b"" if form == "relaxed" else b"\r\n"
    return b"".join(line + b"\r\n" for line in lines)


def sealed(
    template: bytes,
    *,
    field: bytes,
    names: Sequence[str],
    forms: str = "relaxed/relaxed",
    key: str = "rsa2048",
    limit: int | None = None,
    sha1: bool = False,
    whole: Sequence[bytes] = (),
    folded: bytes = b"",
) -> bytes:
    """The template with `{bh}` and `{b}` of its first field that begins with `field` filled in.

    `names` are the header fields that are signed, in their order. `whole` are canonical fields that are signed as they are,
    `folded` is put between every eight characters of b=.
    """
    head, _, body = template.partition(b"\r\n\r\n")
    header_form, _, body_form = forms.partition("/")
    digest = hashlib.sha1 if sha1 else hashlib.sha256
    octets = canonical_body(body, body_form or "simple")
    octets = octets if limit is None else octets[:limit]
    template = template.replace(b"{bh}", base64.b64encode(digest(octets).digest()), 1)
    head = template.partition(b"\r\n\r\n")[0] + b"\r\n"
    fields = fields_of(head)
    own = next(one for one in fields if one.lower().startswith(field.lower()) and b"{b}" in one)
    left = [one for one in fields if one is not own]
    signed = list(whole)
    for name in names:
        for number in range(len(left) - 1, -1, -1):  # RFC 6376 §5.4.2: from the bottom up
            if left[number].partition(b":")[0].strip(b" \t").lower() == name.encode().lower():
                signed.append(canonical_field(left.pop(number), header_form))
                break
    signed.append(
        canonical_field(re.sub(rb"=[ \t\r\n]*\{b\}[^;]*", b"=", own, count=1), header_form).removesuffix(b"\r\n")
    )
    text = base64.b64encode(_signature(key, b"".join(signed), sha1=sha1))
    return template.replace(b"{b}", folded.join(re.findall(rb".{1,8}", text)) if folded else text, 1)


def _signature(key: str, text: bytes, *, sha1: bool) -> bytes:
    private = private_key(key)
    if key == "ed25519":
        return bytes(private.sign(hashlib.sha256(text).digest()))  # RFC 8463 §3
    return bytes(private.sign(text, PKCS1v15(), SHA1() if sha1 else SHA256()))
