"""ARC chains by dkimpy, with its unsafe and costly parts replaced.

*Standards.* RFC 8617 (§5.2 validation; at most 50 instances), RFC 8601 §2.7 (arc, header.oldest-pass).
*Trust.* Hostile fields; what is read is bounded in number and octets before any hash is made. A chain that passes says who
sealed it, not that the sealers are honest: trust is a setting of whoever uses the result.
*Failure.* `Need` and `OverBudget` of the inquiry; everything else is a result.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dkim

from mail.headers import Field
from mail.message import Message
from mail.verdict import AuthResult
from verdicts.canonical import BodyHashes
from verdicts.check_dkim import SignedText, keys_of
from verdicts.dkim_signature import (
    Refused,
    Signature,
    read_signature,
    read_tags,
    select_fields,
    signed_text,
)
from verdicts.inquiry import Ask
from verdicts.policy import Policy

INSTANCES = 50  # RFC 8617 §4.2.1
OCTETS = 512 * 1024

_AAR, _AMS, _AS = "arc-authentication-results", "arc-message-signature", "arc-seal"
_NAMES = frozenset({_AAR, _AMS, _AS})
_AMS_TAGS = ("i", "a", "b", "bh", "d", "h", "s")
_AS_TAGS = ("i", "a", "b", "cv", "d", "s")
_INSTANCE = re.compile(r"\s*i\s*=\s*([0-9]{1,3})\s*;")


@dataclass(slots=True, kw_only=True)
class ArcSet:
    """The three fields of one instance, as far as they were found."""

    results: Field | None = None
    message_signature: Field | None = None
    seal: Field | None = None


class _Chain(dkim.ARC):  # type: ignore[misc]
    """dkimpy's walk along the chain (`verify` is its own); finding the sets and checking one of them is ours."""

    def __init__(self, text: SignedText, sets: dict[int, ArcSet], signatures: "_Signatures") -> None:
        super().__init__(None)
        self._text = text
        self._sets = sets
        self._signatures = signatures

    def sorted_arc_headers(self) -> tuple[int, list[ArcSet]]:
        return max(self._sets), list(self._sets.values())

    def verify_instance(self, arc_headers_w_instance: object, instance: int, dnsfunc: object = None) -> dict[str, Any]:
        del arc_headers_w_instance, dnsfunc
        seal, cv = self._signatures.seals[instance]
        newest = instance == max(self._sets)
        return {
            "instance": instance,
            "cv": cv.encode(),
            "as-valid": self._seal_is_valid(instance, seal),
            # RFC 8617 §5.2 asks for the newest one only: older ones are broken by what later hops changed.
            "ams-valid": self._message_is_valid(instance) if newest else True,
        }

    def _message_is_valid(self, instance: int) -> bool:
        field = self._sets[instance].message_signature
        signature = self._signatures.message
        if field is None or signature.body is None:
            return False
        if self._text.bodies[signature.body].digest != signature.body_hash:
            return False
        signed = signed_text(
            field, signature.header_form, select_fields(signature.names, self._text.header, field), self._text.forms
        )
        return self._signatures.verify(signature, signed)

    def _seal_is_valid(self, instance: int, seal: Signature) -> bool:
        """RFC 8617 §5.1.1: a seal covers all sets up to its own, in order of instance, results before signature before seal."""
        signed: list[Field] = []
        for number in range(1, instance + 1):
            one = self._sets[number]
            signed += [field for field in (one.results, one.message_signature, one.seal) if field is not None]
        return self._signatures.verify(seal, signed_text(signed.pop(), "relaxed", signed, self._text.forms))


