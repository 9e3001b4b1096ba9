"""DKIM-Signature fields, and the ARC fields that share their grammar: read, checked, and the text that they sign.

*Standards.* RFC 6376 §3.5, §3.7, §6.1.1; RFC 8301 (no rsa-sha1); RFC 8463; RFC 8616 (U-labels); RFC 8617 §4.1.
*Trust.* Hostile fields. Costs are linear in the header section, whatever h= lists.
*Failure.* `Refused` with the RFC 8601 result and the reason.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from mail.address import parse_domain
from mail.errors import Malformed
from mail.headers import Field, HeaderView
from mail.values import Value
from verdicts.canonical import HeaderForms, relaxed_field
from verdicts.dkim_key import Key
from verdicts.inquiry import BodySpec
from verdicts.tag_list import WHITE_SPACE, colon_list, parse_tags

_QUOTED_PRINTABLE = re.compile(r"=([0-9A-F]{2})")
_SELECTOR = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\Z"
)
_B_TAG = re.compile(rb";[ \t\r\n]*b[ \t\r\n]*=([^;]*)")
_KEPT_NAMES = 512  # characters of h=
_FORMS = ("simple", "relaxed")


class Refused(Exception):
    """A signature that is not to be believed, or that cannot be checked."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.result = result
        self.reason = reason


class Signature(Value, frozen=True, kw_only=True):
    """One signature whose tags are right. `domain` is an A-label; `names` are h= in order, lower case; times are Unix seconds."""

    algorithm: str
    domain: str
    selector: str
    identity: str
    header_form: str
    body: BodySpec | None
    body_hash: bytes
    signature: bytes
    names: tuple[str, ...]
    key_name: str


def read_tags(field: Field) -> dict[str, str]:
    """The field's tags. Raises `Refused`."""
    try:
        return parse_tags(field.value.decode("latin-1"))
    except Malformed as error:
        raise Refused("permerror", str(error)) from None


DKIM_TAGS = ("v", "a", "b", "bh", "d", "h", "s")


def read_signature(
    tags: Mapping[str, str],
    *,
    now: int,
    skew: int = 0,
    required: tuple[str, ...] = DKIM_TAGS,
    default_form: str = "simple",
) -> Signature:
    """The signature that these tags describe, judged at `now` (Unix seconds). Raises `Refused`.

    Without v= among `required` it is one of ARC's, where i= is the instance and times are not judged (RFC 8617 §4.1.2).
    """
    for name in required:
        if name not in tags:
            raise Refused("permerror", f"{name}= is missing")
    is_dkim = required is DKIM_TAGS
    if is_dkim and tags["v"] != "1":
        raise Refused("permerror", "v= is not 1")
    algorithm = tags["a"].lower()
    if algorithm == "rsa-sha1":
        raise Refused("policy", "rsa-sha1 is not acceptable (RFC 8301 §3.1)")
    if algorithm not in ("rsa-sha256", "ed25519-sha256"):
        raise Refused("permerror", "unknown algorithm")
    domain, selector = _signer(tags["d"], tags["s"])
    if tags.get("q", "dns/txt") != "dns/txt" and "dns/txt" not in colon_list(tags["q"]):
        raise Refused("permerror", "q= does not offer dns/txt")
    if is_dkim:
        _check_times(tags, now, skew)
    header_form, body = _forms(tags, default_form)
    return Signature(
        algorithm=algorithm,
        domain=domain,
        selector=selector,
        identity=_identity(tags["i"], domain) if is_dkim and "i" in tags else "@" + domain,
        header_form=header_form,
        body=body if "bh" in tags else None,
        body_hash=_base64(tags["bh"], "bh") if "bh" in tags else b"",
        signature=_base64(tags["b"], "b"),
        names=_names(tags["h"]) if "h" in tags else (),
        key_name=f"{selector}._domainkey.{domain}",
    )


@lru_cache(maxsize=4096)
def _signer(domain: str, selector: str) -> tuple[str, str]:
    """d= as an A-label, and s= in lower case. Raises `Refused`. Kept, because the same ones sign again and again."""
    try:
        domain = parse_domain(_utf8(domain))
    except Malformed:
        raise Refused("permerror", "d= is not a domain") from None
    if not _SELECTOR.match(selector) or len(selector) + len(domain) > 240:
        raise Refused("permerror", "s= is not a selector")
    return domain, selector.lower()


def _names(text: str) -> tuple[str, ...]:
    return _names_kept(text) if len(text) <= _KEPT_NAMES else colon_list(text)


_names_kept = lru_cache(maxsize=1024)(colon_list)


