"""What forward and deliver need of the world: hosts that take mail, and what vouches for it on the way.

Each result stands by itself: what the ledger keeps of a step names every target and what became of it, so a further attempt
addresses only those that are left (semantics.md §4).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from actions.srs import SenderRewriting
from mail.address import Mailbox
from mail.delivery import DeliveryStatus
from mail.octets import Octets
from mail.outcome import Outcome, Result
from mail.receipt import Receipt

KEY = "to:"  # before the address, in a step's data
_DONE = ("delivered", "relayed")
_MOST_NAMED = 3
_DIAGNOSTIC_CHARACTERS = 200


class Carrier(Protocol):
    async def send_all(
        self, mail_from: Mailbox | None, recipients: Sequence[Mailbox], raw: Octets
    ) -> tuple[DeliveryStatus, ...]:
        """Hand over one message to all of them; every failure is in a status: delivered, relayed, delayed or failed."""


Seal = Callable[[Octets, Receipt, datetime], bytes]
"""The ARC fields to put above this content; b"" where no chain can go on. Raises `Malformed` for content that cannot be sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """`relay` takes what goes out, None where none is configured; `smtp` reaches a host by name and port, `lmtp` a mailbox server
    by the path of its socket or by host and port."""

    relay: Carrier | None
    smtp: Callable[[str, int], Carrier]
    lmtp: Callable[[str | tuple[str, int]], Carrier]
    hostname: str
    rewriting: SenderRewriting | None = None
    seal: Seal | None = None


def host_and_port(text: str, port: int = 25) -> tuple[str, int]:
    """`HOST`, `HOST:PORT` or `[IPv6]:PORT`, as the rules' reader let it through."""
    host, colon, number = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), port
    return host.strip("[]"), int(number)


def left(targets: Sequence[Mailbox], earlier: Outcome | None) -> tuple[Mailbox, ...]:
    """The targets that this attempt addresses: none that has the message and, until an operator redrives it, none that refused."""
    if earlier is None:
        return tuple(targets)
    over = _DONE if earlier.result is Result.DEAD else (*_DONE, "failed")
    return tuple(each for each in targets if not earlier.data.get(KEY + str(each), "").startswith(over))


def outcome_of(
    targets: Sequence[Mailbox], statuses: Sequence[DeliveryStatus], earlier: Outcome | None = None
) -> Outcome:
    """What all targets together come to: tried again while one may still get it, dead when the last that is left refused it."""
    kept = {} if earlier is None else {name: value for name, value in earlier.data.items() if name.startswith(KEY)}
    data = {**kept, **{KEY + each.recipient: _told(each) for each in statuses}}
    delayed = [each for each in targets if data.get(KEY + str(each), "delayed").startswith("delayed")]
    failed = [each for each in targets if data.get(KEY + str(each), "").startswith("failed")]
    done = len(targets) - len(delayed) - len(failed)
    if not delayed and not failed:
        return Outcome(result=Result.DONE, detail=f"delivered to {_named(targets)}", data=data)
    told = [f"{done} of {len(targets)} delivered"] if len(targets) > 1 else []
    told += [f"{each}: {data.get(KEY + str(each), 'not tried')}" for each in (*delayed, *failed)[:_MOST_NAMED]]
    result = Result.FAILED if delayed else Result.DEAD
    return Outcome(result=result, detail="; ".join(told), data=data)


def _told(status: DeliveryStatus) -> str:
    return f"{status.action} {status.status} {status.diagnostic[:_DIAGNOSTIC_CHARACTERS]}"


def _named(targets: Sequence[Mailbox]) -> str:
    more = len(targets) - _MOST_NAMED
    return ", ".join(map(str, targets[:_MOST_NAMED])) + (f" and {more} more" if more > 0 else "")
