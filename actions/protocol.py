"""The contract of an action.

The runner calls `run` once per attempt of one step, never twice at once for the same key, and may call it again with the same
key after a crash between the effect and its record: an action overwrites or names its effect by the key. The action owns nothing
it is given. It returns an `Outcome`; DONE, SKIPPED, SUPPRESSED and UNMAPPED are final, FAILED is retried until the step expires,
DEAD is final at once. An exception of the `Temporary` family counts as FAILED, `Permanent` and `Malformed` as DEAD, `Parked` parks
the job with its reason; anything else is our own fault and parks it too.

`destination` names what one dead target would hold up (a host, the relay), "" where there is none; it is pure and never raises.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

from actions.topics import Topic
from mail.errors import GatepostError
from mail.headers import HeaderView, parse_header
from mail.message import without_spans
from mail.octets import Octets, spliced
from mail.outcome import Outcome
from mail.receipt import Receipt
from rules.model import ActionSpec
from rules.step import Step


class Parked(GatepostError):
    """The step cannot run until an operator changes something; its text says what."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """One attempt. `raw` is the message as it came; `prepended` are the fields that stand above it for this step.

    `parameters` are the step's, with `${NAME}` resolved. `now` is this attempt's time; `attempt` counts from 1.
    `in_session` says that the whole message was refused in the SMTP session already; `bounce_always` is the rule book's
    `bounce: always` (semantics.md §3). `topic` is the rule book's topic that `topic_arn` names, if it is one of them.

    `earlier` is what the last recorded attempt of this step came to, for an action that repeats only what is left; DEAD there means
    that an operator redrives it. `whole` is the outcome of the action that this step is a part of.

    `stores` gives the rule set's disk and s3 actions with the names of their rules, `${NAME}` resolved, for functions that read.
    """

    step: Step
    receipt: Receipt
    raw: Octets
    prepended: bytes
    parameters: dict[str, Any]
    now: datetime
    attempt: int = 1
    in_session: bool = False
    bounce_always: bool = False
    topic: Topic | None = None
    earlier: Outcome | None = None
    whole: Outcome | None = None
    stores: Callable[[], tuple[tuple[str, ActionSpec], ...]] = tuple

    @cached_property
    def content(self) -> Octets:
        """The message as rules and actions see it: our fields on top, forged ones gone, all other bytes as they came."""
        return spliced(self.prepended, self.raw, self.receipt.cut)

    @cached_property
    def content_header(self) -> bytes:
        """The header section of `content`, with the blank line that ends it."""
        return self.prepended + without_spans(self.receipt.header, self.receipt.cut)

    @cached_property
    def header(self) -> HeaderView:
        return parse_header(self.content_header)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The recipients that the step's rule took, as text."""
        return tuple(str(mailbox) for mailbox in self.step.recipients)

    @property
    def topic_arn(self) -> str:
        """What SES's JSON shows as `topicArn`; "" where the action names no topic."""
        return self.topic.arn if self.topic is not None else str(self.parameters.get("topic_arn") or "")

    @property
    def processing_millis(self) -> int:
        """Milliseconds from receipt to this attempt, at least 1 (SES: processingTimeMillis)."""
        return max(1, round((self.now - self.receipt.received_at).total_seconds() * 1000))


class Action(Protocol):
    async def run(self, context: Context) -> Outcome: ...

    def destination(self, parameters: Mapping[str, Any]) -> str: ...


Prepend = Callable[[Receipt, Step], bytes]
"""Builds the fields that stand above the message for a step (Return-Path … X-SES-RECEIPT, then the added ones).

Of the step it looks at `scanned` and `added` only.
"""
