"""deliver: the message to its own recipients, at a mailbox server or another MX, or into a Maildir.

What travels is what rules and actions see: our fields and the bytes as they came. Only Return-Path does not go with it over SMTP
and LMTP, because the server that ends the delivery writes it (RFC 5321 §4.4). The verdicts do: what stands behind us is the
operator's.

*Failure.* Each recipient has its own result in the step's data; an attempt addresses only those that are left.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actions import maildir
from actions.onward import Carrier, Onward, host_and_port, left, outcome_of
from actions.protocol import Context
from mail.headers import header_field, parse_header
from mail.message import without_spans
from mail.octets import Octets, spliced
from mail.outcome import Outcome, Result

UNIX = "unix:"


class Deliver:
    """A relative `maildir` is below `base`."""

    def __init__(self, onward: Onward, base: Path) -> None:
        self._onward = onward
        self._base = base

    def destination(self, parameters: Mapping[str, Any]) -> str:
        return str(parameters.get("lmtp") or parameters.get("smtp") or "")

    async def run(self, context: Context) -> Outcome:
        if "maildir" in context.parameters:
            return await self._into_maildir(context, self._base / str(context.parameters["maildir"]))
        targets = context.step.recipients
        addressed = left(targets, context.earlier)
        if not addressed:
            return outcome_of(targets, (), context.earlier)
        statuses = await self._carrier(context.parameters).send_all(
            context.receipt.envelope.reverse_path, addressed, content_without(context, "return-path")
        )
        return outcome_of(targets, statuses, context.earlier)

    def _carrier(self, parameters: Mapping[str, Any]) -> Carrier:
        place = str(parameters.get("lmtp", ""))
        if place.startswith(UNIX):
            return self._onward.lmtp(str(self._base / place.removeprefix(UNIX)))
        if place:
            return self._onward.lmtp(host_and_port(place, 24))
        return self._onward.smtp(*host_and_port(str(parameters["smtp"])))

    async def _into_maildir(self, context: Context, path: Path) -> Outcome:
        name = maildir.file_name(context.step.key, int(context.receipt.received_at.timestamp()), self._onward.hostname)
        # One file for all: who they are would be lost otherwise (RFC 9228).
        delivered_to = b"".join(header_field("Delivered-To", each) for each in context.recipients)
        try:
            fresh = await asyncio.to_thread(maildir.write, path, name, spliced(delivered_to, context.content, ()))
        except (OSError, ValueError) as error:  # ValueError: a NUL in a configured path
            reason = error.strerror if isinstance(error, OSError) else error
            return Outcome(result=Result.FAILED, detail=f"{path}: {reason}")
        detail = f"delivered to {path}" if fresh else f"was in {path} already"
        return Outcome(result=Result.DONE, detail=detail, data={"path": str(path), "file": name})


def content_without(context: Context, *names: str) -> Octets:
    """The message as actions see it without these of the fields that we put above it, in lower case; `x-ses-*` is all of them."""
    gone = tuple(
        (field.start, field.end)
        for field in parse_header(context.prepended).fields
        if field.name.lower() in names or ("x-ses-*" in names and field.name.lower().startswith("x-ses-"))
    )
    return spliced(without_spans(context.prepended, gone), context.raw, context.receipt.cut)
