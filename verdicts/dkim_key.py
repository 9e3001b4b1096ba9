"""DKIM public keys: their DNS records, and verifying with them by OpenSSL.

*Standards.* RFC 6376 §3.6.1 (record), RFC 8301 (key sizes), RFC 8463 (Ed25519).
*Trust.* Records are hostile; one that is wrong in any way is `Malformed`, whose text is fixed prose and tag names.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mail.errors import Malformed
from verdicts.tag_list import colon_list, parse_tags

RECORD_OCTETS = 8 * 1024
MAXIMUM_RSA_BITS = 8192  # what one verification may cost

_PADDING, _DIGEST = PKCS1v15(), Prehashed(SHA256())
_SPACE = re.compile(r"[ \t\r\n]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A usable key record. `bits` is the modulus of an RSA key, 256 for Ed25519."""

    public: RSAPublicKey | Ed25519PublicKey
    type: str
    bits: int
    hashes: tuple[str, ...] | None
    services: tuple[str, ...]
    is_strict: bool
    is_testing: bool

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether this is the signature over SHA-256 of `data`."""
        try:
            digest = sha256(data).digest()
            if self.type == "rsa":
                self.public.verify(signature, digest, _PADDING, _DIGEST)  # type: ignore[call-arg]
            else:
                # RFC 8463 §3: Ed25519 signs the hash, not the text.
                self.public.verify(signature, digest)  # type: ignore[call-arg]
        except (InvalidSignature, ValueError, UnsupportedAlgorithm):
            return False
        return True


@lru_cache(maxsize=4096)
def parse_key(record: str) -> Key | Malformed:
    """The key of a TXT record, or what is wrong with it. Keyed by the text, so a cached key is never older than its record."""
    try:
        return _parse(record)
    except Malformed as error:
        return error


def _parse(record: str) -> Key:
    if len(record) > RECORD_OCTETS:
        raise Malformed("key record too long")
    tags = parse_tags(record)
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        raise Malformed("not a DKIM1 key record")
    if "p" not in tags:
        raise Malformed("key record lacks p=")
    if not tags["p"]:
        raise Malformed("key revoked")
    try:
        data = base64.b64decode(_SPACE.sub("", tags["p"]), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("p= is not base64") from None
    flags = colon_list(tags.get("t", ""))
    public = _public_key(tags.get("k", "rsa").lower(), data)
    return Key(
        public=public,
        type="rsa" if isinstance(public, RSAPublicKey) else "ed25519",
        bits=public.key_size if isinstance(public, RSAPublicKey) else 256,
        hashes=colon_list(tags["h"]) if "h" in tags else None,
        services=colon_list(tags.get("s", "*")),
        is_strict="s" in flags,
        is_testing="y" in flags,
    )


def _public_key(kind: str, data: bytes) -> RSAPublicKey | Ed25519PublicKey:
    if kind == "ed25519":
        if len(data) != 32:
            raise Malformed("p= is not an Ed25519 key")
        return Ed25519PublicKey.from_public_bytes(data)
    if kind != "rsa":
        raise Malformed("unknown key type")
    try:
        # SubjectPublicKeyInfo, or the bare RSAPublicKey that RFC 6376 erratum 3017 tells of.
        public = load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise Malformed("p= is not an RSA key") from None
    if not isinstance(public, RSAPublicKey):
        raise Malformed("p= is not an RSA key")
    if public.key_size > MAXIMUM_RSA_BITS:
        raise Malformed(f"RSA key of more than {MAXIMUM_RSA_BITS} bits")
    return public
