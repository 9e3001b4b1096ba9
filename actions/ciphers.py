"""AES-256-GCM, the one cipher of stored objects and of the keys that wrap theirs (NIST SP 800-38D; SES: S3 action, KmsKeyArn).

*Failure.* `Malformed` for bytes that were not sealed with this key, nonce and associated data, or were changed since.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from mail.errors import Malformed
from mail.octets import Octets

KEY_OCTETS = 32
NONCE_OCTETS = 12
TAG_OCTETS = 16


def seal(key: bytes, nonce: bytes, plain: bytes, associated: bytes | None = None) -> bytes:
    """The ciphertext with its tag appended. A nonce is used once for a key."""
    return AESGCM(key).encrypt(nonce, plain, associated)


class SealedOctets:
    """What `seal` gives, made as it is read: in order, and as often as one likes from the beginning on, which gives the same."""

    def __init__(self, key: bytes, nonce: bytes, plain: Octets) -> None:
        self._cipher = Cipher(AES(key), GCM(nonce))
        self._plain = plain
        self._begin()

    def _begin(self) -> None:
        self._sealing: AEADEncryptionContext = self._cipher.encryptor()
        self._at = 0
        self._tag = b""

    def __len__(self) -> int:
        return len(self._plain) + TAG_OCTETS

    def __getitem__(self, span: slice, /) -> bytes:
        start, stop, step = span.indices(len(self))
        if start == 0:
            self._begin()
        if step != 1 or start != self._at:
            raise ValueError("sealed octets are read in order")
        end = len(self._plain)
        sealed = self._sealing.update(self._plain[start : min(stop, end)]) if start < end else b""
        if stop > end and not self._tag:
            self._sealing.finalize()
            self._tag = self._sealing.tag
        self._at = max(start, stop)
        return sealed + self._tag[max(0, start - end) : max(0, stop - end)]


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes | None = None) -> bytes:
    """The plain bytes, all of them authentic."""
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated)
    except (InvalidTag, ValueError):  # ValueError: a key or nonce of another length
        raise Malformed("it was changed, or was sealed with another key") from None
