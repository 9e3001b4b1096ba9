"""What rules may ask of a message's content: its digest, its attachments, its longest line.

*Trust.* The message is hostile, and as large as the limit: what reads all of a large one does so in a thread, so that it holds up
no other session.
*Failure.* None of its own.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from mail.message import Message
from mail.mime import attachments, longest_line
from mail.octets import Octets, sha256, whole
from mail.receipt import Attachment
from rules.compiled import Needs
from verdicts.driver import beside

# Parts are found in memory only: of the messages that stand in files, one at a time is there for that.
_in_memory = ThreadPoolExecutor(max_workers=1, thread_name_prefix="in-memory")


async def digest_of(message: Message) -> str:
    """SHA-256 in hex."""
    return await beside(message.raw, sha256)


async def facts_of(message: Message, needs: Needs) -> tuple[tuple[Attachment, ...] | None, int | None]:
    """Attachments, and octets of the longest line; None for what no rule asks for."""
    found = await _attachments(message) if needs.attachments else None
    return found, await beside(message.raw, longest_line) if needs.longest_line else None


async def _attachments(message: Message) -> tuple[Attachment, ...]:
    if isinstance(message.raw, bytes):
        return await beside(message.raw, _parts)
    return await asyncio.get_running_loop().run_in_executor(_in_memory, _parts, message.raw)


def _parts(raw: Octets) -> tuple[Attachment, ...]:
    return attachments(whole(raw))
