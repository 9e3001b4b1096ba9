"""Objects encrypted before they leave the process, in the format that SES writes (S3 Encryption Client, version 1 and 2 envelopes).

The body is AES-256-GCM with the tag appended and no associated data. The metadata holds the wrapped data key, the nonce and the
material description, which is also the encryption context of the data key (SES: S3 action, KmsKeyArn). `kms` is what SES writes;
`kms+context` is the form that current clients read without their legacy flags: its context names the cipher too.

*Trust.* Metadata may have been changed by whoever can write to the store: only this cipher and these wrappings are read, the
context is authenticated with the data key, the body with its tag. Nothing is returned that is not authentic as a whole.
*Failure.* `Malformed` for what is not encrypted in this format or was changed; the key provider's own errors.
"""

import asyncio
import base64
import binascii
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actions.ciphers import NONCE_OCTETS, TAG_OCTETS, SealedOctets, seal, unseal
from actions.keys import Entropy, KeyProvider
from mail.errors import Malformed
from mail.octets import Octets, whole
from mail.values import Value

CIPHER = "AES/GCM/NoPadding"
WRAPPINGS = ("kms", "kms+context")
_PREFIX = "x-amz-"
_KEY, NONCE, _CIPHER, _WRAPPING, _TAG, LENGTH, _DESCRIPTION = (
    _PREFIX + name
    for name in ("key-v2", "iv", "cek-alg", "wrap-alg", "tag-len", "unencrypted-content-length", "matdesc")
)
_CIPHER_IN_CONTEXT = "aws:x-amz-cek-alg"
_described = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode  # `json.dumps` would make one each time
_AT_ONCE_OCTETS = 1 << 20  # about 0.1 ms of the loop's time; more is done by the thread that reads it


class Sealed(Value, frozen=True, kw_only=True):
    """An object as it is stored; `metadata` without S3's `x-amz-meta-`. A large `body` is made as it is read, in order."""

    body: Octets
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How objects are encrypted here: by whose keys, in which wrapping, and for which account (12 digits)."""

    keys: KeyProvider
    wrapping: str = "kms"
    account: str = "000000000000"
    entropy: Entropy = os.urandom

    async def seal(self, plain: Octets, *, key: str, message_id: str, rule: str) -> Sealed:
        """The object under `key`, which stands in the description exactly as it is configured (SES: kms_cmk_id)."""
        description = {
            "aws:ses:message-id": message_id,
            "aws:ses:rule-name": rule,
            "aws:ses:source-account": self.account,
            "kms_cmk_id": key,
        }
        if self.wrapping == "kms+context":
            description[_CIPHER_IN_CONTEXT] = CIPHER
        data_key = await self.keys.generate(key, description)
        nonce = self.entropy(NONCE_OCTETS)
        is_large = len(plain) > _AT_ONCE_OCTETS
        body = SealedOctets(data_key.plain, nonce, plain) if is_large else seal(data_key.plain, nonce, whole(plain))
        metadata = {
            _KEY: _encode(data_key.wrapped),
            NONCE: _encode(nonce),
            _CIPHER: CIPHER,
            _WRAPPING: self.wrapping,
            _TAG: str(TAG_OCTETS * 8),
            LENGTH: str(len(plain)),
            _DESCRIPTION: _described(description),
        }
        return Sealed(body=body, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What the metadata of an encrypted object says."""

    wrapped: bytes
    nonce: bytes
    wrapping: str
    description: dict[str, str]


def is_sealed(metadata: Mapping[str, str]) -> bool:
    """Whether this object claims to be encrypted, in whatever version of the format."""
    return any(name in metadata for name in (_KEY, "x-amz-key", "x-amz-3", _CIPHER))


def read_envelope(metadata: Mapping[str, str]) -> Envelope:
    """The envelope of this format. Raises `Malformed`, which names what differs."""
    fixed = {_CIPHER: CIPHER, _TAG: str(TAG_OCTETS * 8)}
    for name, expected in fixed.items():
        if metadata.get(name) != expected:
            raise Malformed(f"the metadata {name} is {metadata.get(name)!r}; expected {expected}")
    wrapping = metadata.get(_WRAPPING, "")
    if wrapping not in WRAPPINGS:
        raise Malformed(f"the metadata {_WRAPPING} is {wrapping!r}; expected kms or kms+context")
    try:
        description = json.loads(metadata[_DESCRIPTION])
        wrapped = base64.b64decode(metadata[_KEY], validate=True)
        nonce = base64.b64decode(metadata[NONCE], validate=True)
    except KeyError as error:
        raise Malformed(f"the metadata lacks {error.args[0]}") from None
    except (ValueError, binascii.Error, RecursionError):
        raise Malformed("the metadata is not in the format of the S3 Encryption Client") from None
    if not isinstance(description, dict) or not all(isinstance(value, str) for value in description.values()):
        raise Malformed(f"the metadata {_DESCRIPTION} is no map of texts")
    # The cipher in the context is what tells an authentic kms+context envelope from one whose wrapping was renamed.
    if wrapping == "kms+context" and description.get(_CIPHER_IN_CONTEXT) != CIPHER:
        raise Malformed(f"the material description does not name the cipher {CIPHER}")
    return Envelope(wrapped=wrapped, nonce=nonce, wrapping=wrapping, description=description)


async def unseal_object(body: bytes, metadata: Mapping[str, str], keys: KeyProvider) -> bytes:
    """The plain object, whole and authentic."""
    envelope = read_envelope(metadata)
    if metadata.get(LENGTH, str(len(body) - TAG_OCTETS)) != str(len(body) - TAG_OCTETS):
        raise Malformed("the object is not as long as its metadata says: it was cut or changed")
    key = await keys.unwrap(envelope.wrapped, envelope.description)
    return await _run(len(body), unseal, key, envelope.nonce, body)


def rewrapped(metadata: Mapping[str, str], wrapped: bytes) -> dict[str, str]:
    """The metadata with another wrapping of the same data key: the body stays as it is."""
    return {**metadata, _KEY: _encode(wrapped)}


async def _run(octets: int, function: Callable[[bytes, bytes, bytes], bytes], *arguments: bytes) -> bytes:
    if octets <= _AT_ONCE_OCTETS:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)


def _encode(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
