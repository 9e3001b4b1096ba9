"""A state directory as a server leaves it, for the commands that read and change it."""

import asyncio
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mail.address import parse_mailbox
from mail.client import Client
from mail.envelope import Envelope, Recipient
from mail.headers import parse_header
from mail.ids import message_id
from mail.outcome import Result
from mail.receipt import Receipt, encode_receipt
from mail.verdict import AuthResult, Verdicts
from spool.database import open_spool
from spool.ports import (
    Accepted,
    HistoryRow,
    JobChange,
    JobKind,
    JobState,
    LedgerRow,
    MessageState,
    NewJob,
    Recorded,
)

T0 = datetime(2026, 1, 13, 21, 2, 45, tzinfo=UTC)
RAW = (
    b"From: Shop <billing@shop.example>\r\nTo: support@example.com\r\nSubject: Your invoice\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8bWzMxbQ==\r\n"
    b'--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename="a.pdf"\r\n\r\n%PDF\x00\xff\r\n--b--\r\n'
)
PASSED = Verdicts(
    spf=AuthResult(method="spf", result="pass", properties={"smtp.mailfrom": "billing@shop.example"}),
    dkim=(AuthResult(method="dkim", result="pass", properties={"header.d": "shop.example"}),),
    dmarc=AuthResult(method="dmarc", result="pass", properties={"header.from": "shop.example"}),
    arc=AuthResult(method="arc", result="none"),
)


@dataclass(kw_only=True)
class Mail:
    """One message to put into the spool, and what became of it."""

    number: int = 0
    sender: str = "billing@shop.example"
    to: str = "support@example.com"
    subject: str = "Your invoice"
    state: MessageState = MessageState.DONE
    raw: bytes = RAW
    steps: tuple[tuple[str, str, Result, str], ...] = (("archive", "disk", Result.DONE, "stored as /mail/1"),)
    left: JobState | None = None
    last: str = ""
    destination: str = ""
    data: dict[str, str] = field(default_factory=dict)

    @property
    def at(self) -> datetime:
        return T0 + timedelta(hours=self.number)

    @property
    def id(self) -> str:
        return message_id(self.at, 0, self.number.to_bytes(17, "big"))


def refused(number: int, **more: object) -> HistoryRow:
    values = {
        "id": f"00ff00ff00ff00{number:02x}.1",
        "session": f"00ff00ff00ff00{number:02x}",
        "at": T0 + timedelta(hours=number),
        "client_ip": "203.0.113.9",
        "helo": "evil.example",
        "mail_from": "spam@evil.example",
        "rcpt_to": ("nobody@example.com",),
        "phase": "rcpt",
        "outcome": "refused",
        "reply": "550 5.1.1 Requested action not taken: mailbox unavailable",
    }
    return HistoryRow(**{**values, **more})  # type: ignore[arg-type]


def fill(directory: Path, *mails: Mail, refusals: tuple[HistoryRow, ...] = ()) -> Path:
    """Make the state directory and let it go again."""

    async def put() -> None:
        spool = open_spool(directory, 0)
        for row in refusals:
            await spool.log(row)
        for mail in mails:
            await _put(spool, mail)
        await spool.close()

    asyncio.run(put())
    return directory


def accepted(mail: Mail) -> Accepted:
    """The unit with which the server takes it."""
    header = mail.raw[: parse_header(mail.raw).body_start]
    receipt = Receipt(
        message_id=mail.id,
        received_at=mail.at,
        client=Client(ip="192.0.2.10", helo="mail.shop.example", name="mail.shop.example", protocol="ESMTP"),
        envelope=Envelope(
            reverse_path=parse_mailbox(mail.sender), recipients=(Recipient(mailbox=parse_mailbox(mail.to)),)
        ),
        size=len(mail.raw),
        digest=hashlib.sha256(mail.raw).hexdigest(),
        verdicts=PASSED,
        rule_set="ab" * 32,
    )
    return Accepted(
        message_id=mail.id,
        received_at=mail.at,
        receipt=encode_receipt(receipt),
        header_octets=len(header),
        raw=mail.raw,
        answers={},
        rule_book="ab" * 32,
        history=HistoryRow(
            id=mail.id,
            session=f"{mail.number:016x}",
            at=mail.at,
            client_ip="192.0.2.10",
            helo="mail.shop.example",
            mail_from=mail.sender,
            rcpt_to=(mail.to,),
            phase="accepted",
            outcome="accepted",
            reply=f"250 2.0.0 Ok {mail.id}",
            subject=mail.subject,
            header_from="billing@shop.example",
            size=len(mail.raw),
        ),
        job=NewJob(kind=JobKind.WALK, message_id=mail.id, key=f"{mail.id}/0", not_before=mail.at),
    )


async def _put(spool, mail: Mail) -> None:
    job = await spool.accept(accepted(mail))
    ledger = tuple(
        LedgerRow(
            message_id=mail.id,
            evaluation=0,
            rule=rule,
            index=position,
            recipient="",
            action=action,
            position=position,
            result=result,
            at=mail.at,
            detail=detail,
            data=mail.data,
        )
        for position, (rule, action, result, detail) in enumerate(mail.steps)
    )
    step = NewJob(
        kind=JobKind.STEP,
        message_id=mail.id,
        key=f"{mail.id}/0/{mail.steps[-1][0]}/{len(mail.steps) - 1}",
        not_before=mail.at,
        expires_at=mail.at + timedelta(hours=4),
        destination=mail.destination,
    )
    await spool.record(
        Recorded(
            message_id=mail.id,
            ledger=ledger,
            job=JobChange(id=job.id),
            new_jobs=(step,) if mail.left else (),
            state=mail.state,
        )
    )
    if mail.left:
        for job in await spool.claim(mail.at, 100):
            ours = job.message_id == mail.id
            change = JobChange(id=job.id, state=mail.left if ours else JobState.READY, last=mail.last if ours else "")
            await spool.record(Recorded(message_id=job.message_id, job=change))
