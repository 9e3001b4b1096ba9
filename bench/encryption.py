"""CPU that encryption adds to the disk action, in microseconds a message (goal: at most 10 %).

    .venv/bin/python -m bench.encryption [DIRECTORY]

Stores messages of 4 KB and 50 KB through the action, plain and under a key of the local key store, in turns so that both meet the
same machine, and prints the median of the process's CPU time for each. DIRECTORY is where the objects go, ./.cache by default:
on a memory file system a store costs less, so encryption weighs more.
"""

import asyncio
import hashlib
import shutil
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from actions.disk import Disk
from actions.envelope_encryption import Encryption
from actions.key_files import KeyFiles
from actions.keys import LocalKeys
from actions.object_store import ObjectStore
from actions.protocol import Context
from mail.address import parse_mailbox
from mail.client import Client
from mail.envelope import Envelope, Recipient
from mail.ids import message_id
from mail.receipt import Receipt
from mail.verdict import AuthResult, Verdicts
from rules.model import ActionSpec
from rules.step import Step

NOW = datetime(2026, 1, 13, 21, 2, 45, tzinfo=UTC)
ROUNDS, MESSAGES, AT_ONCE = 15, 320, 32


def context_of(octets: int, number: int, parameters: dict[str, str]) -> Context:
    header = b"From: Alice <alice@sender.example>\r\nSubject: Hello\r\n\r\n"
    raw = header + b"x" * (octets - len(header))
    mailbox = parse_mailbox("support@example.com")
    none = AuthResult(method="spf", result="none")
    receipt = Receipt(
        message_id=message_id(NOW, 0, number.to_bytes(17, "big")),
        received_at=NOW,
        client=Client(ip="192.0.2.9"),
        envelope=Envelope(reverse_path=mailbox, recipients=(Recipient(mailbox=mailbox),)),
        size=len(raw),
        digest=hashlib.sha256(raw).hexdigest(),
        verdicts=Verdicts(spf=none, dkim=(), dmarc=none, arc=none),
        header=header,
    )
    step = Step(
        message_id=receipt.message_id,
        evaluation=0,
        rule="archive",
        index=0,
        position=0,
        spec=ActionSpec(type="disk", parameters=parameters),
        recipients=(mailbox,),
    )
    return Context(step=step, receipt=receipt, raw=raw, prepended=b"", parameters=parameters, now=NOW)


async def cpu_per_message(disk: Disk, octets: int, parameters: dict[str, str]) -> float:
    """Microseconds of CPU, of all threads, for one message of a burst."""
    contexts = [context_of(octets, number, parameters) for number in range(MESSAGES)]
    began = time.process_time()
    for start in range(0, MESSAGES, AT_ONCE):
        await asyncio.gather(*(disk.run(context) for context in contexts[start : start + AT_ONCE]))
    return (time.process_time() - began) / MESSAGES * 1e6


async def main(base: Path) -> None:
    files = KeyFiles(base / "keys")
    files.create("bench", datetime.now(UTC))
    store = ObjectStore()
    disk = Disk(store, base, Encryption(keys=LocalKeys(files)))
    for octets in (4_000, 50_000):
        plain, sealed = [], []
        for _ in range(ROUNDS):
            plain.append(await cpu_per_message(disk, octets, {"path": "plain"}))
            sealed.append(await cpu_per_message(disk, octets, {"path": "sealed", "kms_key_arn": "alias/bench"}))
            await asyncio.to_thread(shutil.rmtree, base / "plain")
            await asyncio.to_thread(shutil.rmtree, base / "sealed")
        one, other = statistics.median(plain), statistics.median(sealed)
        print(f"{octets:6,} octets: plain {one:6.0f} us, encrypted {other:6.0f} us, +{(other / one - 1) * 100:.1f} %")
    await store.close()


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else ".cache")
    where.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=where) as made:
        asyncio.run(main(Path(made).resolve()))
