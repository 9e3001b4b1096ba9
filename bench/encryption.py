"""CPU that encryption adds, in microseconds a message: to a stored object, and to a message's whole way (goal: 10 %).

    .venv/bin/python -m bench.encryption [DIRECTORY]

Messages of 4 KB and 50 KB go to disk plain, plain with metadata (a second file, as an encrypted object has one), and under a key of
the local key store. `store` is the disk action alone; `drain` is accept and runner over the SQLite spool, with disk and a webhook
whose receiver costs nothing. The three take turns, so that they meet the same machine; medians of the process's CPU time are
printed. DIRECTORY is where it all goes, ./.cache by default.
"""

import asyncio
import hashlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from actions.disk import Disk
from actions.envelope_encryption import Encryption
from actions.http_port import HttpReply
from actions.key_files import KeyFiles
from actions.keys import LocalKeys
from actions.object_store import ObjectStore
from actions.protocol import Context
from actions.runner import Runner
from actions.webhook import Webhook
from mail.address import parse_mailbox
from mail.client import Client
from mail.envelope import Envelope, Recipient
from mail.ids import message_id
from mail.receipt import Receipt, encode_receipt
from mail.verdict import AuthResult, Verdicts
from rules.compiled import compile_book
from rules.model import ActionSpec, Rule, RuleBook, RuleSet
from rules.step import Step
from spool.database import open_spool
from spool.ports import Accepted, HistoryRow, JobKind, NewJob

NOW = datetime(2026, 1, 13, 21, 2, 45, tzinfo=UTC)
ROUNDS, MESSAGES, AT_ONCE = 9, 320, 32
HEADER = b"From: Alice <alice@sender.example>\r\nSubject: Hello\r\n\r\n"
MAILBOX = parse_mailbox("support@example.com")
HOOK = ActionSpec(type="webhook", parameters={"url": "https://hooks.example/in", "format": "raw"})
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "metadata": {"metadata": {"spam": "x" * 600}},
    "encrypted": {"kms_key_arn": "alias/bench"},
}


class Receiver:
    """An HTTP port that takes everything at once."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> HttpReply:
        return HttpReply(status=200)


def receipt_of(raw: bytes, number: int, rule_set: str = "", recipient: str = "support@example.com") -> Receipt:
    none = AuthResult(method="spf", result="none")
    return Receipt(
        message_id=message_id(NOW, 0, number.to_bytes(17, "big")),
        received_at=NOW,
        client=Client(ip="192.0.2.9"),
        envelope=Envelope(reverse_path=MAILBOX, recipients=(Recipient(mailbox=parse_mailbox(recipient)),)),
        size=len(raw),
        digest=hashlib.sha256(raw).hexdigest(),
        verdicts=Verdicts(spf=none, dkim=(), dmarc=none, arc=none),
        header=HEADER,
        rule_set=rule_set,
    )


def context_of(raw: bytes, number: int, parameters: dict[str, Any]) -> Context:
    receipt = receipt_of(raw, number)
    step = Step(
        message_id=receipt.message_id,
        evaluation=0,
        rule="archive",
        index=0,
        position=0,
        spec=ActionSpec(type="disk", parameters=parameters),
        recipients=(MAILBOX,),
    )
    return Context(step=step, receipt=receipt, raw=raw, prepended=b"", parameters=parameters, now=NOW)


async def store(disk: Disk, raw: bytes, parameters: dict[str, Any]) -> float:
    """Microseconds of CPU, of all threads, for one object of a burst."""
    contexts = [context_of(raw, number, parameters) for number in range(MESSAGES)]
    began = time.process_time()
    for start in range(0, MESSAGES, AT_ONCE):
        await asyncio.gather(*(disk.run(context) for context in contexts[start : start + AT_ONCE]))
    return (time.process_time() - began) / MESSAGES * 1e6


async def drain(disk: Disk, raw: bytes, parameters: dict[str, Any], where: Path) -> float:
    """Microseconds of CPU for one message from its accept to the end of both of its steps."""
    rule = Rule(name="archive", actions=(ActionSpec(type="disk", parameters=parameters), HOOK))
    book = compile_book(RuleBook(active="default", rule_sets=(RuleSet(name="default", rules=(rule,)),)))
    spool = open_spool(where, 0, ballast_octets=0)
    runner = Runner(
        spool,
        books=lambda _: book,
        actions={"disk": disk, "webhook": Webhook(Receiver())},
        prepend=lambda _receipt, _step: b"",
        clock=lambda: datetime.now(UTC),
        environment={},
    )
    running = asyncio.create_task(runner.run())
    units = [unit_of(raw, receipt_of(raw, number, book.digest)) for number in range(MESSAGES)]
    began = time.process_time()
    for start in range(0, MESSAGES, AT_ONCE):
        for job in await asyncio.gather(*(spool.accept(unit) for unit in units[start : start + AT_ONCE])):
            if job is not None:
                runner.take(job)
    await runner.idle()
    spent = (time.process_time() - began) / MESSAGES * 1e6
    await runner.drain()
    await running
    await spool.close()
    return spent


def unit_of(raw: bytes, receipt: Receipt) -> Accepted:
    history = HistoryRow(
        id=receipt.message_id,
        session="s",
        at=NOW,
        client_ip="192.0.2.9",
        helo="mx.sender.example",
        mail_from=str(MAILBOX),
        rcpt_to=(str(MAILBOX),),
        phase="accepted",
        outcome="accepted",
    )
    return Accepted(
        message_id=receipt.message_id,
        received_at=NOW,
        receipt=encode_receipt(receipt),
        header_octets=len(HEADER),
        raw=raw,
        answers={},
        rule_book=receipt.rule_set,
        history=history,
        job=NewJob(kind=JobKind.WALK, message_id=receipt.message_id, key=f"{receipt.message_id}/0", not_before=NOW),
    )


async def main(base: Path) -> None:
    files = KeyFiles(base / "keys")
    files.create("bench", datetime.now(UTC))
    objects = ObjectStore()
    disk = Disk(objects, base, Encryption(keys=LocalKeys(files)))
    for octets in (4_000, 50_000):
        raw = HEADER + b"x" * (octets - len(HEADER))
        for what in ("store", "drain"):
            spent: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(ROUNDS):
                for way, more in WAYS.items():
                    parameters = {"path": "objects", **more}
                    if what == "store":
                        spent[way].append(await store(disk, raw, parameters))
                    else:
                        spent[way].append(await drain(disk, raw, parameters, base / "spool"))
                        await asyncio.to_thread(shutil.rmtree, base / "spool")
                    await asyncio.to_thread(shutil.rmtree, base / "objects")
            show(octets, what, {way: statistics.median(values) for way, values in spent.items()})
    await objects.close()


def show(octets: int, what: str, spent: dict[str, float]) -> None:
    plain = spent["plain"]
    shown = ", ".join(f"{way} {value:.0f} us ({(value / plain - 1) * 100:+.0f} %)" for way, value in spent.items())
    over = (spent["encrypted"] / spent["metadata"] - 1) * 100
    print(f"{octets:6,} octets, {what}: {shown}; encrypted over metadata {over:+.1f} %", flush=True)


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else ".cache")
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as made:
        asyncio.run(main(Path(made).resolve()))
