"""Encrypted objects: SES's format to the byte, and nothing that was changed is ever returned."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from acting import ID, NOW, RAW, context_of, receipt_of
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from actions.ciphers import SealedOctets, seal
from actions.disk import Disk
from actions.envelope_encryption import WRAPPINGS, Encryption, is_sealed, read_envelope, rewrapped, unseal_object
from actions.key_files import KeyFiles
from actions.keys import DataKey, KeyRing, LocalKeys
from actions.object_store import ObjectStore
from actions.protocol import Parked
from mail.address import parse_mailbox
from mail.errors import GatepostError, Malformed, Permanent
from mail.octets import pieces, whole
from mail.outcome import Result

CONTENT = b"X-Ours: yes\r\n" + RAW


class Kms:
    """A provider whose data key is known, and which opens it under the same context only, as KMS does."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []

    async def generate(self, key: str, context: Any) -> DataKey:
        self.calls.append((key, dict(context)))
        return DataKey(plain=bytes(range(32)), wrapped=b"blob:" + json.dumps(dict(context), sort_keys=True).encode())

    async def unwrap(self, wrapped: bytes, context: Any) -> bytes:
        if wrapped != b"blob:" + json.dumps(dict(context), sort_keys=True).encode():
            raise Permanent("InvalidCiphertextException")
        return bytes(range(32))


@pytest.fixture
def kms() -> Kms:
    return Kms()


def encryption(keys: Any, **rest: Any) -> Encryption:
    return Encryption(keys=keys, account="123456789012", entropy=lambda octets: b"\7" * octets, **rest)


@pytest.fixture
def local(tmp_path: Path) -> LocalKeys:
    files = KeyFiles(tmp_path / "keys")
    files.create("mail", NOW)
    files.create("other", NOW)
    return LocalKeys(files)


async def test_metadata_and_body_are_those_of_ses(kms: Kms) -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:alias/mail"
    sealed = await encryption(kms).seal(CONTENT, key=key, message_id=ID, rule="support")
    description = (
        f'{{"aws:ses:message-id":"{ID}","aws:ses:rule-name":"support","aws:ses:source-account":"123456789012",'
        f'"kms_cmk_id":"{key}"}}'
    )
    assert sealed.metadata == {
        "x-amz-key-v2": base64.b64encode(
            b"blob:" + json.dumps(json.loads(description), sort_keys=True).encode()
        ).decode(),
        "x-amz-iv": "BwcHBwcHBwcHBwcH",
        "x-amz-cek-alg": "AES/GCM/NoPadding",
        "x-amz-wrap-alg": "kms",
        "x-amz-tag-len": "128",
        "x-amz-unencrypted-content-length": str(len(CONTENT)),
        "x-amz-matdesc": description,
    }
    assert kms.calls == [(key, json.loads(description))]
    assert len(sealed.body) == len(CONTENT) + 16
    assert AESGCM(bytes(range(32))).decrypt(b"\7" * 12, sealed.body, None) == CONTENT


async def test_kms_context_names_the_cipher_in_the_context(kms: Kms) -> None:
    sealed = await encryption(kms, wrapping="kms+context").seal(CONTENT, key="alias/mail", message_id=ID, rule="a")
    assert sealed.metadata["x-amz-wrap-alg"] == "kms+context"
    assert kms.calls[0][1]["aws:x-amz-cek-alg"] == "AES/GCM/NoPadding"
    assert json.loads(sealed.metadata["x-amz-matdesc"]) == kms.calls[0][1]
    assert await unseal_object(sealed.body, sealed.metadata, kms) == CONTENT


@given(st.binary(max_size=200))
async def test_what_is_sealed_is_unsealed(plain: bytes) -> None:
    provider = Kms()
    sealed = await Encryption(keys=provider).seal(plain, key="alias/mail", message_id=ID, rule="a")
    assert await unseal_object(sealed.body, sealed.metadata, provider) == plain


async def test_a_large_object_is_sealed_as_it_is_read(kms: Kms) -> None:
    plain = bytes(range(256)) * (3 << 12)
    sealed = await encryption(kms).seal(plain, key="alias/mail", message_id=ID, rule="a")
    assert not isinstance(sealed.body, bytes)
    assert await unseal_object(b"".join(pieces(sealed.body)), sealed.metadata, kms) == plain


