"""The private keys that DKIM and ARC sign with: read once, checked once, signing by OpenSSL.

*Standards.* RFC 6376 §3.3, RFC 8301 §3.2 (RSA of 1024 bits at least), RFC 8463 (Ed25519).
*Failure.* `Misuse` for what is no such key, or a domain or selector that no field can carry. It never shows the key.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mail.address import parse_domain
from mail.errors import Malformed, Misuse

SHORTEST_RSA_BITS = 1024
_PADDING, _DIGEST = PKCS1v15(), Prehashed(SHA256())
_SELECTOR = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*\Z"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key whose public half stands at `selector`._domainkey.`domain`."""

    domain: str
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        """The word of a=."""
        return "rsa-sha256" if isinstance(self.private, RSAPrivateKey) else "ed25519-sha256"

    def sign_digest(self, digest: bytes) -> bytes:
        """The signature over a SHA-256 digest; of Ed25519 as RFC 8463 §3 has it, with the digest as the message."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(digest, _PADDING, _DIGEST)
        return self.private.sign(digest)


def load_key(domain: str, selector: str, private: bytes) -> SigningKey:
    """`private` is PEM, RSA (PKCS #1 or #8) or Ed25519 (PKCS #8); or an Ed25519 seed in base64, as dkimpy's dknewkey writes it."""
    if not _SELECTOR.match(selector):
        raise Misuse("the selector is not one or more DNS labels")
    try:
        name = parse_domain(domain)
    except Malformed as error:
        raise Misuse(f"the signing domain is none: {error}") from None
    key = _private(private)
    if isinstance(key, RSAPrivateKey) and key.key_size < SHORTEST_RSA_BITS:
        raise Misuse(f"an RSA key of {key.key_size} bits is too short to sign with")
    return SigningKey(domain=name, selector=selector.lower(), private=key)


def _private(text: bytes) -> RSAPrivateKey | Ed25519PrivateKey:
    if b"-----" not in text:
        try:
            return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text.strip(), validate=True))
        except (binascii.Error, ValueError):
            raise Misuse("neither a PEM private key nor an Ed25519 seed in base64") from None
    try:
        key = load_pem_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # What the library says of a broken key may quote it.
        raise Misuse(f"no PEM private key: {type(error).__name__}") from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise Misuse("neither an RSA nor an Ed25519 private key")
    return key
