"""What the inbound path is given by whoever wires it: everything that is not a pure decision or a value."""

import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from inbound.event import Event
from inbound.gate import Gate
from inbound.sampling import Sampler
from mail.client import Client
from mail.counters import Counters
from mail.envelope import Envelope
from mail.headers import HeaderView
from mail.message import Message, Span
from rules.compiled import CompiledBook, Needs
from rules.machine import Evaluation
from spool.ports import Accepted, Job, Spool
from verdicts.canonical import BodyHashes
from verdicts.judge import Judgement


class Judge(Protocol):
    """`verdicts.judge` with its resolver, policy and scanners bound.

    `dnsbl` are the lists that list the client; `bodies` are body hashes that are made already;
    `message_id` is told to engines.
    """

    async def __call__(
        self,
        message: Message,
        envelope: Envelope,
        client: Client,
        *,
        received_at: datetime,
        needs: Needs,
        dnsbl: tuple[str, ...],
        bodies: BodyHashes | None = None,
        message_id: str = "",
    ) -> Judgement: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundSettings:
    """`hostname` is ours. `reserve_*`: below this much free disk nothing is taken (semantics.md §6).

    `wait_for_names_seconds` is how long a message waits for `name_of`; `wait_for_lists_seconds` how long the first RCPT, or the
    message, waits for the lists. `refuse_listed`: a client on a list is refused at RCPT. `verifies_signatures`: the judge
    wants body hashes.
    """

    hostname: str = "localhost"
    split_recipients: bool = False
    max_ready_jobs: int = 100_000
    reserve_fraction: float = 0.05
    reserve_octets: int = 2**30
    most_received_fields: int = 100  # RFC 5321 §6.3
    most_header_octets: int = 2**20
    most_header_lines: int = 20_000
    wait_for_names_seconds: float = 2.0
    wait_for_lists_seconds: float = 2.0
    refuse_listed: bool = True
    verifies_signatures: bool = True


def _ignore(_: Event) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All that an inbound session uses.

    `book` gives the active rule book, compiled; `forged_spans` the fields to cut; `on_accept` gets each leased first job after its
    commit, with the message that it is about; `clock` gives aware UTC; `entropy` so many random bytes; `name_of` asks DNS for
    the confirmed name of an address (None: it is not asked); `lists` are DNS lists by name, each asked whether it lists an address;
    `counters` are the process's own; `monotonic` gives the seconds of a latency, and decides nothing; `gate` counts and judges
    clients; `sampler` chooses the rows about exceeded limits; `under_way` are the
    sessions with an open transaction.
    """

    book: Callable[[], CompiledBook]
    judge: Judge
    forged_spans: Callable[[HeaderView], tuple[Span, ...]]
    spool: Spool
    on_accept: Callable[[Job, Accepted, Evaluation], None]
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    on_event: Callable[[Event], None] = _ignore
    name_of: Callable[[str], Coroutine[Any, Any, str | None]] | None = None
    lists: Mapping[str, Callable[[str], Coroutine[Any, Any, bool]]] = field(default_factory=dict)
    settings: InboundSettings = field(default_factory=InboundSettings)
    counters: Counters = field(default_factory=Counters)
    monotonic: Callable[[], float] = time.monotonic
    gate: Gate = field(default_factory=Gate)
    sampler: Sampler = field(default_factory=Sampler)
    under_way: set[object] = field(default_factory=set)
