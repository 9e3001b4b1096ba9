"""DKIM signatures by dkimpy, with its costly parts replaced.

*Standards.* RFC 6376 §3.5, §5.4 (what is signed), §8.15 (oversigning); RFC 8301; RFC 8463.
*Trust.* The message may be hostile, the keys and tags are ours. dkimpy writes the tags, folds the field and says what is hashed;
the header is split, canonical forms and hashes are made and digests are signed by the code that verifies, because dkimpy's
raises a dozen kinds of exception, reads the clock, copies the body for every key and does RSA in Python (20 times the cost).
*Failure.* `Malformed` for a message that nobody should sign, `Misuse` for tags that no field can carry.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import dkim

from mail.address import parse_domain
from mail.errors import Malformed, Misuse
from mail.headers import Field, HeaderView
from mail.message import Message
from outbound.signing_key import SigningKey
from verdicts.canonical import BodyHashes, relaxed_value
from verdicts.dkim_signature import select_fields
from verdicts.inquiry import BodySpec

# A field that no message should have twice, or that readers show: one more than there are is signed, so that none can be added.
ALWAYS_OVERSIGNED = ("from", "reply-to", "to", "cc", "subject")
OVERSIGNED = (
    *("date", "message-id", "in-reply-to", "references", "sender"),
    *("mime-version", "content-type", "content-transfer-encoding"),
)
"""These only where the message has them: what a relay adds for want of it should not break the signature."""
SIGNED = frozenset(name.decode() for name in dkim.DKIM.SHOULD)

MOST_NAMES = 100
_BODY = BodySpec("relaxed")
_LONGEST_WORD = 60  # dkimpy folds a longer one in its middle
_UNSAFE = re.compile(r"[^!-:<>-~]")  # RFC 6376 §2.11: dkim-safe-char leaves out ";", "=" and white space


class _Relaxed:
    """The part of dkimpy's CanonicalizationPolicy that making a field uses."""

    @staticmethod
    def canonicalize_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        return [(name.lower(), relaxed_value(value) + b"\r\n") for name, value in headers]


@dataclass(frozen=True, slots=True)
class _Signed:
    signature: bytes


class FieldSigner(dkim.DKIM):  # type: ignore[misc]
    """dkimpy's making of one signed field."""

    def __init__(self, key: SigningKey) -> None:
        # The inherited constructor would parse a message; this is all that making a field uses.
        self._key = key
        self.hasher = hashlib.sha256
        self.debug_content = False
        self.linesep = b"\r\n"
        # For Ed25519 alone dkimpy hands the digest to the key; a= is told by the tags.
        self.signature_algorithm = b"ed25519-sha256"

    def sign(self, digest: bytes) -> _Signed:
        return _Signed(self._key.sign_digest(digest))

    def field(
        self, name: str, tags: Sequence[tuple[str, str]], signed: Sequence[Field], *, plain: bool = False
    ) -> bytes:
        """The field with its CRLF, signing these in order and then itself. `plain`: tags sorted, lower case, on one line."""
        # dkimpy takes a name's fields from the bottom up.
        self.headers = [(field.name.encode(), field.value) for field in reversed(signed)]
        names = [field.name.lower().encode() for field in signed]
        written = [(tag.encode(), value.encode()) for tag, value in tags]
        # Zeros hold the place of b=, so that folding is the same before and after.
        written.append((b"b", b"0" * _LONGEST_WORD))
        plain = plain or any(len(value) > _LONGEST_WORD for tag, value in tags if tag in ("d", "s"))
        label = name.encode()
        value: bytes = self.gen_header(written, names, _Relaxed, label, self, standardize=plain)
        return label + b": " + value


def signed_names(header: HeaderView) -> tuple[str, ...]:
    """What h= lists by default: each field that RFC 6376 §5.4.1 names as often as it stands there, and once more where readers
    would show another one."""
    present = [name for field in header.fields if (name := field.name.lower()) in SIGNED]
    more = [name for name in OVERSIGNED if name in present]
    return (*present, *ALWAYS_OVERSIGNED, *more)


def sign(
    message: Message,
    keys: Sequence[SigningKey],
    *,
    now: datetime,
    expires: datetime | None = None,
    identity: str | None = None,
    names: Sequence[str] | None = None,
) -> bytes:
    """The DKIM-Signature fields to put on top, one for each key in order, relaxed/relaxed.

    `identity` is i=, an address in or below each key's domain (default: `@` and the domain); `names` are h=, in lower case.
    """
    header = message.header
    check_signable(message)
    names = signed_names(header) if names is None else names
    if "from" not in names:
        raise Misuse("From must be signed (RFC 6376 §5.4)")
    if len(names) > MOST_NAMES:
        raise Malformed(f"more than {MOST_NAMES} fields to sign")
    selected = select_fields(names, header)
    body_hash = relaxed_body_hash(message)
    times = [("t", str(int(now.timestamp())))]
    if expires is not None:
        if expires <= now:
            raise Misuse("a signature cannot expire before it is made")
        times.append(("x", str(int(expires.timestamp()))))
    return b"".join(
        FieldSigner(key).field(
            "DKIM-Signature",
            [
                *(("v", "1"), ("a", key.algorithm), ("c", "relaxed/relaxed"), ("d", key.domain)),
                *(("i", _identity(identity, key.domain)), ("q", "dns/txt"), ("s", key.selector), *times),
                *(("h", " : ".join(names)), ("bh", body_hash)),
            ],
            selected,
        )
        for key in keys
    )


def check_signable(message: Message) -> None:
    """Raises `Malformed` for a message that readers would not agree about, or without an author."""
    header = message.header
    if header.all("") or header.has_bare_line_ends:
        raise Malformed("the header section holds what is no field")
    if not header.all("from"):
        raise Malformed("the message has no From")


def relaxed_body_hash(message: Message) -> str:
    """What bh= says of the body in relaxed form."""
    bodies = BodyHashes.of(message)
    bodies.compute([_BODY])
    return base64.b64encode(bodies[_BODY].digest).decode()


def _identity(text: str | None, domain: str) -> str:
    """i= in dkim-quoted-printable (RFC 6376 §2.11)."""
    if text is None:
        return "@" + domain
    local, at, below = text.rpartition("@")
    try:
        below = parse_domain(below)
    except Malformed:
        at = ""
    if not at or (below != domain and not below.endswith("." + domain)):
        raise Misuse("i= is not in or below the signing domain")
    written = _UNSAFE.sub(lambda found: "".join(f"={octet:02X}" for octet in found[0].encode()), local)
    if len(written) + len(below) >= _LONGEST_WORD:
        raise Misuse("i= is too long for a line")
    return f"{written}@{below}"