@given(st.binary(max_size=200), st.integers(1, 250))
def test_what_is_sealed_in_pieces_is_what_is_sealed_at_once_and_can_be_read_again(plain: bytes, size: int) -> None:
    key, nonce = bytes(range(32)), bytes(12)
    sealed = SealedOctets(key, nonce, plain)
    assert len(sealed) == len(plain) + 16
    for _ in range(2):
        assert b"".join(pieces(sealed, size=size)) == seal(key, nonce, plain)
    assert whole(sealed) == seal(key, nonce, plain)


def test_sealed_octets_are_never_read_out_of_order() -> None:
    sealed = SealedOctets(bytes(32), bytes(12), b"x" * 100)
    assert len(sealed[:10]) == 10
    with pytest.raises(ValueError, match="in order"):
        sealed[20:30]


def changed_description(metadata: dict[str, str], **more: str) -> str:
    return json.dumps({**json.loads(metadata["x-amz-matdesc"]), **more}, sort_keys=True, separators=(",", ":"))


CHANGES: dict[str, Any] = {
    "body": lambda body, meta: (body[:-1] + bytes([body[-1] ^ 1]), meta),
    "first octet": lambda body, meta: (bytes([body[0] ^ 1]) + body[1:], meta),
    "cut": lambda body, meta: (body[:-20], meta),
    "empty": lambda body, meta: (b"", meta),
    "nonce": lambda body, meta: (body, {**meta, "x-amz-iv": base64.b64encode(b"\1" * 12).decode()}),
    "short nonce": lambda body, meta: (body, {**meta, "x-amz-iv": base64.b64encode(b"\1" * 4).decode()}),
    "cipher": lambda body, meta: (body, {**meta, "x-amz-cek-alg": "AES/CBC/PKCS5Padding"}),
    "tag": lambda body, meta: (body, {**meta, "x-amz-tag-len": "96"}),
    "wrapping": lambda body, meta: (body, {**meta, "x-amz-wrap-alg": "AESWrap"}),
    "renamed wrapping": lambda body, meta: (body, {**meta, "x-amz-wrap-alg": "kms+context"}),
    "message id": lambda body, meta: (
        body,
        {**meta, "x-amz-matdesc": changed_description(meta, **{"aws:ses:message-id": "other"})},
    ),
    "key id": lambda body, meta: (
        body,
        {**meta, "x-amz-matdesc": changed_description(meta, kms_cmk_id="alias/other")},
    ),
    "no description": lambda body, meta: (body, {**meta, "x-amz-matdesc": "{}"}),
    "list": lambda body, meta: (body, {**meta, "x-amz-matdesc": "[1]"}),
    "deep": lambda body, meta: (body, {**meta, "x-amz-matdesc": "[" * 100_000}),
    "numbers": lambda body, meta: (body, {**meta, "x-amz-matdesc": '{"a":1}'}),
    "wrapped key": lambda body, meta: (body, {**meta, "x-amz-key-v2": base64.b64encode(b"gpk1" + bytes(80)).decode()}),
    "no base64": lambda body, meta: (body, {**meta, "x-amz-key-v2": "*"}),
    "lacking": lambda body, meta: (body, {name: text for name, text in meta.items() if name != "x-amz-key-v2"}),
    "plain": lambda body, meta: (body, {}),
}
SAME = ("renamed wrapping", "kms+context")


@pytest.mark.parametrize(
    ("change", "wrapping"),
    [(change, wrapping) for change in CHANGES for wrapping in WRAPPINGS if (change, wrapping) != SAME],
)
async def test_nothing_that_was_changed_is_returned(local: LocalKeys, change: str, wrapping: str) -> None:
    sealed = await encryption(local, wrapping=wrapping).seal(CONTENT, key="alias/mail", message_id=ID, rule="a")
    body, metadata = CHANGES[change](sealed.body, sealed.metadata)
    with pytest.raises(GatepostError):
        await unseal_object(body, metadata, local)


async def test_metadata_of_one_object_does_not_open_another(local: LocalKeys) -> None:
    one = await Encryption(keys=local).seal(CONTENT, key="alias/mail", message_id=ID, rule="a")
    two = await Encryption(keys=local).seal(CONTENT, key="alias/mail", message_id=ID, rule="a")
    assert one.body != two.body
    with pytest.raises(Malformed):
        await unseal_object(one.body, two.metadata, local)


