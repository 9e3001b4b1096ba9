"""A session that is written down while it happens: for an operator who asked for it, and for nobody else.

The listener makes `TracedServer`s in place of `Server`s while somebody asks (`Listener.make`): a session that nobody asked for has
nothing of this in its way.

*Trust.* What is written down is a stranger's text: command lines as they came, cut at `LINE_CHARACTERS`. Content is never written
down, only how much of it came; nor is what may be a secret: the argument of AUTH, and any line that is no command we know, for
a password typed at the wrong moment is one.
"""

from collections.abc import Callable
from typing import Literal

from mail.client import Client, Tls
from smtp.config import SmtpConfig
from smtp.events import Data, Event
from smtp.machine import Machine
from smtp.owner import Owner
from smtp.server import Server

LINE_CHARACTERS = 500
_SHOWN = frozenset(
    b"EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT STARTTLS VRFY EXPN HELP XCLIENT".split()  # all that carry no secret
)

Direction = Literal["<", ">", "-"]
"""What came, what went, and what happened without a line."""

Tape = Callable[[Client, Direction, str], None]
"""Takes one line of a session, with the client as it is known then."""


class TracedMachine(Machine):
    """The machine, with every command line and every reply told to a tape in the order in which they happened."""

    def __init__(self, config: SmtpConfig, client: Client, tape: Tape) -> None:
        self._tape = tape
        self._told = 0  # of what waits to be sent
        super().__init__(config, client)

    def outgoing(self) -> bytes:
        self._tell_replies()
        self._told = 0
        return super().outgoing()

    def ask(self, event: Event) -> None:
        if type(event) is Data:
            count = len(event.envelope.recipients)
            self._tell("-", f"content of {event.octets:,} octets for {count} recipient{'s' * (count != 1)}")
        super().ask(event)

    def secured(self, tls: Tls) -> None:
        self._tell("-", f"{tls.version} {tls.cipher}")
        super().secured(tls)

    def finish(self, *, linger: bool = False) -> None:
        if not self.is_over:
            self._tell_replies()
            self._tell("-", "the session is over")
        super().finish(linger=linger)

    def _read_command(self) -> bool:
        octets, at = self.next_octets()
        end = octets.find(b"\n", at)
        if end >= 0:
            self._tell_replies()
            self._tell("<", shown(octets[at:end].rstrip(b"\r")))
        return super()._read_command()

    def _tell_replies(self) -> None:
        for octets in self._outgoing[self._told :]:
            for line in octets.decode("ascii", "backslashreplace").splitlines():
                self._tell(">", line)
        self._told = len(self._outgoing)

    def _tell(self, direction: Direction, text: str) -> None:
        self._tape(self.client, direction, text[:LINE_CHARACTERS])


def shown(line: bytes) -> str:
    """A command line as it may be seen."""
    verb = line.split(b" ", 1)[0].upper()
    if verb == b"AUTH":
        mechanism = line.split(b" ")[1:2]
        return " ".join(["AUTH", *(_text(each)[:20] for each in mechanism), "(the rest is not shown)"])
    if verb not in _SHOWN:
        return f"({len(line):,} octets that are no command, not shown)"
    return _text(line)


def _text(octets: bytes) -> str:
    return octets[: 4 * LINE_CHARACTERS].decode("utf-8", "backslashreplace")


class TracedServer(Server):
    """One connection whose session goes onto a tape."""

    def __init__(self, owner: Owner, config: SmtpConfig, tape_of: Callable[[int], Tape]) -> None:
        super().__init__(owner, config)
        self._tape_of = tape_of

    def make_machine(self, client: Client) -> Machine:
        return TracedMachine(self._config, client, self._tape_of(self.number))
