"""SendBounce's parts, from the settings and the spool: what the API calls (`actions.send_bounce`)."""

import secrets
from collections.abc import Awaitable, Callable

from actions.bounce import Relay
from actions.protocol import Prepend
from actions.send_bounce import BounceSending, Original
from gatepost.settings import Settings
from mail.ids import is_message_id
from mail.message import without_spans
from mail.receipt import decode_receipt
from rules.compiled import CompiledBook
from rules.model import ActionSpec
from rules.step import Step
from spool.ports import MessageState, NotFound, StoredMessage
from verdicts.alignment import registrable_domain

_REGION = "us-east-1"


def bounce_sending_of(settings: Settings, book: CompiledBook, relay: Relay | None, hostname: str) -> BounceSending:
    """Mail may be sent from the domains of the active `book`."""
    return BounceSending(
        relay=relay,
        hostname=hostname,
        region=settings.aws_region or _REGION,
        organizational_domain=registrable_domain,
        is_ours=book.is_ours,
        entropy=lambda: secrets.token_hex(16),
        always=book.book.bounce == "always",
    )


async def original_of(
    message: Callable[[str], Awaitable[StoredMessage]], prepend: Prepend, message_id: str
) -> Original | None:
    """The message that is to be bounced, as an action would see it; `message` is a spool's or its reader's.

    None: there is none such, or retention has taken its header section.
    """
    try:
        stored = await message(message_id) if is_message_id(message_id) else None
    except NotFound:
        return None
    if stored is None or stored.header is None:
        return None
    receipt = decode_receipt(stored.receipt, stored.header, stored.answers)
    step = Step(
        message_id=message_id,
        evaluation=stored.evaluation,
        rule="",
        index=0,
        position=0,
        spec=ActionSpec(type="bounce", parameters={}),
        recipients=receipt.envelope.mailboxes,
    )
    header = prepend(receipt, step) + without_spans(receipt.header, receipt.cut)
    return Original(receipt=receipt, header=header, refused=stored.state is MessageState.REJECTED)
