"""What an action makes of a large message is the same wherever that stands, and it never has all of it in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from acting import context_of, listening, receipt_of
from carriers import LmtpSink, Sent, Told, lmtp_client, onward
from test_envelope_encryption import Kms

from actions.deliver import Deliver
from actions.disk import Disk
from actions.envelope_encryption import Encryption, unseal_object
from actions.forward import Forward
from actions.invoke_function import _write_message
from actions.object_store import ObjectStore
from actions.s3 import S3
from gatepost.octets_file import OctetsFile
from gatepost.stored_files import read_file_object
from mail.octets import PIECE_OCTETS, Octets, pieces, whole
from mail.outcome import Outcome, Result
from mail.receipt import Receipt
from tests.elsewhere import Elsewhere

HEAD = b"From: Ann <ann@acme.example>\r\nX-SES-Spam-Verdict: forged\r\nTo: x@example.com\r\n\r\n"
RAW = HEAD + b".0123456789\xe9abcdef\r\n" * 100_000
CUT = ((HEAD.index(b"X-SES"), HEAD.index(b"To:")),)
SEEN = b"X-Ours: yes\r\n" + RAW[: CUT[0][0]] + RAW[CUT[0][1] :]


@pytest.fixture(params=["memory", "elsewhere"])
def raw(request: pytest.FixtureRequest) -> Any:
    made: Octets = RAW if request.param == "memory" else Elsewhere(RAW)
    yield made
    if isinstance(made, Elsewhere):
        assert 0 < made.most <= PIECE_OCTETS


def attempt(kind: str, raw: Octets, **parameters: object) -> Any:
    return context_of(kind, parameters, raw=raw, receipt=receipt_of(RAW, cut=CUT))  # type: ignore[arg-type]


async def stored(raw: Octets, base: Path, encryption: Encryption | None, **parameters: object) -> Path:
    store = ObjectStore()
    outcome = await Disk(store, base, encryption).run(attempt("disk", raw, path="mail", **parameters))
    await store.close()
    assert outcome.result is Result.DONE
    return Path(outcome.data["path"])


async def test_a_file(raw: Octets, tmp_path: Path) -> None:
    assert (await stored(raw, tmp_path, None)).read_bytes() == SEEN


async def test_an_encrypted_file(raw: Octets, tmp_path: Path) -> None:
    kms = Kms()
    path = await stored(raw, tmp_path, Encryption(keys=kms), kms_key_arn="alias/mail")
    assert await unseal_object(*read_file_object(path), kms) == SEEN


class Bucket:
    """Reads a body as boto3 does: twice, from the beginning."""

    def __init__(self) -> None:
        self.bodies: list[tuple[bytes, dict[str, str]]] = []

    async def put(self, bucket: str, key: str, body: Octets, metadata: Mapping[str, str], *, role: str = "") -> None:
        del bucket, key, role
        file = OctetsFile(body)
        assert file.seek(0, 2) == len(body)
        for _ in range(2):
            file.seek(0)
            read = b"".join(iter(lambda: file.read(100_000), b""))
        self.bodies.append((read, dict(metadata)))


async def test_an_object_in_a_bucket(raw: Octets) -> None:
    bucket = Bucket()
    await S3(bucket).run(attempt("s3", raw, bucket_name="b"))  # type: ignore[arg-type]
    assert [body for body, _ in bucket.bodies] == [SEEN]


async def test_an_encrypted_object_in_a_bucket(raw: Octets) -> None:
    bucket, kms = Bucket(), Kms()
    await S3(bucket, Encryption(keys=kms)).run(attempt("s3", raw, bucket_name="b", kms_key_arn="alias/a"))  # type: ignore[arg-type]
    ((body, metadata),) = bucket.bodies
    assert await unseal_object(body, metadata, kms) == SEEN


async def test_a_maildir(raw: Octets, tmp_path: Path) -> None:
    outcome = await Deliver(onward(None), tmp_path).run(attempt("deliver", raw, maildir="m"))
    assert outcome.result is Result.DONE
    (path,) = (tmp_path / "m" / "new").iterdir()
    assert path.read_bytes().endswith(SEEN)


async def test_a_mailbox_server(raw: Octets) -> None:
    sink = LmtpSink()
    async with listening(sink, limit=2 * len(RAW)) as port:
        outcome = await Deliver(onward(lmtp_client(("127.0.0.1", port))), Path()).run(
            attempt("deliver", raw, lmtp="x:24")
        )
    assert outcome.result is Result.DONE
    assert "BODY=8BITMIME" in " ".join(sink.commands)
    ((_, got),) = sink.messages
    assert got.replace(b"\r\n..", b"\r\n.").removesuffix(b".\r\n") == SEEN


class Reading(Told):
    """Takes what it is given to the last piece."""

    async def send_all(self, mail_from: Any, recipients: Any, raw: Octets) -> Any:
        statuses = await super().send_all(mail_from, recipients, b"")
        self.sent[-1] = Sent(mail_from, tuple(map(str, recipients)), b"".join(pieces(raw)))
        return statuses


async def test_a_forwarded_message_with_a_seal_and_a_from_of_ours(raw: Octets) -> None:
    def seal(content: Octets, receipt: Receipt, now: object) -> bytes:
        del receipt, now
        assert b"".join(pieces(content)).endswith(RAW[CUT[0][1] :])
        return b"ARC-Seal: i=1\r\n"

    carrier = Reading()
    outcome: Outcome = await Forward(onward(carrier, seal=seal)).run(
        attempt("forward", raw, to=["y@elsewhere.example"], **{"from": "rewrite"})
    )
    assert outcome.result is Result.DONE
    sent = carrier.sent[0].raw
    assert sent.index(b"ARC-Seal: i=1\r\n") < sent.index(b"From: ")
    assert b"forged" not in sent
    assert b"X-Original-From: Ann <ann@acme.example>\r\n" in sent
    assert sent.endswith(RAW[CUT[0][1] :])


def test_the_file_of_a_function(raw: Octets, tmp_path: Path) -> None:
    path = _write_message(attempt("lambda", raw).content, tmp_path)
    assert Path(path).read_bytes() == SEEN


def test_the_whole_is_the_same_too() -> None:
    assert whole(attempt("disk", Elsewhere(RAW)).content) == attempt("disk", RAW).content == SEEN
