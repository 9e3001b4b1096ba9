"""ARC by the text of RFC 8617: chains that are sealed here, link by link, each with what must come of it and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from plain_signer import canonical_field, fields_of, public_key, sealed
from replay_suite import Case

MESSAGE = (
    b"From: Ann <ann@acme.example>\r\nTo: bob@example.com\r\nSubject: hello\r\n"
    b"Date: Fri, 02 Jan 2026 03:04:05 +0000\r\n\r\nHello  Bob\r\n\r\nregards\r\n"
)
RECORD = f"v=DKIM1; k=rsa; p={public_key('rsa2048')}"
AAR = b"i=%d; mx%d.example; spf=pass smtp.mailfrom=acme.example"
AMS = b"i=%d; a=rsa-sha256; c=relaxed/relaxed; d=s%d.example; s=k;\r\n h=from:to:subject; bh={bh};\r\n b={b}"
SEAL = b"i=%d; a=rsa-sha256; cv=%s; d=s%d.example; s=k; b={b}"
Change = Callable[[bytes], bytes]


def link(
    raw: bytes,
    number: int,
    *,
    results: bytes | None = None,
    message_signature: bytes | None = None,
    seal: bytes | None = None,
    names: Sequence[str] = ("from", "to", "subject"),
    key: str = "rsa2048",
    **how: Any,
) -> bytes:
    """The message with one more set on top (RFC 8617 §5.1). What is given replaces the field's value."""
    cv = b"none" if number == 1 else b"pass"
    results = AAR % (number, number) if results is None else results
    message_signature = AMS % (number, number) if message_signature is None else message_signature
    seal = SEAL % (number, cv, number) if seal is None else seal
    raw = sealed(
        b"ARC-Message-Signature: " + message_signature + b"\r\n" + raw,
        field=b"ARC-Message-Signature",
        names=names,
        key=key,
        **how,
    )
    raw = b"ARC-Authentication-Results: " + results + b"\r\n" + raw
    return sealed(
        b"ARC-Seal: " + seal + b"\r\n" + raw, field=b"ARC-Seal", names=(), key=key, whole=covered(raw, number)
    )


def covered(raw: bytes, number: int) -> list[bytes]:
    """RFC 8617 §5.1.1: sets in increasing order, in each the results, the message signature, the seal."""
    fields = fields_of(raw.partition(b"\r\n\r\n")[0] + b"\r\n")
    found = []
    for instance in range(1, number + 1):
        for name in (b"arc-authentication-results:", b"arc-message-signature:", b"arc-seal:"):
            for one in fields:
                lower = one.lower()
                if lower.startswith(name) and b"i=%d;" % instance in lower.replace(b" ", b""):
                    found.append(canonical_field(one, "relaxed"))
    return found


def chain(length: int) -> bytes:
    raw = MESSAGE
    for number in range(1, length + 1):
        raw = link(raw, number)
    return raw


def zone(length: int = 60) -> dict[str, Any]:
    return {f"k._domainkey.s{number}.example": {"TXT": [RECORD]} for number in range(1, length + 1)}


def made(name: str, because: str, expect: str, raw: bytes, *, keys: dict[str, Any] | None = None) -> Case:
    return Case(name=name, because=because, raw=raw, zone=zone() if keys is None else keys, expect={"arc": expect})


def cases() -> Iterator[Case]:
    yield from _whole()
    yield from _changed()
    yield from _structure()
    yield from _tags()
    yield from _keys()