def _utf8(text: str) -> str:
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _identity(text: str, domain: str) -> str:
    """i= in plain text, in or below d= (RFC 6376 §3.5)."""
    if text == "@" + domain:
        return text
    quoted = _unspaced(text)
    identity = _utf8(_QUOTED_PRINTABLE.sub(lambda match: chr(int(match.group(1), 16)), quoted))
    at = identity.rpartition("@")
    below = at[2].lower()
    if not below.isascii():
        try:
            below = parse_domain(below)
        except Malformed:
            raise Refused("permerror", "i= is not in d=") from None
    if not at[1] or (below != domain and not below.endswith("." + domain)):
        raise Refused("permerror", "i= is not in d=")
    return f"{at[0]}@{below}"


def _check_times(tags: Mapping[str, str], now: int, skew: int) -> None:
    signed, expires = _number(tags, "t"), _number(tags, "x")
    if signed is not None and expires is not None and expires < signed:
        raise Refused("permerror", "x= is before t=")
    if signed is not None and signed > now + skew:
        raise Refused("policy", "signed in the future")
    if expires is not None and expires < now - skew:
        raise Refused("fail", "signature expired")


def _number(tags: Mapping[str, str], name: str) -> int | None:
    text = tags.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 76):
        raise Refused("permerror", f"{name}= is not a number")
    return int(text)


def _forms(tags: Mapping[str, str], default_form: str) -> tuple[str, BodySpec]:
    header_form, slash, body_form = tags.get("c", f"{default_form}/{default_form}").lower().partition("/")
    body_form = body_form if slash else "simple"
    if header_form not in _FORMS or body_form not in _FORMS:
        raise Refused("permerror", "unknown canonicalization")
    return header_form, BodySpec(body_form, _number(tags, "l"))


def body_spec(field: Field, default_form: str) -> BodySpec | None:
    """The body hash that this field speaks of, None where its tags do not say."""
    try:
        return _forms(read_tags(field), default_form)[1]
    except Refused:
        return None


def _base64(text: str, name: str) -> bytes:
    try:
        data = base64.b64decode(_unspaced(text), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise Refused("permerror", f"{name}= is not base64")
    return data


def _unspaced(text: str) -> str:
    for space in WHITE_SPACE:
        if space in text:
            text = text.replace(space, "")
    return text


def check_key(signature: Signature, key: Key, minimum_rsa_bits: int) -> None:
    """What the key record demands of its signatures (RFC 6376 §3.6.1, §6.1.2). Raises `Refused`."""
    kind = signature.algorithm.partition("-")[0]
    if key.type != kind:
        raise Refused("permerror", "key is of another type")
    if key.hashes is not None and "sha256" not in key.hashes:
        raise Refused("permerror", "key does not allow sha256")
    if "*" not in key.services and "email" not in key.services:
        raise Refused("permerror", "key is not for email")
    if key.is_strict and signature.identity.rpartition("@")[2] != signature.domain:
        raise Refused("permerror", "i= is a subdomain, which the key forbids (t=s)")
    if kind == "rsa" and key.bits < minimum_rsa_bits:
        raise Refused("policy", f"RSA key of {key.bits} bits")


def without_b(value: bytes) -> bytes:
    """A field's value with b= emptied, white space around it included (RFC 6376 §3.5)."""
    found = _B_TAG.search(b";" + value)
    return value if found is None else value[: found.start(1) - 1] + value[found.end(1) - 1 :]


def signed_text(field: Field, form: str, signed: Iterable[Field], forms: HeaderForms) -> bytes:
    """What b= signs: the listed fields, then this one with b= emptied and no final CRLF (RFC 6376 §3.7)."""
    parts = [forms.form(other, form) for other in signed]
    value = without_b(field.value)
    if form == "relaxed":
        parts.append(relaxed_field(field.name, value).removesuffix(b"\r\n"))
    else:
        parts.append(field.raw[: field.raw.index(b":") + 1] + value)
    return b"".join(parts)


def select_fields(names: Iterable[str], header: HeaderView, own: Field | None = None) -> list[Field]:
    """The fields that h= names, each name from the bottom up, never the signature itself (RFC 6376 §5.4.2)."""
    taken: dict[str, int] = {}
    own_name = None if own is None else own.name.lower()
    others = [] if own is None else [field for field in header.all(own.name) if field.start != own.start]
    selected: list[Field] = []
    for name in names:
        fields = others if name == own_name else header.all(name)
        number = taken[name] = taken.get(name, 0) + 1
        if number <= len(fields):
            selected.append(fields[-number])
    return selected
