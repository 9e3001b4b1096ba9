"""What the session machine asks of its driver: one thing at a time, each answered before the next.

`Greet`, `Hello`, `Mail`, `Rcpt`, `Data` and `Verb` are answered with a `Reply` (or None where `smtp.backend.Session` allows it),
the others with None.
"""

import msgspec

from mail.address import Mailbox
from mail.client import Client
from mail.envelope import Envelope
from mail.reply import Reply


class Greet(msgspec.Struct, frozen=True):
    client: Client


class Hello(msgspec.Struct, frozen=True):
    client: Client


class Mail(msgspec.Struct, frozen=True):
    reverse_path: Mailbox | None
    declared_size: int | None
    smtputf8: bool


class Rcpt(msgspec.Struct, frozen=True):
    mailbox: Mailbox


class Arrived(msgspec.Struct, frozen=True):
    """The next octets of a large message that is still coming; the last ones come with `Data`."""

    octets: bytes


class Data(msgspec.Struct, frozen=True):
    """`rest` is the message, but for what `Arrived` brought of it before; `octets` counts all of it."""

    envelope: Envelope
    rest: bytes
    octets: int


class Verb(msgspec.Struct, frozen=True):
    """A command that changes no state; the server answers it (semantics.md §7: NOOP, HELP, VRFY, EXPN)."""

    name: str
    argument: str


class Reset(msgspec.Struct, frozen=True):
    pass


class Refused(msgspec.Struct, frozen=True):
    """`limit` is the setting that was exceeded; empty for anything else. `sender` is whom a refused MAIL names."""

    command: str
    reply: Reply
    limit: str = ""
    sender: Mailbox | None = None


class Denied(msgspec.Struct, frozen=True):
    """The client was refused at the door: the setting `limit` leaves no room for it, or wants a PROXY header in vain."""

    client: Client
    reply: Reply
    limit: str


class StartTls(msgspec.Struct, frozen=True):
    """Put TLS on the connection, then call `Machine.secured`; until then the machine takes no octet.

    `ahead` are octets of TLS that came already, behind a PROXY header.
    """

    ahead: bytes = b""


class Breathe(msgspec.Struct, frozen=True):
    """Much pipelined input has been served at a stretch: let other connections have their turn before the answer."""


class Close(msgspec.Struct, frozen=True):
    """The last event. `linger`: the client may still be sending, and must be let read the reply."""

    linger: bool


Event = Greet | Hello | Mail | Rcpt | Arrived | Data | Verb | Reset | Refused | Denied | StartTls | Breathe | Close
