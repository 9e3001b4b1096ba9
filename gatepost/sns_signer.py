"""The key that messages to a topic's subscribers are signed with, and its certificate, in the state directory.

*Standards.* SNS: SignatureVersion 1 is SHA1withRSA, 2 is SHA256withRSA (both PKCS #1 v1.5).
*Failure.* `Permanent` for a file that holds no key and certificate.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gatepost.kept_file import kept
from mail.errors import Permanent
from smtp.tls import self_signed

FILE = "sns-signing.pem"
_HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - SNS's own version 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    key: rsa.RSAPrivateKey
    certificate: bytes
    name: str


class SnsSigner:
    """`actions.sns_envelope.Signer`. The key is made when it is first needed; `base` is where its certificate is found."""

    def __init__(self, directory: Path, base: str, hostname: str, clock: Callable[[], datetime]) -> None:
        self._directory, self._base, self._hostname, self._clock = directory, base, hostname, clock
        self._loaded: _Loaded | None = None
        self._lock = asyncio.Lock()

    async def certificate_url(self) -> str:
        return f"{self._base}/{(await self._load()).name}"

    async def sign(self, text: bytes, version: str) -> bytes:
        return (await self._load()).key.sign(text, padding.PKCS1v15(), _HASHES[version])

    async def served(self, name: str) -> bytes | None:
        """The certificate, PEM, if this is the name that it is served under."""
        loaded = await self._load()
        return loaded.certificate if name == loaded.name else None

    async def _load(self) -> _Loaded:
        async with self._lock:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(
                    _load_or_make, self._directory / FILE, self._hostname, self._clock()
                )
        return self._loaded


def _load_or_make(path: Path, hostname: str, now: datetime) -> _Loaded:
    data = kept(path, lambda: self_signed(hostname, now, rsa.generate_private_key(65537, 2048)))
    try:
        key = serialization.load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data)
    except ValueError:
        raise Permanent(f"{path} holds no key and certificate") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
        raise Permanent(f"{path} holds no RSA key with its certificate")
    name = f"SimpleNotificationService-{certificate.fingerprint(hashes.SHA256()).hex()[:32]}.pem"
    return _Loaded(key=key, certificate=certificate.public_bytes(serialization.Encoding.PEM), name=name)