class _Signatures:
    """The signatures of a chain and their keys."""

    def __init__(self, sets: dict[int, ArcSet], now: int, policy: Policy) -> None:
        newest = max(sets)
        self.seals: dict[int, tuple[Signature, str]] = {}
        for instance, one in sets.items():
            if one.results is None or one.message_signature is None or one.seal is None:
                raise Refused("fail", f"incomplete set {instance}")
            tags = _tags(one.seal)
            if "h" in tags:
                raise Refused("fail", f"seal {instance} has h=")
            cv = tags.get("cv", "").lower()
            if cv not in ("none", "pass", "fail"):
                raise Refused("fail", f"seal {instance} has no valid cv=")
            self.seals[instance] = (_read(tags, _AS_TAGS, now), cv)
            message_tags = _tags(one.message_signature)
            message = _read(message_tags, _AMS_TAGS, now)
            if _AS in message.names:
                raise Refused("fail", f"message signature {instance} covers a seal")
            if instance == newest:
                self.message = message
        self._minimum_rsa_bits = policy.minimum_rsa_bits
        self._answers: dict[str, Any] = {}

    def fetch_keys(self, ask: Ask) -> None:
        names = sorted({self.message.key_name, *(seal.key_name for seal, _ in self.seals.values())})
        self._answers = dict(zip(names, ask.all((name, "TXT") for name in names), strict=True))

    def verify(self, signature: Signature, signed: bytes) -> bool:
        keys, refused = keys_of(signature, self._answers[signature.key_name], self._minimum_rsa_bits)
        if not keys and refused.result == "temperror":
            raise refused
        return any(key.verifies(signature.signature, signed) for key in keys)


def check_arc(ask: Ask, message: Message, bodies: BodyHashes, *, received_at: datetime, policy: Policy) -> AuthResult:
    """none without ARC fields, pass for a whole chain, fail, or temperror when a key cannot be fetched now.

    `header.d` is the newest sealer, `arc.chain` all of them, newest first, with ":" between.
    """
    if not message.header.has_any(_NAMES):
        return AuthResult(method="arc", result="none", reason="no ARC sets")
    properties: dict[str, str] = {}
    try:
        sets = arc_sets(message)
        signatures = _Signatures(sets, int(received_at.timestamp()), policy)
        sealers = [signatures.seals[instance][0].domain for instance in sorted(sets, reverse=True)]
        properties = {"header.d": sealers[0], "arc.chain": ":".join(sealers)[:1024]}
        text = SignedText(message, bodies)
        if text.is_malformed:
            raise Refused("permerror", "malformed header section")
        signatures.fetch_keys(ask)
        if signatures.message.body is not None:
            bodies.require([signatures.message.body])
        cv, _, reason = _Chain(text, sets, signatures).verify()
    except Refused as error:
        return AuthResult(method="arc", result=error.result, reason=error.reason, properties=properties)
    result = "pass" if cv == dkim.CV_Pass else "fail"
    return AuthResult(method="arc", result=result, reason=_printable(reason), properties=properties)


def _printable(reason: str) -> str:
    return "chain verified" if reason == "success" else "".join(c for c in reason if " " <= c <= "~")[:200]


def arc_sets(message: Message) -> dict[int, ArcSet]:
    """The sets by instance, 1 to n without a gap; a set may lack fields. Raises `Refused`; empty without ARC fields."""
    sets: dict[int, ArcSet] = {}
    octets = 0
    for name, slot in ((_AAR, "results"), (_AMS, "message_signature"), (_AS, "seal")):
        for field in message.header.all(name):
            octets += len(field.raw)
            instance = _instance(field, name)
            if not 1 <= instance <= INSTANCES:
                raise Refused("fail", f"an {name} field has no valid instance")
            one = sets.setdefault(instance, ArcSet())
            if getattr(one, slot) is not None:
                raise Refused("fail", f"two {name} fields of instance {instance}")
            setattr(one, slot, field)
    if octets > OCTETS:
        raise Refused("permerror", "ARC fields too large")
    if sets and max(sets) != len(sets):
        raise Refused("fail", "an instance is missing")
    return sets


def results_of_set(one: ArcSet) -> bytes:
    """What its ARC-Authentication-Results field says behind `i=`: the value of an Authentication-Results field."""
    if one.results is None:
        return b""
    value = one.results.value
    return value.partition(b";")[2] if _INSTANCE.match(value.decode("latin-1")) else b""


def _instance(field: Field, name: str) -> int:
    if name == _AAR:
        # RFC 8617 §4.1.1: i= comes first, then the payload of an Authentication-Results field.
        match = _INSTANCE.match(field.value.decode("latin-1"))
        return int(match.group(1)) if match else 0
    text = _tags(field).get("i", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else 0


def _tags(field: Field) -> dict[str, str]:
    try:
        return read_tags(field)
    except Refused as error:
        raise Refused("fail", error.reason) from None


def _read(tags: dict[str, str], required: tuple[str, ...], now: int) -> Signature:
    try:
        return read_signature(tags, now=now, required=required, default_form="relaxed")
    except Refused as error:
        raise Refused("fail", error.reason) from None