def _whole() -> Iterator[Case]:
    yield made("no chain", "RFC 8617 §5.2", "none", MESSAGE)
    for length in (1, 2, 3, 9):
        yield made(f"a chain of {length}", "RFC 8617 §5.2", "pass", chain(length))
    yield made("keys of ten sealers", "RFC 8617 §5.2", "pass", chain(10))
    yield made(
        "keys of eleven sealers", "docs/known-issues.md: an opinion, ten questions for ARC", "permerror", chain(11)
    )
    yield made("one sealer for all", "RFC 8617 §5.2", "pass", one_sealer(10))
    yield made("one sealer, 50 sets", "RFC 8617 §4.2.1", "pass", one_sealer(50))
    yield made("one sealer, 51 sets", "RFC 8617 §4.2.1", "fail", one_sealer(51))
    raw = chain(2)
    yield made("the sets' fields in another order", "RFC 8617 §4.2.2", "pass", shuffled(raw))
    yield made(
        "fields refolded, other case",
        "RFC 8617 §4.1.2",
        "pass",
        raw.replace(b"; cv=", b";\r\n\t cv=").replace(b"ARC-Seal:", b"arc-seal :"),
    )
    yield made("Received fields on top", "RFC 8617 §5.1", "pass", b"Received: x\r\n" + raw)
    simple = AMS.replace(b"relaxed/relaxed", b"simple/simple") % (1, 1)
    yield made(
        "AMS c=simple/simple",
        "RFC 8617 §4.1.2",
        "pass",
        link(MESSAGE, 1, message_signature=simple, forms="simple/simple"),
    )
    edited = link(chain(1).replace(b"regards", b"rewards"), 2)
    yield made("a body changed before the newest set", "RFC 8617 §5.2 step 5", "pass", edited)
    edited = link(chain(1).replace(b"Subject: hello", b"Subject: [list] hello"), 2)
    yield made("a subject changed before the newest set", "RFC 8617 §5.2 step 5", "pass", edited)


def one_sealer(length: int) -> bytes:
    raw = MESSAGE
    for number in range(1, length + 1):
        cv = b"none" if number == 1 else b"pass"
        raw = link(raw, number, message_signature=AMS % (number, 1), seal=SEAL % (number, cv, 1))
    return raw


def shuffled(raw: bytes) -> bytes:
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = fields_of(head + b"\r\n")
    arc = [one for one in fields if one.startswith(b"ARC-")]
    rest = [one for one in fields if not one.startswith(b"ARC-")]
    return b"".join(rest[:1] + arc[::-1] + rest[1:]) + b"\r\n" + body


def _changed() -> Iterator[Case]:
    raw = chain(2)
    for what, before, after in (
        ("the body", b"regards", b"rewards"),
        ("a signed field", b"Subject: hello", b"Subject: [list] hello"),
        ("the newest results", b"i=2; mx2.example; spf=pass", b"i=2; mx2.example; spf=fail"),
        ("the oldest results", b"i=1; mx1.example; spf=pass", b"i=1; mx1.example; spf=fail"),
        ("the newest message signature", b"i=2; a=rsa-sha256; c=relaxed", b"i=2; z=x; a=rsa-sha256; c=relaxed"),
        ("the oldest message signature", b"i=1; a=rsa-sha256; c=relaxed", b"i=1; z=x; a=rsa-sha256; c=relaxed"),
        ("the newest seal", b"i=2; a=rsa-sha256; cv=", b"i=2; z=x; a=rsa-sha256; cv="),
        ("the oldest seal", b"i=1; a=rsa-sha256; cv=", b"i=1; z=x; a=rsa-sha256; cv="),
    ):
        assert before in raw
        yield made(f"changed behind the sealer: {what}", "RFC 8617 §5.2", "fail", raw.replace(before, after))


