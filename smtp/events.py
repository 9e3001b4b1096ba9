"""What the session machine asks of its driver: one thing at a time, each answered before the next.

`Greet`, `Hello`, `Mail`, `Rcpt`, `Data` and `Verb` are answered with a `Reply` (or None where `smtp.backend.Session` allows it),
the others with None.
"""

from dataclasses import dataclass

from mail.address import Mailbox
from mail.client import Client
from mail.envelope import Envelope
from mail.reply import Reply


@dataclass(frozen=True, slots=True)
class Greet:
    client: Client


@dataclass(frozen=True, slots=True)
class Hello:
    client: Client


@dataclass(frozen=True, slots=True)
class Mail:
    reverse_path: Mailbox | None
    declared_size: int | None
    smtputf8: bool


@dataclass(frozen=True, slots=True)
class Rcpt:
    mailbox: Mailbox


@dataclass(frozen=True, slots=True)
class Arrived:
    """The next octets of a large message that is still coming; the last ones come with `Data`, which holds all."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Data:
    envelope: Envelope
    raw: bytes


@dataclass(frozen=True, slots=True)
class Verb:
    """A command that changes no state; the server answers it (semantics.md §7: NOOP, HELP, VRFY, EXPN)."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class Reset:
    pass


@dataclass(frozen=True, slots=True)
class Refused:
    """`limit` is the setting that was exceeded; empty for anything else."""

    command: str
    reply: Reply
    limit: str = ""


@dataclass(frozen=True, slots=True)
class Denied:
    """The client was refused at the door: the setting `limit` leaves no room for it."""

    client: Client
    reply: Reply
    limit: str


@dataclass(frozen=True, slots=True)
class StartTls:
    """Put TLS on the connection, then call `Machine.secured`; until then the machine takes no octet."""


@dataclass(frozen=True, slots=True)
class Breathe:
    """Much pipelined input has been served at a stretch: let other connections have their turn before the answer."""


@dataclass(frozen=True, slots=True)
class Close:
    """The last event. `linger`: the client may still be sending, and must be let read the reply."""

    linger: bool


Event = Greet | Hello | Mail | Rcpt | Arrived | Data | Verb | Reset | Refused | Denied | StartTls | Breathe | Close
