"""Signing: what stock dkimpy and our own check say of it, and that the bytes are stock dkimpy's wherever it can write them."""

from __future__ import annotations

import base64
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from signing import KEYS, MESSAGE, PRIVATE_1024, PRIVATE_2048, RECORD, check

from mail.errors import Malformed, Misuse
from mail.message import Message
from outbound.sign import MOST_NAMES, sign, signed_names
from outbound.signing_key import SigningKey, load_key

NOW = datetime(2026, 1, 13, 21, 2, 45, tzinfo=UTC)
SEED = (KEYS / "rfc8032_7_1.key").read_bytes()
RSA = load_key("acme.example", "s", PRIVATE_2048)
ED25519 = load_key("acme.example", "e", SEED)
RECORDS = {
    "s._domainkey.acme.example": RECORD,
    "e._domainkey.acme.example": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
}
RSA_OF_512_BITS = b"""-----BEGIN RSA PRIVATE KEY-----
MIIBOwIBAAJBAMEx8h+oULqjkVP7F3f2XKPMCEq4GR1RYJYWAo5db93zZZmKs5as
g5OgfSPSFUkDXUn68t+nlpIH2GduvbLQyzECAwEAAQJAfZsscTqsafwIc5JverY5
GuF/jpzM70vGQS5EMS08mw8QDuI5hm26NQyraPoXOlA0LTTZZkPJSqouId0MgARI
JQIhAOEJrBBLvOq8RMxLTRTQTztdMGaiXVbFRHHGaYiWL77fAiEA28a0P4SYJqoN
Ol4mLjJmaJWBTJa1ML8unfUe9MIqh+8CIQCRunm6c9F7EUBcK8dW2y7z+n0Fec+I
CWcxZpOg5+EzcQIgGIb6gsQ3fsknpMXxGOLDDxTwUy3WltQfTb2XcNVijb0CIQCg
ki5qcg9YZ5/ZwW4SjNtJAFLVLgVuzZiyLLOA9jMKtA==
-----END RSA PRIVATE KEY-----
"""
ZONE = {name: {"TXT": [record]} for name, record in RECORDS.items()}


def signed(raw: bytes = MESSAGE, *keys: SigningKey, **options: Any) -> bytes:
    return sign(Message.of(raw), keys or (RSA,), now=NOW, **options) + raw


def stock_verifies(raw: bytes, number: int = 0) -> bool:
    return bool(dkim.DKIM(raw).verify(number, dnsfunc=lambda name, timeout=5: RECORDS[name.decode()[:-1]].encode()))


def results(raw: bytes, **more: Any) -> list[str]:
    return [one.result for one in check(raw, ZONE, received_at=NOW, **more)]


def random_message(chance: random.Random) -> bytes:
    """Fields of every shape, in any order and number, over a body of white space and words."""
    words = [b"a", b"  ", b"\t", b" \r\n ", b"\r\n\t", b"=C3=A4", b"\xc3\xa4", b";", b"b=1", b"x" * 90]
    names = [b"To", b"to", b"CC", b"Subject", b"DATE", b"Received", b"X-Odd", b"List-Id", b"References", b"From "]
    fields = [b"From: Ann <ann@acme.example>\r\n"]
    for _ in range(chance.randrange(8)):
        value = b"".join(chance.choices(words, k=chance.randrange(6)))
        fields.append(chance.choice(names).strip() + b":" + value.replace(b"\r\n \r\n", b"\r\n") + b"x\r\n")
    chance.shuffle(fields)
    body = b"".join(chance.choices([*words, b"\r\n", b"\r\n\r\n", b" \r\n"], k=chance.randrange(12)))
    return b"".join(fields) + b"\r\n" + body + b"\r\n"


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
def test_bytes_are_stock_dkimpys_for_the_same_key_time_and_fields(
    key: SigningKey, monkeypatch: pytest.MonkeyPatch, torture: int
) -> None:
    monkeypatch.setattr("dkim.time.time", NOW.timestamp)
    private = PRIVATE_2048 if key is RSA else SEED
    chance = random.Random(6376)
    compared = torture * (3 if key is RSA else 20)
    for _ in range(compared):
        raw = random_message(chance)
        names = signed_names(Message.of(raw).header)
        theirs = dkim.sign(
            raw,
            key.selector.encode(),
            key.domain.encode(),
            private,
            canonicalize=(b"relaxed", b"relaxed"),
            signature_algorithm=key.algorithm.encode(),
            include_headers=[name.encode() for name in names],
        )
        assert sign(Message.of(raw), (key,), now=NOW) == theirs, raw
        assert stock_verifies(signed(raw, key))
        assert results(signed(raw, key)) == ["pass"]
    print(f"{key.algorithm}: {compared} signatures byte-equal to stock dkimpy's")


def test_each_key_signs_and_both_verify_at_stock_dkimpy_too() -> None:
    raw = signed(MESSAGE, ED25519, RSA)
    assert [one.properties["header.a"] for one in check(raw, ZONE)] == ["ed25519-sha256", "rsa-sha256"]
    assert results(raw) == ["pass", "pass"]
    assert stock_verifies(raw, 0)
    assert stock_verifies(raw, 1)


@pytest.mark.parametrize("name", ["From", "Reply-To", "To", "Cc", "Subject"])
def test_nobody_can_add_a_field_that_readers_show(name: str) -> None:
    raw = signed()
    assert results(raw) == ["pass"]
    assert results(f"{name}: someone else <x@evil.example>\r\n".encode() + raw) == ["fail"]