def _structure() -> Iterator[Case]:
    one, two = chain(1), chain(2)
    fields = {
        "results": b"ARC-Authentication-Results:",
        "message signature": b"ARC-Message-Signature:",
        "seal": b"ARC-Seal:",
    }
    for what, name in fields.items():
        for raw, length in ((one, 1), (two, 2)):
            yield made(f"{what} of {length} missing", "RFC 8617 §5.2 step 3", "fail", without(raw, name))
            yield made(f"{what} of {length} twice", "RFC 8617 §5.2 step 3", "fail", doubled(raw, name))
        only = next(line for line in fields_of(one.partition(b"\r\n\r\n")[0] + b"\r\n") if line.startswith(name))
        yield made(f"{what} alone", "RFC 8617 §5.2 step 3", "fail", only + MESSAGE)
    three = chain(3)
    yield made("set 2 of 3 missing", "RFC 8617 §5.2 step 3", "fail", drop_set(three, 2))
    yield made("set 1 of 3 missing", "RFC 8617 §5.2 step 3", "fail", drop_set(three, 1))
    yield made("set 3 of 3 missing", "RFC 8617 §5.2", "pass", drop_set(three, 3))
    for number in (0, 51, 100, 1024):
        yield made(
            f"i={number} alone", "RFC 8617 §4.2.1", "fail", link(MESSAGE, number, seal=SEAL % (number, b"none", 1))
        )
    yield made("first set is i=2", "RFC 8617 §5.2 step 3", "fail", link(MESSAGE, 2, seal=SEAL % (2, b"none", 2)))


def without(raw: bytes, name: bytes) -> bytes:
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = fields_of(head + b"\r\n")
    fields.remove(next(one for one in fields if one.startswith(name)))
    return b"".join(fields) + b"\r\n" + body


def doubled(raw: bytes, name: bytes) -> bytes:
    head = raw.partition(b"\r\n\r\n")[0] + b"\r\n"
    return next(one for one in fields_of(head) if one.startswith(name)) + raw


def drop_set(raw: bytes, number: int) -> bytes:
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = [one for one in fields_of(head + b"\r\n") if not (one.startswith(b"ARC-") and b" i=%d;" % number in one)]
    return b"".join(fields) + b"\r\n" + body


