"""The built-in scorer beside the scan engines: asked after the other checks, because it weighs what they found.

Its questions to DNS are the message's own (`verdicts.inquiry`), so they are evidence and have a budget.
"""

import asyncio
from dataclasses import dataclass

from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Permanent
from mail.message import Message
from mail.octets import Octets
from mail.verdict import ScanResult
from verdicts.builtin_scorer import NAME, BuiltinScorer
from verdicts.builtin_scorer_features import Found
from verdicts.inquiry import Inquiry, Need, OverBudget


@dataclass(kw_only=True)
class Scoring:
    """A `Scanner` for one message. Lists of domains get `dns_seconds` to answer; then they list nothing."""

    scorer: BuiltinScorer
    message: Message
    found: Found
    inquiry: Inquiry
    dns_seconds: float
    name: str = NAME

    async def scan(self, raw: Octets, envelope: Envelope, client: Client, message_id: str = "") -> ScanResult:
        del raw, envelope, client, message_id
        read = await self.scorer.read(self.message)
        deadline = asyncio.get_running_loop().time() + self.dns_seconds
        while True:
            try:
                return self.scorer.score(self.inquiry.begin("spam"), read, self.found)
            except Need as need:
                await self.inquiry.fetch(need.questions, deadline)
            except OverBudget as error:
                raise Permanent(str(error)) from None
