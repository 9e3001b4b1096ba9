"""DKIM by dkimpy, with its unsafe and costly parts replaced.

*Standards.* RFC 6376, RFC 8301, RFC 8463, RFC 8616; RFC 8601 §2.7.1 (results and properties).
*Trust.* Message and key records are hostile. dkimpy drives the verification; reading fields (dkim_signature.py), canonical
forms (canonical.py) and keys (dkim_key.py) are ours, because dkimpy's raise a dozen kinds of exception for hostile text, take
one TXT record for all, read the clock, ignore h=, s=, t= of key records, and do RSA in Python (24 times the cost).
*Failure.* `Need` and `OverBudget` of the inquiry; everything else is a result, one for each signature, top first.
"""

from datetime import datetime

import dkim

from mail.headers import Field
from mail.message import Message
from mail.verdict import AuthResult
from verdicts.canonical import BodyHashes, HeaderForms
from verdicts.dkim_key import Key, parse_key
from verdicts.dkim_signature import (
    Refused,
    Signature,
    check_key,
    read_signature,
    read_tags,
    select_fields,
    signed_text,
)
from verdicts.inquiry import Ask, BodySpec
from verdicts.policy import Policy
from verdicts.ports import Answer, Lookup

NAMED_SIGNATURES = 50  # of those beyond the judged ones, how many are shown
KEY_RECORDS = 4  # of one selector, how many are tried

UNSIGNED_OCTETS = "policy.unsigned_octets"
"""The property of a result whose l= leaves a part of the body unsigned (RFC 6376 §8.2)."""


class SignedText:
    """The message as its signatures see it; what several of them share is made once."""

    def __init__(self, message: Message, bodies: BodyHashes) -> None:
        self.header = message.header
        self.bodies = bodies
        self.forms = HeaderForms()

    @property
    def is_malformed(self) -> bool:
        """Whether a line of the header section is no field, or a CR or LF stands alone there: readers do not agree where the body
        of such mail begins, and a signature that holds for one of them would vouch for what another shows."""
        return bool(self.header.all("")) or self.header.has_bare_line_ends


def keys_of(signature: Signature, answer: Answer, minimum_rsa_bits: int) -> tuple[list[Key], Refused]:
    """The keys that this signature may be checked with, and why others may not."""
    if answer.outcome is Lookup.TEMPORARY:
        return [], Refused("temperror", f"key not retrievable: {answer.detail}")
    refused = Refused("permerror", "no key" if answer.outcome is Lookup.NONE else "too many key records")
    keys: list[Key] = []
    for record in answer.records[:KEY_RECORDS]:
        key = parse_key(record)
        if not isinstance(key, Key):
            refused = Refused("permerror", str(key))
            continue
        try:
            check_key(signature, key, minimum_rsa_bits)
        except Refused as error:
            refused = error
        else:
            keys.append(key)
    return keys, refused


class Verifier(dkim.DKIM):  # type: ignore[misc]
    """dkimpy's verifier of one signature: `verify` is its own, the two steps that it takes are ours."""

    def __init__(self, text: SignedText, field: Field, signature: Signature, keys: list[Key]) -> None:
        # The inherited constructor would parse the message; nothing that it sets is used by `verify`.
        self._text = text
        self._field = field
        self._signature = signature
        self._keys = keys
        self.key: Key | None = None

    def verify_headerprep(self, idx: int = 0) -> tuple[Signature, list[Field], list[Field]]:
        signature = self._signature
        fields = select_fields(signature.names, self._text.header, self._field)
        # RFC 6376 §8.15: a From field more than were signed is one that a reader may show instead.
        if signature.names.count("from") < len(self._text.header.all("from")):
            raise Refused("fail", "more From fields than signed")
        return signature, fields, [self._field] * (idx + 1)

    def verify_sig(
        self, sig: Signature, include_headers: list[Field], sig_header: Field, dnsfunc: object = None
    ) -> bool:
        del dnsfunc
        if sig.body is not None and self._text.bodies[sig.body].digest != sig.body_hash:
            raise Refused("fail", "body hash did not verify")
        signed = signed_text(sig_header, sig.header_form, include_headers, self._text.forms)
        self.key = next((key for key in self._keys if key.verifies(sig.signature, signed)), None)
        if self.key is None:
            raise Refused("fail", "signature did not verify")
        return True


