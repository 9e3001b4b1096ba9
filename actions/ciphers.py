"""AES-256-GCM, the one cipher of stored objects and of the keys that wrap theirs (NIST SP 800-38D; SES: S3 action, KmsKeyArn).

*Failure.* `Malformed` for bytes that were not sealed with this key, nonce and associated data, or were changed since.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mail.errors import Malformed

KEY_OCTETS = 32
NONCE_OCTETS = 12
TAG_OCTETS = 16


def seal(key: bytes, nonce: bytes, plain: bytes, associated: bytes | None = None) -> bytes:
    """The ciphertext with its tag appended. A nonce is used once for a key."""
    return AESGCM(key).encrypt(nonce, plain, associated)


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes | None = None) -> bytes:
    """The plain bytes, all of them authentic."""
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated)
    except (InvalidTag, ValueError):  # ValueError: a key or nonce of another length
        raise Malformed("it was changed, or was sealed with another key") from None