def _tags() -> Iterator[Case]:
    def seal(before: bytes, after: bytes, number: int = 1) -> bytes:
        cv = b"none" if number == 1 else b"pass"
        changed = (SEAL % (number, cv, number)).replace(before, after)
        return link(MESSAGE if number == 1 else chain(1), number, seal=changed)

    def ams(before: bytes, after: bytes, **how: Any) -> bytes:
        return link(MESSAGE, 1, message_signature=(AMS % (1, 1)).replace(before, after), **how)

    for cv, number, result in (
        (b"none", 1, "pass"),
        (b"pass", 1, "fail"),
        (b"fail", 1, "fail"),
        (b"invalid", 1, "fail"),
        (b"", 1, "fail"),
        (b"none", 2, "fail"),
        (b"pass", 2, "pass"),
        (b"fail", 2, "fail"),
        (b"policy", 2, "fail"),
    ):
        before = b"cv=none" if number == 1 else b"cv=pass"
        yield made(
            f"cv={cv.decode()} at {number}", "RFC 8617 §5.2 steps 2 and 4", result, seal(before, b"cv=" + cv, number)
        )
    yield made("cv=NONE", "RFC 8617 §4.1.3", "pass", seal(b"cv=none", b"cv=NONE"))
    yield made("no cv=", "RFC 8617 §4.1.3", "fail", seal(b"cv=none; ", b""))
    yield made("cv=fail in the middle", "RFC 8617 §5.2", "fail", link(seal(b"cv=pass", b"cv=fail", 2), 3))
    for what, before, after in (
        ("h=", b"a=rsa", b"h=from; a=rsa"),
        ("no a=", b"a=rsa-sha256; ", b""),
        ("no d=", b"d=s1.example; ", b""),
        ("no s=", b"s=k; ", b""),
        ("no b=", b"b={b}", b"z={b}"),
        ("no i=", b"i=1; ", b""),
        ("a= unknown", b"rsa-sha256", b"rsa-sha512"),
        ("rsa-sha1", b"rsa-sha256", b"rsa-sha1"),
        ("a tag twice", b"s=k;", b"s=k; s=k;"),
        ("i= no number", b"i=1;", b"i=one;"),
        ("i= with a sign", b"i=1;", b"i=+1;"),
        ("b= no base64", b"b={b}", b"b=???; z={b}"),
    ):
        yield made(f"seal: {what}", "RFC 8617 §4.1.3", "fail", seal(before, after))
    for what, before, after in (
        ("no h=", b"h=from:to:subject; ", b""),
        ("no bh=", b"bh={bh};", b""),
        ("no a=", b"a=rsa-sha256; ", b""),
        ("no d=", b"d=s1.example; ", b""),
        ("no s=", b"s=k;", b""),
        ("no i=", b"i=1; ", b""),
        ("a= unknown", b"rsa-sha256", b"rsa-md5"),
        ("c= unknown", b"relaxed/relaxed", b"nofws/x"),
        ("bh= of another body", b"{bh}", b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        ("a tag twice", b"s=k;", b"s=k; d=s1.example;"),
    ):
        yield made(f"message signature: {what}", "RFC 8617 §4.1.2", "fail", ams(before, after))
    raw = ams(b"from:to:subject", b"from:to:subject:arc-seal")
    yield made("message signature: covers ARC-Seal", "RFC 8617 §4.1.2", "fail", raw)
    raw = ams(b"from:to:subject", b"from:dkim-signature:x-none", names=("from",))
    yield made("message signature: names what is not there", "RFC 6376 §5.4.2", "pass", raw)
    yield made("message signature: unknown tags", "RFC 8617 §4.1.2", "pass", ams(b"i=1;", b"i=1; t=1; x=2; zz=3;"))
    yield made("message signature: expired", "RFC 8617 §4.1.2", "pass", ams(b"i=1;", b"i=1; t=1; x=2;"))
    yield made(
        "message signature: i= not first", "RFC 8617 §4.1.2", "pass", ams(b"i=1; a=rsa-sha256;", b"a=rsa-sha256; i=1;")
    )
    for what, value, result in (
        ("i= folded", b"\r\n i = 1 ; mx1.example; none", "pass"),
        ("i= without semicolon", b"i=1 mx1.example; none", "fail"),
        ("i= missing", b"mx1.example; none", "fail"),
        ("i= behind", b"mx1.example; i=1; none", "fail"),
        ("empty payload", b"i=1;", "pass"),
        ("garbage payload", b"i=1; ((( ;;; =", "pass"),
    ):
        yield made(f"results: {what}", "RFC 8617 §4.1.1", result, link(MESSAGE, 1, results=value))


def _keys() -> Iterator[Case]:
    raw = chain(1)
    name = "k._domainkey.s1.example"
    for what, keys, result in (
        ("NXDOMAIN", {}, "fail"),
        ("SERVFAIL", {name: "SERVFAIL"}, "temperror"),
        ("no answer", {name: "TIMEOUT"}, "temperror"),
        ("revoked", {name: {"TXT": ["v=DKIM1; p="]}}, "fail"),
        ("garbage", {name: {"TXT": ["x"]}}, "fail"),
        ("another", {name: {"TXT": [f"p={public_key('rsa1024')}"]}}, "fail"),
        ("two, one right", {name: {"TXT": [f"p={public_key('rsa1024')}", RECORD]}}, "pass"),
        ("not for mail", {name: {"TXT": [RECORD + "; s=tlsrpt"]}}, "fail"),
    ):
        yield made(f"key: {what}", "RFC 8617 §5.2", result, raw, keys=keys)
    tags = {
        "seal": SEAL.replace(b"rsa-", b"ed25519-") % (1, b"none", 1),
        "message_signature": AMS.replace(b"rsa-", b"ed25519-") % (1, 1),
    }
    ed25519 = {name: {"TXT": [f"v=DKIM1; k=ed25519; p={public_key('ed25519')}"]}}
    yield made("an Ed25519 chain", "RFC 8463 §3", "pass", link(MESSAGE, 1, key="ed25519", **tags), keys=ed25519)