async def test_rewrapping_changes_the_wrapped_key_alone(local: LocalKeys) -> None:
    sealed = await Encryption(keys=local).seal(CONTENT, key="alias/mail", message_id=ID, rule="a")
    metadata = rewrapped(sealed.metadata, b"new")
    assert read_envelope(metadata).wrapped == b"new"
    assert {**metadata, "x-amz-key-v2": ""} == {**sealed.metadata, "x-amz-key-v2": ""}


@pytest.mark.parametrize("name", ["x-amz-key-v2", "x-amz-key", "x-amz-3"])
def test_every_version_of_the_format_counts_as_encrypted(name: str) -> None:
    assert is_sealed({name: "x"})
    assert not is_sealed({"spam": "PASS"})


async def test_ring_unwraps_by_whoever_wrapped(local: LocalKeys, kms: Kms) -> None:
    for makes in ("local", "aws"):
        ring = KeyRing(local=local, kms=kms, makes=makes)
        sealed = await Encryption(keys=ring).seal(CONTENT, key="alias/mail", message_id=ID, rule="a")
        assert (read_envelope(sealed.metadata).wrapped[:4] == b"gpk1") == (makes == "local")
        for other in ("local", "aws"):
            opener = KeyRing(local=local, kms=kms, makes=other)
            assert await unseal_object(sealed.body, sealed.metadata, opener) == CONTENT


async def test_disk_writes_the_encrypted_message_behind_a_line_of_metadata(local: LocalKeys, tmp_path: Path) -> None:
    store = ObjectStore()
    disk = Disk(store, tmp_path, Encryption(keys=local))
    parameters = {"path": "mail", "kms_key_arn": "alias/mail", "metadata": {"spam": "{spam}", "rule": "r-{rule}"}}
    outcome = await disk.run(context_of("disk", parameters))
    path = tmp_path / "mail" / ID
    assert outcome.data["path"] == str(path)
    assert [each.name for each in path.parent.iterdir()] == [ID]
    line, _, body = _read(path).partition(b"\n")
    metadata = json.loads(line)
    assert (metadata["rule"], metadata["spam"]) == ("r-support", "DISABLED")
    assert RAW[:20] not in body
    assert path.stat().st_mode & 0o777 == 0o600
    assert await unseal_object(body, metadata, local) == CONTENT
    # The same key again, in the clear: what a rotation left may not say that it is encrypted.
    path.with_name(f"{ID}.metadata.json").write_bytes(line)
    await disk.run(context_of("disk", {"path": "mail"}))
    assert _read(path) == CONTENT
    assert [each.name for each in path.parent.iterdir()] == [ID]
    # Metadata of a plain object stands beside it.
    await disk.run(context_of("disk", {"path": "mail", "metadata": {"size": "{size}"}}))
    assert _read(path) == CONTENT
    assert json.loads(_read(path.with_name(f"{ID}.metadata.json"))) == {"size": str(len(RAW))}
    await store.close()


def _read(path: Path) -> bytes:
    return path.read_bytes()


async def test_without_a_key_nothing_is_stored_in_the_clear(local: LocalKeys, tmp_path: Path) -> None:
    store = ObjectStore()
    with pytest.raises(Parked):
        await Disk(store, tmp_path).run(context_of("disk", {"path": "mail", "kms_key_arn": "alias/mail"}))
    with pytest.raises(GatepostError, match="gatepost keys create nobody"):
        await Disk(store, tmp_path, Encryption(keys=local)).run(
            context_of("disk", {"path": "mail", "kms_key_arn": "alias/nobody"})
        )
    assert not (tmp_path / "mail").exists()
    await store.close()


async def test_each_recipient_of_a_template_has_an_object_under_a_key_of_its_own(
    local: LocalKeys, tmp_path: Path
) -> None:
    store = ObjectStore()
    receipt = receipt_of(recipients=[parse_mailbox(f"{name}@example.com") for name in ("a", "b", "c")])
    parameters = {"path": "mail", "kms_key_arn": "alias/mail", "object_key_prefix": "{recipient.local_part}/"}
    outcome = await Disk(store, tmp_path, Encryption(keys=local)).run(context_of("disk", parameters, receipt=receipt))
    assert outcome.result is Result.DONE
    assert json.loads(outcome.data["object_keys"]) == [f"{name}/{ID}" for name in "abc"]
    assert outcome.detail.endswith("and 2 more")
    bodies = {(tmp_path / "mail" / name / ID).read_bytes() for name in "abc"}
    assert len(bodies) == 3
    await store.close()
