"""forward: the message to other addresses, each by itself, with a reverse-path that can take the bounce (RFC 5321 §3.9.1).

What travels is what rules and actions see, so the sender's own fields and DKIM signatures stay as they came; without Return-Path,
which the last server writes, and without our X-SES-* fields: they tell a consumer of ours what we found, and another mail system
would believe them of a stranger or cut them out. Received, Received-SPF, Authentication-Results and what `add_header` added go
along. On top come the ARC set, if a key is configured, and the mark by which we know the message when it comes back.

*Trust.* A target may send the message round to us: each is marked with host and target, and a marked one is not sent there again;
a chain that strips the mark ends when our own Received stands there for the fifth time. An SRS address is turned back only if we
made it.
*Failure.* Each target has its own result in the step's data; an attempt addresses only those that are left.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from actions.deliver import content_without
from actions.onward import Carrier, Onward, host_and_port, left, outcome_of
from actions.own_sender import own_sender
from actions.protocol import Context, Parked
from mail.address import Mailbox, parse_mailbox
from mail.delivery import DeliveryStatus
from mail.errors import Malformed
from mail.headers import header_field
from mail.octets import Octets, spliced
from mail.outcome import Outcome

MARK = "X-Gatepost-Forwarded"
MOST_PASSES = 5
ORIGINAL_SENDER = "srs"


class Forward:
    """Through `via`, else through the relay."""

    def __init__(self, onward: Onward) -> None:
        self._onward = onward

    def destination(self, parameters: Mapping[str, Any]) -> str:
        return str(parameters.get("via") or "relay")

    async def run(self, context: Context) -> Outcome:
        carrier = self._carrier(context.parameters)
        targets, statuses = self._targets(context)
        addressed = [each for each in left(targets, context.earlier) if str(each) not in statuses]
        statuses |= {str(each): status for each in addressed if (status := self._loop(context, each)) is not None}
        notes: dict[str, str] = {}
        if any(str(each) not in statuses for each in addressed):
            reverse_path = self._reverse_path(context, notes)
            content = await self._sealed(context, notes)
            for each in addressed:
                if str(each) not in statuses:
                    marked = spliced(header_field(MARK, self._mark(each)), content, ())
                    (statuses[str(each)],) = await carrier.send_all(reverse_path, (each,), marked)
        outcome = outcome_of(targets, tuple(statuses.values()), context.earlier)
        told = "; ".join((outcome.detail, *notes.values()))
        return Outcome(result=outcome.result, detail=told, data={**outcome.data, **notes})

    def _carrier(self, parameters: Mapping[str, Any]) -> Carrier:
        if parameters.get("via"):
            return self._onward.smtp(*host_and_port(str(parameters["via"])))
        if self._onward.relay is None:
            raise Parked("no relay configured: set relay.host or give forward a via, then release this job")
        return self._onward.relay

    def _targets(self, context: Context) -> tuple[tuple[Mailbox, ...], dict[str, DeliveryStatus]]:
        """Whom to send it to, each once, and what is decided already: SRS addresses that we did not make."""
        targets: dict[Mailbox, None] = {}
        refused: dict[str, DeliveryStatus] = {}
        for text in context.parameters["to"]:
            if text != ORIGINAL_SENDER:
                targets[parse_mailbox(str(text))] = None
                continue
            for recipient in context.step.recipients:
                try:
                    if self._onward.rewriting is None:
                        raise Malformed("srs.domain is not set")
                    targets[self._onward.rewriting.sender(recipient, context.now)] = None
                except Malformed as error:
                    targets[recipient] = None
                    refused[str(recipient)] = _failed(context, recipient, "5.1.1", str(error))
        return tuple(targets), refused

    def _loop(self, context: Context, target: Mailbox) -> DeliveryStatus | None:
        fields = context.receipt.fields
        if any(field.text == self._mark(target) for field in fields.all(MARK)):
            return _failed(context, target, "5.4.6", "a loop: it came back after we had forwarded it there")
        by_us = re.compile(rf"\bby\s+{re.escape(self._onward.hostname)}(?:\s|\Z)", re.IGNORECASE)
        passes = sum(by_us.search(field.text) is not None for field in fields.all("Received"))
        if passes >= MOST_PASSES:
            return _failed(context, target, "5.4.6", f"a loop: it has been here {passes} times")
        return None

    def _mark(self, target: Mailbox) -> str:
        """Says nothing of the target to who reads it."""
        return hashlib.sha256(f"{self._onward.hostname}\0{target}".encode()).hexdigest()[:24]

    def _reverse_path(self, context: Context, notes: dict[str, str]) -> Mailbox | None:
        reverse_path, rewriting = context.receipt.envelope.reverse_path, self._onward.rewriting
        if reverse_path is None or rewriting is None:
            return reverse_path
        rewritten = rewriting.reverse_path(reverse_path, context.now)
        if rewritten is None:
            notes["srs"] = f"{reverse_path} is too long for SRS and stays the reverse-path"
        return rewritten or reverse_path

    async def _sealed(self, context: Context, notes: dict[str, str]) -> Octets:
        content = content_without(context, "return-path", "x-ses-*")
        if context.parameters.get("from") == "rewrite":
            content = own_sender(content, context.step.recipients[0])
        if self._onward.seal is None:
            return content
        try:
            # Signing a large message takes a while, and so does RSA.
            fields = await asyncio.to_thread(self._onward.seal, content, context.receipt, context.now)
        except Malformed as error:
            fields = b""
            notes["arc"] = f"not sealed: {error}"
        return spliced(fields, content, ())


def _failed(context: Context, recipient: Mailbox, status: str, why: str) -> DeliveryStatus:
    return DeliveryStatus(
        recipient=str(recipient), action="failed", status=status, diagnostic=why, attempted_at=context.now
    )
