"""Messages to put into a spool."""

from datetime import UTC, datetime

from mail.ids import message_id
from spool.ports import Accepted, HistoryRow, JobKind, NewJob

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def accepted_of(number: int, octets: int = 4096, shard: int = 0, at: datetime = NOON) -> Accepted:
    name = message_id(at, shard, number.to_bytes(17, "big"))
    header = b"Subject: %d\r\n\r\n" % number
    row = HistoryRow(
        id=name,
        session=f"s{number}",
        at=at,
        client_ip="192.0.2.1",
        helo="mx.example",
        mail_from="a@b.example",
        rcpt_to=("x@y.example",),
        phase="accepted",
        outcome="accepted",
    )
    return Accepted(
        message_id=name,
        received_at=at,
        receipt=b"{}",
        header_octets=len(header),
        raw=header + number.to_bytes(4, "big") * ((octets - len(header)) // 4),
        answers={},
        rule_book="book",
        history=row,
        job=NewJob(kind=JobKind.WALK, message_id=name, key=f"{name}/0", not_before=at),
    )
