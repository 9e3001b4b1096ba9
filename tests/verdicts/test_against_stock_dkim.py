"""Our DKIM beside stock dkimpy on generated and mutated messages: where they differ, an RFC says why.

Stock dkimpy signs messages of every shape; then message, signature and key record are mutated, by accident and by malice, and
both verify. Each difference falls into a class of the table, by what our reason says and what stock did; one that does not is a
failure. TORTURE decides how many.
"""

from __future__ import annotations

import logging
import random
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import dkim
import pytest
from signing import KEYS, PRIVATE_1024, PUBLIC_1024, RECORD, check, resigned

from mail.crlf import has_bare_newline
from mail.message import Message
from mail.verdict import AuthResult

NOW = 1_770_000_000
RSA = f"v=DKIM1; k=rsa; p={PUBLIC_1024.rpartition('p=')[2]}"
P = RSA.rpartition("p=")[2]
ED25519 = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
ED25519_PRIVATE = (KEYS / "rfc8032_7_1.key").read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What both say of one message under a key. `stock` is pass, fail, or the name of the exception that escaped it."""

    raw: bytes
    key: str
    records: tuple[str, ...]
    ours: AuthResult
    stock: str

    @property
    def agrees(self) -> bool:
        return (self.ours.result == "pass") == (self.stock == "pass") and self.stock in ("pass", "fail")


# Why we differ: what our result and reason, stock's answer and the message must be.
CLASSES: dict[str, Any] = {
    "RFC 8301 §3.1: rsa-sha1 does not count": lambda pair: pair.ours.reason.startswith("rsa-sha1"),
    "RFC 6376 §3.6.1: h= of the key forbids sha256": lambda pair: pair.ours.reason == "key does not allow sha256",
    "RFC 6376 §3.6.1: t=s forbids a subdomain in i=": lambda pair: pair.ours.reason.startswith("i= is a subdomain"),
    "RFC 6376 §3.6.1: s= of the key is a list": lambda pair: (
        stock_fails_what_we_pass(pair) and "; s=" in "".join(pair.records)
    ),
    "RFC 6376 §3.6.2.2: several key records, of which one fits": lambda pair: (
        stock_fails_what_we_pass(pair) and len(pair.records) > 1
    ),
    "RFC 6376 §3.6.1: k= and tags are told in any case and with any white space": lambda pair: (
        stock_fails_what_we_pass(pair) and pair.key == "spaced"
    ),
    "RFC 6376 §3.5: q= is a list": lambda pair: stock_fails_what_we_pass(pair) and b"dns/txt:" in unfolded(pair.raw),
    "RFC 6376 §3.5: i= is quoted-printable": lambda pair: stock_fails_what_we_pass(pair) and b"=40" in pair.raw,
    "RFC 6376 §3.5: x= and t= are judged without ten hours of grace": lambda pair: (
        pair.ours.reason in ("signature expired", "signed in the future")
    ),
    "RFC 5322 §4.5.3: white space before the colon is obsolete and legal": lambda pair: (
        pair.stock == "MessageFormatError" and re.search(rb"(?m)^[!-9;-~]+[ \t]+:", pair.raw)
    ),
    "RFC 5322 §2.2: a line that is no field makes the header section malformed": lambda pair: (
        pair.ours.result == "permerror" and bool(Message.of(pair.raw).header.all(""))
    ),
    "RFC 6376 §6.1.1, §6.1.2: what is malformed is permerror or fail, and no exception": lambda pair: (
        pair.ours.result in ("permerror", "fail")
        and pair.stock in ("ValueError", "IndexError", "Error", "AssertionError")
    ),
    # The server refuses such mail (554 5.5.2) or makes it CRLF before anybody judges it; files can have it.
    "RFC 5321 §2.3.8: a bare CR or LF is an octet, not a line end": lambda pair: (
        pair.ours.result != "pass" and has_bare_newline(pair.raw)
    ),
}


def stock_fails_what_we_pass(pair: Pair) -> bool:
    return pair.ours.result == "pass" and pair.stock != "pass"


def unfolded(raw: bytes) -> bytes:
    return re.sub(rb"\s+", b"", raw)


KEYS_OF_RSA = {
    "plain": (RSA,),
    "bare": (f"p={P}",),
    "h-sha256": (f"v=DKIM1; h=sha256; p={P}",),
    "h-sha1": (f"v=DKIM1; h=sha1; p={P}",),
    "s-email": (f"v=DKIM1; s=email; p={P}",),
    "s-list": (f"v=DKIM1; s=email:web; p={P}",),
    "strict": (f"v=DKIM1; t=s; p={P}",),
    "testing": (f"v=DKIM1; t=y; p={P}",),
    "revoked": ("v=DKIM1; p=",),
    "broken": ("v=DKIM1; p=%%%",),
    "other-type": (ED25519,),
    "several": ("v=DKIM1; p=AAAA", RSA),
    "spaced": (f" v = DKIM1 ; k = rsa ; p = {P[:70]} {P[70:]} ",),
    "missing": (),
}
WORDS = [b"hello", b"two  spaces", b"tab\tbed", b"", b" leading", b"trailing \t ", b"x" * 300, "Grüße".encode(), b"."]


def message(rng: random.Random) -> bytes:
    """A header section and a body that canonicalisation has work with."""
    fields = [b"From: Ann <ann@acme.example>"]
    for name in rng.sample(
        [b"To", b"Subject", b"Date", b"Message-ID", b"X-A", b"subject", b"Reply-To"], rng.randint(1, 6)
    ):
        value = rng.choice(WORDS).strip() or b"x"
        fold = rng.choice([b"", b"\r\n folded  more", b"\r\n\tfolded\t"])
        fields.append(name + rng.choice([b": ", b":", b":   "]) + value + fold)
    rng.shuffle(fields)
    lines = [rng.choice(WORDS) for _ in range(rng.randint(0, 6))] + [b""] * rng.randint(0, 3)
    end = rng.choice([b"", b"\r\n"])
    return b"\r\n".join(fields) + b"\r\n\r\n" + b"\r\n".join(lines) + end


def signed(rng: random.Random) -> tuple[bytes, bool]:
    """A message that stock signed, and whether by RSA."""
    raw = message(rng)
    is_rsa = rng.random() < 0.7
    names = [
        name.lower() for name in (b"from", b"to", b"subject", b"date", b"x-a") if rng.random() < 0.8 or name == b"from"
    ]
    field = dkim.sign(
        raw,
        b"s",
        b"acme.example",
        PRIVATE_1024 if is_rsa else ED25519_PRIVATE,
        signature_algorithm=b"rsa-sha256" if is_rsa else b"ed25519-sha256",
        identity=rng.choice([None, b"@acme.example", b"ann@sub.acme.example"]),
        canonicalize=(rng.choice([b"relaxed", b"simple"]), rng.choice([b"relaxed", b"simple"])),
        include_headers=rng.choice([names, [*names, b"from"], [*names, b"absent"]]),
        length=rng.random() < 0.15,
    )
    return bytes(field) + raw, is_rsa


def tag(name: bytes, value: bytes) -> Any:
    return lambda rng, raw: re.sub(
        rb"(?m)([ ;])" + name + rb"=[^;]*;", rb"\1" + name + b"=" + value + b";", raw, count=1
    )


def insert(text: bytes) -> Any:
    def apply(rng: random.Random, raw: bytes) -> bytes:
        at = rng.randint(0, len(raw))
        return raw[:at] + text + raw[at:]

    return apply


def flip(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]


def cut(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + raw[at + rng.randint(1, 40) :]


MUTATIONS: dict[str, Any] = {
    "untouched": lambda rng, raw: raw,
    "flip": flip,
    "cut": cut,
    **{
        f"insert {text!r}": insert(text)
        for text in (b" ", b"\t", b"\r\n", b"\r\n ", b";", b"=", b":", b"\x00", b"\xff", b"\n", b"\r")
    },
    "append line": lambda rng, raw: raw + b"more\r\n",
    "append empty lines": lambda rng, raw: raw + b"\r\n\r\n",
    "second From": lambda rng, raw: b"From: <eve@evil.example>\r\n" + raw,
    "field on top": lambda rng, raw: b"Received: from here\r\n" + raw,
    "no field on top": lambda rng, raw: b"what is this\r\n" + raw,
    "space before colon": lambda rng, raw: re.sub(rb"(?m)^(To|Subject|Date|X-A):", rb"\1 :", raw, count=1),
    "wide header": lambda rng, raw: re.sub(rb"(?m)^(To|Subject|X-A):", rb"\1:  ", raw, count=1),
    "case of a name": lambda rng, raw: re.sub(rb"(?m)^To:", b"TO:", raw, count=1),
    "q list": tag(b"q", b"dns/txt:http/x"),
    "q other": tag(b"q", b"http"),
    "v 2": tag(b"v", b"2"),
    "sha1": tag(b"a", b"rsa-sha1"),
    "a other": tag(b"a", b"rsa-md5"),
    "d label": tag(b"d", b"a..b"),
    "d other": tag(b"d", b"other.example"),
    "c none": tag(b"c", b"nowsp"),
    "i empty": tag(b"i", b""),
    "i evil": tag(b"i", b"@evilacme.example"),
    "l empty": tag(b"q", b"dns/txt; l="),
    "l long": tag(b"q", b"dns/txt; l=99999"),
    "x past": tag(b"q", b"dns/txt; x=%d" % (NOW - 20_000)),
    "x bad": tag(b"q", b"dns/txt; x=soon"),
    "t future": tag(b"t", b"%d" % (NOW + 20_000)),
    "twice": tag(b"q", b"dns/txt; d=acme.example"),
    "unknown tag": tag(b"q", b"dns/txt; zz=1"),
}


# Valid signatures with tags that stock would not write, and what stock then says.
RESIGNED: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({}, "pass"),
    "sha1": ({"algorithm": b"rsa-sha1"}, "pass"),
    "q list": ({"more": b"q=dns/txt:http/x; "}, "fail"),
    "quoted-printable i": ({"identity": b"i=ann=40acme.example; "}, "fail"),
    "expired an hour ago": ({"more": b"t=%d; x=%d; " % (NOW - 7200, NOW - 3600)}, "pass"),
    "signed in an hour": ({"more": b"t=%d; " % (NOW + 3600)}, "pass"),
    "unknown tag": ({"more": b"zz=1; "}, "pass"),
}


def judge(raw: bytes, key: str, records: tuple[str, ...]) -> Pair | None:
    """Both, on a message with exactly one signature; None where the mutation left none."""
    if len(Message.of(raw).header.all("dkim-signature")) != 1:
        return None
    zone = (
        {f"s._domainkey.{name}": {"TXT": list(records)} for name in ("acme.example", "other.example")}
        if records
        else {}
    )
    (ours,) = check(raw, zone, received_at=datetime.fromtimestamp(NOW, UTC))
    # Stock reads the first record only, and tells no key from a failure of DNS.
    try:
        passed = dkim.verify(raw, dnsfunc=lambda name, timeout=5: records[0].encode() if records else None)
        stock = "pass" if passed else "fail"
    except Exception as error:  # whatever a hostile message makes it raise
        stock = type(error).__name__
    return Pair(raw=raw, key=key, records=records, ours=ours, stock=stock)


def classify(pair: Pair) -> str | None:
    return next((name for name, holds in CLASSES.items() if holds(pair)), None)


def test_every_difference_from_stock_has_its_rfc_section(torture: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("dkimpy"), "disabled", True)  # a line for each key that it cannot read
    clock = SimpleNamespace(time=lambda: float(NOW))
    monkeypatch.setattr(dkim, "time", clock)
    rng = random.Random(7)
    counts: Counter[str] = Counter()
    unclassified: list[tuple[str, str, Pair]] = []
    for _ in range(16 * torture):
        base, is_rsa = signed(rng)
        for name, mutate in MUTATIONS.items():
            key = rng.choice(list(KEYS_OF_RSA)) if is_rsa and rng.random() < 0.4 else "plain"
            pair = judge(mutate(rng, base), key, KEYS_OF_RSA[key] if is_rsa else (ED25519,))
            if pair is None:
                counts["without exactly one signature"] += 1
            elif pair.agrees:
                counts["agree: " + pair.stock] += 1
            elif (why := classify(pair)) is not None:
                counts[why] += 1
            else:
                unclassified.append((name, key, pair))
    for name, (tags, says) in RESIGNED.items():
        pair = judge(resigned(**tags), "plain", (RECORD,))
        assert pair is not None
        assert pair.stock == says, name
        if not pair.agrees:
            counts[classify(pair) or f"unclassified: {name}"] += 1
    for name, count in sorted(counts.items()):
        print(f"{count:6} {name}")
    assert unclassified == [], unclassified[:3]
    agreements = {"agree: pass", "agree: fail", "without exactly one signature"}
    assert counts.keys() - agreements == CLASSES.keys(), "a class that nothing falls into explains nothing"
    assert counts["agree: pass"] > 50 * torture
    assert counts["agree: fail"] > 200 * torture
