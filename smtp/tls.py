"""TLS contexts for the server: the operator's certificate, or one that we sign ourselves (semantics.md §7).

*Standards.* RFC 8996 (TLS 1.2 at least), RFC 7435 (opportunistic: any certificate is better than none on port 25).
*Failure.* `Permanent` where a certificate or key cannot be read or does not fit.
"""

import datetime
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mail.client import Tls
from mail.errors import Malformed, Permanent

_VALID = datetime.timedelta(days=3650)  # nobody checks it, and nobody would renew it
_WRONG: dict[str | None, str] = {  # OpenSSL's reasons, for whoever keeps the files
    None: "there is no certificate with its key in PEM form",
    "KEY_VALUES_MISMATCH": "the key is not the certificate's",
}
_BACKDATED = datetime.timedelta(days=1)  # for clients whose clocks are behind


def server_context(certificate: Path, key: Path | None = None, more: Sequence[Path] = ()) -> ssl.SSLContext:
    """A context for these PEM files; without `key` it stands in the certificate's file.

    `more` are certificates for clients that ask for their names (SNI, RFC 6066 §3), each a PEM file with its key or a directory
    with `fullchain.pem` and `privkey.pem`. Who asks for no name, or for one that none of them has, gets `certificate`.
    """
    context = _context(certificate, key)
    by_name: dict[str, ssl.SSLContext] = {}
    for path in more:
        chain, its_key = (path / "fullchain.pem", path / "privkey.pem") if path.is_dir() else (path, None)
        other = _context(chain, its_key)
        for name in _names_of(chain):
            by_name.setdefault(name, other)

    def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        asked = (name or "").lower()
        connection.server_name = asked or None  # type: ignore[union-attr]  # kept where `established` finds it
        found = by_name.get(asked) or by_name.get("*." + asked.partition(".")[2])
        if found is not None:
            connection.context = found

    context.sni_callback = choose
    return context


def _context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(certificate, key, _locked)
    except ssl.SSLError as error:
        raise Permanent(f"{certificate}: {_WRONG.get(error.reason, why_failed(error))}") from error
    except OSError as error:
        raise Permanent(f"{certificate if key is None else f'{certificate} or {key}'}: {error.strerror}") from error
    except _Locked as error:
        raise Permanent(f"{key or certificate}: {error}") from None
    return context


class _Locked(Exception):
    """The key wants a passphrase, which nobody is there to type."""


def _locked() -> str:
    raise _Locked("the key is locked by a passphrase; write one without: openssl pkey -in LOCKED.pem -out key.pem")


def expires_at(certificate: Path) -> datetime.datetime:
    """When the first certificate of a PEM file ends. Raises `Permanent` where there is none."""
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise Permanent(f"{certificate}: {getattr(error, 'strerror', None) or 'holds no certificate'}") from error


def _names_of(chain: Path) -> list[str]:
    """The DNS names that the first certificate of the file is for, in lower case."""
    try:
        certificate = x509.load_pem_x509_certificate(chain.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise Permanent(f"{chain}: no names in the certificate, so nobody can ask for it") from error
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def established(connection: ssl.SSLObject) -> Tls:
    """What a finished handshake agreed on."""
    cipher = connection.cipher()
    return Tls(
        version=connection.version() or "",
        cipher=cipher[0] if cipher else "",
        sni=getattr(connection, "server_name", None),
    )


def give_back(transport: Any, octets: bytes) -> None:
    """Octets that were read before TLS took the transport over, to TLS: a proxy's header and a hello may come in one piece."""
    rest, protocol = memoryview(octets), transport.get_protocol()
    while rest and not transport.is_closing():
        room = memoryview(protocol.get_buffer(len(rest)))
        taken = min(len(room), len(rest))
        room[:taken] = rest[:taken]
        protocol.buffer_updated(taken)
        rest = rest[taken:]


def why_failed(error: Exception) -> str:
    """What became of a handshake, in words for the log."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return "it took too long" if isinstance(error, TimeoutError) else "the client was gone"


def self_signed(hostname: str, now: datetime.datetime, key: rsa.RSAPrivateKey | None = None) -> bytes:
    """A key (a new one on P-256 if none is given) and the certificate it signed for itself, in PEM. It lasts ten years."""
    signer = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hostname[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(signer.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = signer.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What others see of a certificate. `names` are its DNS names, lower-case."""

    names: tuple[str, ...]
    not_before: datetime.datetime
    not_after: datetime.datetime
    is_self_signed: bool

    def covers(self, host: str) -> bool:
        """RFC 6125 §6.4.3: a `*` stands for the whole first label."""
        _, _, parent = host.lower().partition(".")
        return host.lower() in self.names or f"*.{parent}" in self.names


def described(der: bytes) -> Certificate:
    """Raises `Malformed`."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = tuple(name.lower() for name in found.value.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = ()
    except ValueError as error:
        raise Malformed("the certificate cannot be read") from error
    return Certificate(
        names=names,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        is_self_signed=certificate.issuer == certificate.subject,
    )
