"""One more set on an ARC chain, signed as DKIM is.

*Standards.* RFC 8617 §4.1 (the three fields), §5.1 (sealing; a chain that failed is sealed for its last set alone, §5.1.2).
*Trust.* The results that are sealed are ours, given by the caller as the value of an Authentication-Results field: the message's
own fields of that name are never read, so a forged one cannot get under a seal. dkimpy's own sealing takes them from the message
and rebuilds them without their comments; here the value stands as it was given.
*Failure.* `Malformed` for a message that cannot be sealed, `Misuse` for a key or results that no field can carry.
"""

import re
from collections.abc import Sequence
from datetime import datetime

from mail.errors import Malformed, Misuse
from mail.headers import Field
from mail.message import Message
from mail.octets import Octets
from mail.values import Value
from outbound.sign import SIGNED, FieldSigner, check_signable, relaxed_body_hash
from outbound.signing_key import SigningKey
from verdicts.check_arc import INSTANCES, arc_sets
from verdicts.dkim_signature import Refused, select_fields

_AAR, _AMS, _AS = "ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"
_INSTANCE = re.compile(rb"(?:\A|;)\s*i\s*=\s*([0-9]{1,3})\s*(?:;|\Z)", re.IGNORECASE)
_ENDED = re.compile(rb"(?:\A|;)\s*cv\s*=\s*fail\s*(?:;|\Z)", re.IGNORECASE)


def check_sealing_key(key: SigningKey) -> None:
    """Raises `Misuse` for a key that no validator need know (RFC 8617 §4.1.2 has RSA alone)."""
    if not key.algorithm.startswith("rsa"):
        raise Misuse("an ARC seal wants an RSA key")


def seal_arc(
    raw: Octets,
    results: bytes,
    cv: str,
    key: SigningKey,
    *,
    now: datetime,
    names: Sequence[str] | None = None,
    plain: bool = False,
) -> bytes:
    """The set to put above this message: ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results.

    `results` is an Authentication-Results value, authserv-id first, perhaps folded; `cv` is what our check said of the chain: none,
    pass or fail; `names` are h=, in lower case (default: the fields that RFC 6376 §5.4.1 names, From oversigned); `plain` is the
    form of the public signing vectors. b"" where RFC 8617 lets nobody go on: a chain that its last sealer ended, or one of 50 sets.
    """
    message = Message.of(raw)
    fields = [field for name in (_AAR, _AMS, _AS) for field in message.header.all(name)]
    instance = max((_number(field) for field in fields), default=0) + 1
    if (cv == "none") != (not fields) or cv not in ("none", "pass", "fail"):
        raise Malformed(f"a chain of {instance - 1} sets cannot be {cv}")
    if instance > INSTANCES or (cv == "fail" and _is_ended(message)):
        return b""
    check_signable(message)
    # RFC 8617 §5.1.2: the sets of a chain that failed are not covered.
    earlier = _earlier(message) if cv == "pass" else []
    if names is None:
        names = [name for field in message.header.fields if (name := field.name.lower()) in SIGNED]
        names += ["from"] * len(message.header.all("from"))
    maker = _Maker(key=key, now=now, names=tuple(names), plain=plain)
    return _signed(message, earlier, b"i=%d; " % instance + _checked(results), cv, maker)


class _Maker(Value, frozen=True, kw_only=True):
    """How the two signed fields of a set are made."""

    key: SigningKey
    now: datetime
    names: tuple[str, ...]
    plain: bool

    def field(self, name: str, tags: Sequence[tuple[str, str]], signed: Sequence[Field]) -> bytes:
        signer = (("d", self.key.domain), ("s", self.key.selector), ("t", str(int(self.now.timestamp()))))
        head = [tag for tag in tags if tag[0] not in ("h", "bh")]
        tail = [tag for tag in tags if tag[0] in ("h", "bh")]
        return FieldSigner(self.key).field(name, [*head, *signer, *tail], signed, plain=self.plain)


def _signed(message: Message, earlier: list[Field], value: bytes, cv: str, maker: _Maker) -> bytes:
    number = ("i", value[2:].partition(b";")[0].decode())
    algorithm = ("a", maker.key.algorithm)
    results = _field(_AAR, _AAR.encode() + b": " + value + b"\r\n")
    shown = [("h", " : ".join(maker.names)), ("bh", relaxed_body_hash(message))]
    tags = [number, algorithm, ("c", "relaxed/relaxed"), *shown]
    signature = maker.field(_AMS, tags, select_fields(maker.names, message.header))
    # The sets in order, in each the results, the signature and the seal; ours comes last.
    covered = [*earlier, results, _field(_AMS, signature)]
    seal = maker.field(_AS, [number, ("cv", cv), algorithm], covered)
    return seal + signature + results.raw


def _earlier(message: Message) -> list[Field]:
    """The fields of the sets so far, in the order in which a seal covers them."""
    try:
        sets = arc_sets(message)
    except Refused as error:
        raise Malformed(f"this chain cannot be gone on with: {error.reason}") from None
    found = [(one.results, one.message_signature, one.seal) for _, one in sorted(sets.items())]
    return [field for one in found for field in one if field is not None]


def _field(name: str, raw: bytes) -> Field:
    return Field(name=name, raw=raw, start=-1, end=-1)


def _number(field: Field) -> int:
    found = _INSTANCE.search(field.value)
    return int(found[1]) if found else 0


def _is_ended(message: Message) -> bool:
    """Whether the newest seal says itself that the chain failed (RFC 8617 §5.1.2: nothing is added behind that)."""
    newest = max(message.header.all(_AS), key=_number, default=None)
    return newest is not None and _ENDED.search(newest.value) is not None


def _checked(results: bytes) -> bytes:
    value = results.strip()
    if b"\r" in value.replace(b"\r\n ", b"").replace(b"\r\n\t", b"") or b"\0" in value or not value:
        raise Misuse("these results are no field's value")
    if b"\n" in value.replace(b"\r\n", b""):
        raise Misuse("these results are no field's value")
    return value