def test_fields_that_a_relay_may_add_do_not_break_a_signature() -> None:
    raw = signed(b"From: ann@acme.example\r\n\r\nx\r\n")
    assert results(
        b"Received: x\r\nMessage-ID: <1@relay.example>\r\nDate: Fri, 02 Jan 2026 03:04:05 +0000\r\n" + raw
    ) == ["pass"]


def test_a_second_date_breaks_the_signature_of_a_message_with_one() -> None:
    assert results(b"Date: Sat, 03 Jan 2026 03:04:05 +0000\r\n" + signed()) == ["fail"]


def test_from_is_signed_once_more_than_it_stands_there() -> None:
    assert signed_names(Message.of(MESSAGE).header).count("from") == 2


def test_a_signature_expires_when_it_is_told_to() -> None:
    raw = signed(expires=NOW + timedelta(days=1))
    assert b"x=%d" % (NOW.timestamp() + 86400) in raw
    assert [one.result for one in check(raw, ZONE, received_at=NOW + timedelta(days=2))] == ["fail"]
    assert results(raw) == ["pass"]
    with pytest.raises(Misuse):
        signed(expires=NOW)


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        ("ann@acme.example", b"i=ann@acme.example;"),
        ("ann@News.Acme.example", b"i=ann@news.acme.example;"),
        ("a;b=c d@acme.example", b"i=a=3Bb=3Dc=20d@acme.example;"),
        ("änn@acme.example", b"i==C3=A4nn@acme.example;"),
    ],
)
def test_an_identity_is_written_so_that_no_tag_can_hide_in_it(identity: str, shown: bytes) -> None:
    raw = signed(identity=identity)
    assert shown in raw
    assert results(raw) == ["pass"]


@pytest.mark.parametrize("identity", ["ann", "ann@evil.example", "ann@xacme.example", "x" * 80 + "@acme.example", "@"])
def test_an_identity_outside_the_domain_is_refused(identity: str) -> None:
    with pytest.raises(Misuse):
        signed(identity=identity)


def test_a_domain_longer_than_a_line_is_signed_for_unfolded() -> None:
    domain = ".".join(["l" * 60, "m" * 60, "example"])
    raw = signed(MESSAGE, load_key(domain, "sel", PRIVATE_2048))
    zone = {f"sel._domainkey.{domain}": {"TXT": [RECORD]}}
    assert [one.result for one in check(raw, zone, received_at=NOW)] == ["pass"]
    assert max(map(len, raw.split(b"\r\n"))) < 998


def test_a_key_of_an_international_domain_signs_by_its_a_label() -> None:
    key = load_key("bücher.example", "s", PRIVATE_2048)
    assert key.domain == "xn--bcher-kva.example"
    assert b"i=@xn--bcher-kva.example;" in signed(MESSAGE, key)


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: x\r\n\r\nx\r\n",
        b"From: a@acme.example\r\nno field\r\n\r\nx\r\n",
        b" folded: first\r\nFrom: a@acme.example\r\n\r\nx\r\n",
        b"From: a@acme.example\nTo: b@example.com\r\n\r\nx\r\n",
        b"From: a@acme.example\r\n" + b"To: b@example.com\r\n" * MOST_NAMES + b"\r\nx\r\n",
        b"",
    ],
)
def test_a_message_that_readers_disagree_about_is_not_signed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        signed(raw)


def test_a_signature_that_leaves_out_from_is_refused() -> None:
    with pytest.raises(Misuse):
        signed(names=("to", "subject"))


@given(st.binary(max_size=400))
def test_whatever_the_message_signing_refuses_it_or_the_signature_verifies(text: bytes) -> None:
    raw = b"From: a@acme.example\r\n" + text + b"\r\n"
    try:
        made = signed(raw, ED25519)
    except Malformed:
        return
    assert results(made) == ["pass"]


def _pem(key: Any, form: PrivateFormat) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def test_keys_are_read_in_every_form_that_people_have() -> None:
    rsa = generate_private_key(65537, 1024)
    seed = Ed25519PrivateKey.from_private_bytes(base64.b64decode(SEED))
    for text in (_pem(rsa, PrivateFormat.TraditionalOpenSSL), _pem(rsa, PrivateFormat.PKCS8).replace(b"\n", b"\r\n")):
        assert load_key("acme.example", "s", text).algorithm == "rsa-sha256"
    for text in (_pem(seed, PrivateFormat.PKCS8), SEED, SEED.strip() + b"\r\n"):
        key = load_key("Acme.Example", "S", text)
        assert (key.algorithm, key.domain, key.selector) == ("ed25519-sha256", "acme.example", "s")
        assert key.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex().startswith("d75a98018")


@pytest.mark.parametrize(
    "private",
    [
        b"",
        b"junk",
        b"c2hvcnQ=",
        b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\n" + RECORD.rpartition("p=")[2].encode() + b"\n-----END PUBLIC KEY-----\n",
        b"-----",
    ],
)
def test_a_key_that_cannot_sign_is_told_without_being_shown(private: bytes) -> None:
    with pytest.raises(Misuse) as raised:
        load_key("d.example", "s", private)
    assert "AAAA" not in str(raised.value)


def test_a_key_too_short_to_be_believed_does_not_sign() -> None:
    with pytest.raises(Misuse, match="512 bits"):
        load_key("acme.example", "s", RSA_OF_512_BITS)
    assert load_key("acme.example", "s", PRIVATE_1024).private.key_size == 1024


@pytest.mark.parametrize(
    ("domain", "selector"), [("", "s"), ("a b", "s"), ("acme.example", ""), ("acme.example", "s;d=x")]
)
def test_a_domain_or_selector_that_no_field_can_carry_is_refused(domain: str, selector: str) -> None:
    with pytest.raises(Misuse):
        load_key(domain, selector, PRIVATE_2048)
