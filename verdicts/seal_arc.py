"""One more set on an ARC chain, signed by dkimpy.

*Standards.* RFC 8617 §4.1 (the three fields), §5.1 (sealing; a chain that failed is sealed for its last set alone, §5.1.2).
*Trust.* The results that are sealed are ours, given by the caller as the value of an Authentication-Results field: the message's
own fields of that name are never read, so a forged one cannot get under a seal. dkimpy's own sealing takes them from the message
and rebuilds them without their comments; here the value stands as it was given.
*Failure.* `Malformed` for a message that cannot be sealed, `Misuse` for a key or results that no field can carry.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dkim
from dkim import crypto
from dkim.asn1 import ASN1FormatError

from mail.errors import Malformed, Misuse
from mail.headers import parse_header
from verdicts.check_arc import INSTANCES

_ARC_FIELDS = ("arc-seal", "arc-message-signature", "arc-authentication-results")
_INSTANCE = re.compile(rb"(?:\A|;)\s*i\s*=\s*([0-9]{1,3})\s*(?:;|\Z)", re.IGNORECASE)
_RELAXED = dkim.CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """`private` is a PEM RSA key whose public half stands at `selector`._domainkey.`domain`."""

    domain: str
    selector: str
    private: bytes


class _Sealer(dkim.ARC):  # type: ignore[misc]
    """dkimpy's signing of one field, over a header section that we extend."""

    headers: list[tuple[bytes, bytes]]

    def add(self, name: bytes, tags: Sequence[tuple[bytes, bytes]], covered: Sequence[bytes], key: Any) -> bytes:
        """The value of the signed field with its CRLF; later fields see it on top."""
        # Zeros hold the place of b=, so that folding is the same before and after.
        value: bytes = self.gen_header([*tags, (b"b", b"0" * 60)], list(covered), _RELAXED, name, key)
        self.put(name, value)
        return value

    def put(self, name: bytes, value: bytes) -> None:
        self.headers = _RELAXED.canonicalize_headers([(name, value)]) + self.headers

    def body_hash(self) -> bytes:
        self.hasher = dkim.HASH_ALGORITHMS[self.signature_algorithm]
        return base64.b64encode(self.hasher(_RELAXED.canonicalize_body(self.body)).digest())

    def only(self, names: Sequence[bytes], instance: int) -> None:
        """Leave out of what is covered the ARC fields of other instances."""
        self.headers = [
            (name, value) for name, value in self.headers if name.lower() not in names or _number(value) == instance
        ]


def check_key(key: SealingKey) -> None:
    """Raises `Misuse` for a private key that cannot sign."""
    _private(key)


def seal_arc(message: bytes, results: bytes, cv: str, key: SealingKey, *, now: datetime) -> bytes:
    """The set to put above `message`: ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results.

    `results` is an Authentication-Results value, authserv-id first, perhaps folded; `cv` is what our check said of the chain: none,
    pass or fail. b"" where RFC 8617 lets nobody go on: a chain that its last sealer ended, or one of 50 sets.
    """
    fields = [field for field in parse_header(message).fields if field.name.lower() in _ARC_FIELDS]
    numbers = [_number(field.value) for field in fields]
    instance = max(numbers, default=0) + 1
    if (cv == "none") != (not fields) or cv not in ("none", "pass", "fail"):
        raise Malformed(f"a chain of {instance - 1} sets cannot be {cv}")
    if instance > INSTANCES or (cv == "fail" and _is_ended(message)):
        return b""
    value = b"i=%d; " % instance + _checked(results)
    try:
        return _signed(message, instance, value, cv, key, now)
    except (dkim.DKIMException, ValueError, IndexError, KeyError) as error:
        raise Malformed(f"the message cannot be sealed: {type(error).__name__}") from None


def _signed(message: bytes, instance: int, value: bytes, cv: str, key: SealingKey, now: datetime) -> bytes:
    private, number = _private(key), str(instance).encode()
    sealer = _Sealer(message)
    common = [(b"i", number), (b"a", b"rsa-sha256")]
    signer = [(b"d", key.domain.encode()), (b"s", key.selector.encode()), (b"t", str(int(now.timestamp())).encode())]
    covered = [name.lower() for name in sealer.default_sign_headers()]
    if b"from" not in covered:
        raise Malformed("the message has no From")
    body_hash = sealer.body_hash()
    sealer.put(b"ARC-Authentication-Results", value + b"\r\n")
    message_signature = sealer.add(
        b"ARC-Message-Signature",
        [*common, (b"c", b"relaxed/relaxed"), *signer, (b"h", b" : ".join(covered)), (b"bh", body_hash)],
        covered,
        private,
    )
    seal_names = [name.encode() for name in reversed(_ARC_FIELDS)]
    if cv == "fail":
        sealer.only(seal_names, instance)
    before = 0 if cv == "fail" else instance - 1
    sealer.headers = _in_order(sealer.headers, seal_names)
    # Fields are taken from the bottom up: the sets in order, in each the results, the signature and the seal, our seal coming last.
    seal = sealer.add(
        b"ARC-Seal",
        [common[0], (b"cv", cv.encode()), common[1], *signer],
        seal_names * before + seal_names[:2],
        private,
    )
    return (
        b"ARC-Seal: "
        + seal
        + b"ARC-Message-Signature: "
        + message_signature
        + b"ARC-Authentication-Results: "
        + value
        + b"\r\n"
    )


def _in_order(headers: list[tuple[bytes, bytes]], names: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The ARC fields by instance, newest on top: a hop may have put them anywhere."""
    arc = [(name, value) for name, value in headers if name.lower() in names]
    return sorted(arc, key=lambda field: -_number(field[1]))


def _private(key: SealingKey) -> Any:
    try:
        return crypto.parse_pem_private_key(key.private.replace(b"\r\n", b"\n"))
    except (crypto.UnparsableKeyError, ASN1FormatError, ValueError, TypeError, LookupError) as error:
        # dkimpy's reader of ASN.1 fails in many ways, none of which may show the key.
        raise Misuse(f"no PEM RSA private key: {type(error).__name__}") from None


def _number(value: bytes) -> int:
    found = _INSTANCE.search(value)
    return int(found[1]) if found else 0


def _is_ended(message: bytes) -> bool:
    """Whether the newest seal says itself that the chain failed (RFC 8617 §5.1.2: nothing is added behind that)."""
    seals = parse_header(message).all("arc-seal")
    if not seals:
        return False
    newest = max(seals, key=lambda field: _number(field.value))
    return re.search(rb"(?:\A|;)\s*cv\s*=\s*fail\s*(?:;|\Z)", newest.value, re.IGNORECASE) is not None


def _checked(results: bytes) -> bytes:
    value = results.strip()
    if b"\r" in value.replace(b"\r\n ", b"").replace(b"\r\n\t", b"") or b"\0" in value or not value:
        raise Misuse("these results are no field's value")
    if b"\n" in value.replace(b"\r\n", b""):
        raise Misuse("these results are no field's value")
    return value
