"""Key providers: who makes data keys and unwraps them (semantics.md §1; SES: KmsKeyArn).

`generate` and `unwrap` take an encryption context, which is authenticated and not secret: a data key opens only under the context
that it was made for (KMS: encryption context). AWS KMS stands behind the same port in `gatepost`.

A data key that the local store wrapped is `gpk1`, the key's id, its version, a nonce, and the sealed key, where all that stands
before it and the context are associated data: neither the id nor the version nor the context can be changed.
*Failure.* `Temporary` for what an operator can mend, `Permanent` for a wrapped key that is not what was written.
"""

import os
import uuid
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from actions.ciphers import KEY_OCTETS, NONCE_OCTETS, TAG_OCTETS, seal, unseal
from actions.key_files import KeyFiles, KeyVersion, key_name
from mail.errors import Malformed, Permanent, Temporary
from mail.values import Value

_MAGIC = b"gpk1"
_HEAD_OCTETS = len(_MAGIC) + 16 + 4
_WRAPPED_OCTETS = _HEAD_OCTETS + NONCE_OCTETS + KEY_OCTETS + TAG_OCTETS

Entropy = Callable[[int], bytes]


class DataKey(Value, frozen=True, kw_only=True):
    """A fresh 256-bit key, and what is kept of it. `repr` leaves the key out."""

    plain: bytes
    wrapped: bytes

    def __repr__(self) -> str:
        return "DataKey(...)"


class KeyProvider(Protocol):
    async def generate(self, key: str, context: Mapping[str, str]) -> DataKey:
        """A data key under `key`: `alias/NAME`, an ARN, or a local name."""

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes: ...


class LocalKeys:
    """The local key store. Each call looks whether the files are as they were, so a shredded key is gone at once."""

    def __init__(self, files: KeyFiles, entropy: Entropy = os.urandom) -> None:
        self._files = files
        self._entropy = entropy

    async def generate(self, key: str, context: Mapping[str, str]) -> DataKey:
        plain = self._entropy(KEY_OCTETS)
        return DataKey(plain=plain, wrapped=self.wrap(self._files.current(key_name(key)), plain, context))

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        version = self.wrapping_version(wrapped)
        head, rest = wrapped[:_HEAD_OCTETS], wrapped[_HEAD_OCTETS:]
        try:
            return unseal(version.secret, rest[:NONCE_OCTETS], rest[NONCE_OCTETS:], head + _canonical(context))
        except Malformed as error:
            raise Permanent(f"the data key does not open under key {version.id}: {error}") from None

    def wrap(self, version: KeyVersion, plain: bytes, context: Mapping[str, str]) -> bytes:
        head = _MAGIC + version.id.bytes + version.version.to_bytes(4, "big")
        nonce = self._entropy(NONCE_OCTETS)
        return head + nonce + seal(version.secret, nonce, plain, head + _canonical(context))

    def wrapping_version(self, wrapped: bytes) -> KeyVersion:
        """The version that the wrapped key names, whatever its key is called now."""
        if not is_local(wrapped) or len(wrapped) != _WRAPPED_OCTETS:
            raise Permanent("the data key was not wrapped by the local key store")
        identity = uuid.UUID(bytes=wrapped[len(_MAGIC) : _HEAD_OCTETS - 4])
        number = int.from_bytes(wrapped[_HEAD_OCTETS - 4 : _HEAD_OCTETS], "big")
        for name in self._files.names():
            if number in self._files.numbers(name):
                version = self._files.read(name, number)
                if version.id == identity:
                    return version
        raise Temporary(
            f"version {number} of key {identity} is not in {self._files.directory}: it was shredded or moved"
        )


class KeyRing:
    """New data keys from one provider; an old one is unwrapped by the provider that wrapped it."""

    def __init__(self, *, local: LocalKeys, kms: KeyProvider, makes: str) -> None:
        self._local = local
        self._kms = kms
        self._makes: KeyProvider = local if makes == "local" else kms

    async def generate(self, key: str, context: Mapping[str, str]) -> DataKey:
        return await self._makes.generate(key, context)

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return await (self._local if is_local(wrapped) else self._kms).unwrap(wrapped, context)


def is_local(wrapped: bytes) -> bool:
    """Whether the local key store wrapped this."""
    return wrapped.startswith(_MAGIC)


def _canonical(context: Mapping[str, str]) -> bytes:
    """One byte string for one context: JSON with sorted keys."""
    return msgspec.json.encode(dict(context), order="sorted")