def check_dkim(
    ask: Ask, message: Message, bodies: BodyHashes, *, received_at: datetime, policy: Policy
) -> tuple[AuthResult, ...]:
    """One result for each DKIM-Signature field, top first; empty for unsigned mail."""
    fields = message.header.all("dkim-signature")
    if not fields:
        return ()
    text = SignedText(message, bodies)
    judged = fields[: policy.maximum_signatures]
    read = [_read(field, text, int(received_at.timestamp()), policy) for field in judged]
    good = [signature for _, signature in read if isinstance(signature, Signature)]
    answers = dict(zip((one.key_name for one in good), ask.all((one.key_name, "TXT") for one in good), strict=True))
    keys = {id(one): keys_of(one, answers[one.key_name], policy.minimum_rsa_bits) for one in good}
    bodies.require([one.body for one in good if one.body is not None and keys[id(one)][0]])
    results = []
    for field, (tags, signature) in zip(judged, read, strict=True):
        if isinstance(signature, Refused):
            results.append(_result(tags, signature.result, signature.reason))
        else:
            results.append(_verdict(text, field, tags, signature, *keys[id(signature)]))
    results.extend(_unjudged(field, policy) for field in fields[len(judged) :][:NAMED_SIGNATURES])
    return tuple(results)


def _read(field: Field, text: SignedText, now: int, policy: Policy) -> tuple[dict[str, str], Signature | Refused]:
    tags: dict[str, str] = {}
    try:
        tags = read_tags(field)
        if text.is_malformed:
            raise Refused("permerror", "malformed header section")
        signature = read_signature(tags, now=now, skew=policy.clock_skew_seconds)
        if "from" not in signature.names:
            raise Refused("permerror", "From is not signed")
    except Refused as error:
        return tags, error
    return tags, signature


def _verdict(
    text: SignedText, field: Field, tags: dict[str, str], signature: Signature, keys: list[Key], refused: Refused
) -> AuthResult:
    result, reason = "pass", "signature verified"
    more: dict[str, str] = {}
    try:
        if not keys:
            raise refused
        verifier = Verifier(text, field, signature, keys)
        verifier.verify()
        if verifier.key is not None and verifier.key.is_testing:
            more["policy.testing"] = "y"
        more |= _length(text, signature.body)
    except Refused as error:
        result, reason = error.result, error.reason
        if result == "fail" and keys and all(key.is_testing for key in keys):
            # RFC 6376 §3.6.1: a failure under a key in testing mode is to be treated as unsigned mail.
            result, reason, more = "none", f"{reason}, but its key is in testing mode (t=y)", {"policy.testing": "y"}
    return _result(tags, result, reason, signature, more)


def _length(text: SignedText, body: BodySpec | None) -> dict[str, str]:
    if body is None or body.limit is None:
        return {}
    octets = text.bodies[body].octets
    if body.limit > octets:
        raise Refused("fail", "l= is longer than the body")
    shown = {"policy.l_tag": str(body.limit)}
    if body.limit < octets:
        shown[UNSIGNED_OCTETS] = str(octets - body.limit)
    return shown


def _result(
    tags: dict[str, str],
    result: str,
    reason: str,
    signature: Signature | None = None,
    more: dict[str, str] | None = None,
) -> AuthResult:
    """`header.b` is the first eight characters of b= (RFC 6008)."""
    domain = signature.domain if signature else tags.get("d", "").lower()
    shown = {
        "header.d": domain,
        "header.i": signature.identity if signature else tags.get("i", "@" + domain if domain else ""),
        "header.s": signature.selector if signature else tags.get("s", ""),
        "header.b": "".join(tags.get("b", "").split())[:8],
        "header.a": tags.get("a", "").lower(),
    }
    properties = {name: value[:255] for name, value in shown.items() if value}
    return AuthResult(method="dkim", result=result, reason=reason, properties=properties | (more or {}))


def _unjudged(field: Field, policy: Policy) -> AuthResult:
    reason = f"not judged: more than {policy.maximum_signatures} signatures"
    try:
        tags = read_tags(field)
    except Refused:
        tags = {}
    return _result(tags, "neutral", reason)
