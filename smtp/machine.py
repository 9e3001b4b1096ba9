"""The SMTP session as a sans-IO machine: octets go in, replies come out, and whoever takes the mail is asked one thing at a time.

*Standards.* RFC 5321, RFC 2920 (PIPELINING), RFC 3030 (CHUNKING), RFC 3207 (STARTTLS), RFC 1870 (SIZE), RFC 6152 (8BITMIME),
RFC 6531 (SMTPUTF8), RFC 2034 (ENHANCEDSTATUSCODES), RFC 9422 (LIMITS), PROXY and XCLIENT. Left out: BINARYMIME, DSN, REQUIRETLS.
*Trust.* None in any octet. A line ends with CRLF only; input is bounded in every state; nothing before STARTTLS survives it.
*Failure.* Nothing is raised for what a peer sends; it is answered.

Theory of operation. `receive` appends to the input. `next_event` runs the current reader (`_read_...`) over the input until the
driver must act: it returns that `Event`, and goes on only after `answer`. Replies gather in order; the driver takes them with
`outgoing` whenever it waits. So pipelined commands are served in order however the input is cut, and a reply never overtakes
another. A reader returns False when it needs more octets. The transaction is one object that is replaced, never cleared.
"""

from collections.abc import Callable

from mail.address import Mailbox
from mail.client import Client, Tls
from mail.reply import BYE, EARLY_TALKER, TOO_MANY_ERRORS, TRY_AGAIN, Reply
from mail.values import changed
from smtp import commands
from smtp.arguments import MailArgument
from smtp.config import BareNewline, SmtpConfig, must_say_proxy
from smtp.events import Breathe, Close, Data, Denied, Event, Greet, Hello, Mail, Rcpt, Refused, Reset, StartTls, Verb
from smtp.reading import read_proxy, tell
from smtp.replies import banner, wire
from smtp.transaction import Counts, Transaction

READS_AT_A_STRETCH = 250  # a few milliseconds


def _read_nothing() -> bool:
    return False


class Machine:
    """One connection."""

    def __init__(self, config: SmtpConfig, client: Client) -> None:
        self.config = config
        self.client = client
        self.peer = client.ip
        self.strict = config.bare_newline is BareNewline.REJECT
        self.transaction = Transaction()
        self.counts = Counts()
        self.greeted_with = ""  # HELO or EHLO, once it was accepted
        self.greeting = ""  # the one that is being asked about
        self.offered = MailArgument(reverse_path=None)  # the MAIL that is being asked about
        self.helo_override: str | None = None
        self._input = b""
        self._at = 0
        self._reads = 0  # since the input last ran dry
        self._outgoing: list[bytes] = []
        self._events: list[Event] = []
        self._asked: Event | None = None
        self._is_over = False
        self._is_deaf = False
        self._input_ended = False
        self._talked_early = False
        self._awaits_proxy = must_say_proxy(config, client.ip)
        self._reader: Callable[[], bool]
        if self._awaits_proxy:
            self._reader = lambda: read_proxy(self)
        else:
            self.open_for(client)

    # --- the driver's side

    def receive(self, data: bytes) -> None:
        if self._is_over or self._is_deaf:
            return
        self._talked_early |= type(self._asked) is Greet
        self._input = self._input[self._at :] + data if self._at < len(self._input) else data
        self._at = 0

    def next_event(self) -> Event | None:
        """What to do now; None when more input is needed, or while an answer is owed."""
        if self._asked is not None:
            return None
        while not self._events:
            if self._is_over:
                return None
            if self._at < len(self._input):
                self._reads += 1
                if self._reads > READS_AT_A_STRETCH:
                    self._reads = 0
                    self._events.append(Breathe())
                    break
                if self._reader():
                    continue
            if self._events:
                break
            self._reads = 0
            if not self._input_ended:
                return None
            self.finish()
        self._asked = self._events.pop(0)
        return self._asked

    def answer(self, reply: Reply | None) -> None:
        """The answer to the last event."""
        event, self._asked = self._asked, None
        match event:
            case Rcpt():
                commands.answered_rcpt(self, event, reply)
            case Mail():
                commands.answered_mail(self, reply)
            case Data():
                self._answered_data(reply)
            case Hello():
                commands.answered_hello(self, event, reply)
            case Greet():
                self._answered_greet(reply)
            case Verb():
                self.send(reply)
            case _:
                pass  # the others have no answer
        if self._is_over and self.transaction.is_open:
            self.transaction = Transaction()  # MAIL was accepted after the client had gone
            self._events.insert(0, Reset())

    def deny(self, reply: Reply, limit: str) -> None:
        """The answer to `Greet` where the door is shut: the session is not greeted, but told.

        The client has said nothing, so nothing is lingered for: who is one too many must not take up room. Where TLS would come
        first it is not told either, since it could not read it.
        """
        was_in_clear, self._asked = type(self._asked) is Greet, None
        self.ask(Denied(self.client, reply, limit))
        if was_in_clear:
            self._outgoing.append(wire(reply))
        self.finish()

    def outgoing(self) -> bytes:
        """The replies since the last call, to be written at once."""
        taken = b"".join(self._outgoing)
        self._outgoing.clear()
        return taken

    def end_of_input(self) -> None:
        """The peer has shut down its side: what it sent is still served, and answered."""
        self._input_ended = True

    def secured(self, tls: Tls) -> None:
        """TLS stands. The client must say EHLO again, and nothing it said before counts (RFC 3207 §4.2)."""
        if self._is_over:
            return
        protocol = self.client.protocol if self.config.implicit_tls else "SMTP"
        self.client = changed(self.client, tls=tls, helo=None, protocol=protocol)
        self.greeted_with = ""
        self._is_deaf = False
        if self.config.implicit_tls:
            self._events.append(Greet(self.client))

    def lost(self) -> None:
        """The connection is gone: nothing more is read, and what was asked is still waited for."""
        self.finish()

    def shut(self, reply: Reply, limit: str = "") -> None:
        """Hang up with this reply (421), between two commands or in the middle of a message; `limit` names what it is due to."""
        if self._is_over:
            return
        if limit:
            self.ask(Refused("", reply, limit))
        self.send(reply.closing())

    @property
    def is_over(self) -> bool:
        return self._is_over

    @property
    def is_between_messages(self) -> bool:
        return not self.transaction.is_open and self._asked is None

    @property
    def backlog(self) -> int:
        """Octets of input that wait."""
        return len(self._input) - self._at

    @property
    def held(self) -> int:
        """Octets of message content that lie in memory, until the message is answered."""
        if type(self._asked) is Data:
            return len(self._asked.rest)
        content = self.transaction.content
        return content.held if content is not None else 0

    @property
    def phase(self) -> str:
        """proxy, content or command: which patience applies."""
        if self._awaits_proxy:
            return "proxy"
        return "command" if self._reader == self._read_command else "content"

    @property
    def progress(self) -> int:
        """Grows with each command line that was complete: octets alone, which may trickle, are no progress."""
        return self.counts.commands

    def unload(self) -> None:
        """Memory is short: what has come of a message is told now, and what comes is told as of a large one."""
        if self.transaction.content is not None and self.transaction.content.unload():
            tell(self, self.transaction.content)

    # --- for the commands

    def ask(self, event: Event) -> None:
        """Nothing is asked once it is over: an answer that came too late is no reason to."""
        if not self._is_over:
            self._events.append(event)

    def send(self, reply: Reply | None) -> None:
        if reply is None or self._is_over:
            return
        self._outgoing.append(wire(reply))
        if reply.close:
            # Without a moment to read, a client that is still sending would see a reset and never the reply.
            self.finish(linger=reply.code != BYE.code)

    def send_raw(self, octets: bytes) -> None:
        self._outgoing.append(octets)

    def refuse(self, command: str, reply: Reply, limit: str = "", sender: Mailbox | None = None) -> None:
        """Answer 4xx or 5xx on our own account; too many of them end the session."""
        self.ask(Refused(command, reply, limit, sender))
        self.send(reply)
        self.counts.errors += 1
        if self.counts.errors >= self.config.limits.errors and not reply.close:
            self.ask(Refused(command, TOO_MANY_ERRORS, "smtp.errors"))
            self.send(TOO_MANY_ERRORS)

    def drop_transaction(self) -> None:
        """The transaction ends without a message."""
        if self.transaction.is_open:
            self.ask(Reset())
        self.transaction = Transaction()

    def finish(self, *, linger: bool = False) -> None:
        """The last events; nothing is read after them. A second call changes nothing."""
        if self._is_over:
            return
        self._input, self._at = b"", 0
        self._reader = _read_nothing  # a reader refers to the machine: let both go without the garbage collector
        if type(self._asked) not in (Mail, Data):  # their answer decides whether there is a transaction to drop
            self.drop_transaction()
        self.ask(Close(linger))
        self._is_over = True

    def read_with(self, reader: Callable[[], bool]) -> None:
        """From here on the input is content, until `read_commands`."""
        self._reader = reader

    def read_commands(self) -> None:
        self._reader = self._read_command

    def next_octets(self) -> tuple[bytes, int]:
        """The input, and where in it the reader stands."""
        return self._input, self._at

    def move_to(self, at: int) -> None:
        self._at = at

    def start_tls(self) -> None:
        """Whatever was sent along with STARTTLS in the clear is thrown away (RFC 3207 §4.2); by itself TLS begins with it."""
        ahead = self._input[self._at :] if self.config.implicit_tls else b""
        self._input, self._at = b"", 0
        self._is_deaf = True
        self.ask(StartTls(ahead))

    # --- the readers

    def open_for(self, client: Client) -> None:
        """The client is known: the session begins."""
        self.client, self.peer = client, client.ip
        self._awaits_proxy = False
        self.read_commands()
        if self.config.implicit_tls and self.client.tls is None:
            self.start_tls()
        else:
            self._talked_early = self.backlog > 0  # behind the PROXY header, in one piece with it
            self._events.append(Greet(self.client))

    def _answered_greet(self, reply: Reply | None) -> None:
        if reply is not None:
            self.send(reply.closing())
        elif self._talked_early and self.config.refuse_early_talkers:
            self.refuse("", EARLY_TALKER, "smtp.greeting_delay")
        else:
            self._outgoing.append(banner(self.config))

    def _read_command(self) -> bool:
        return commands.read_line(self, *self.next_octets())

    def _answered_data(self, reply: Reply | None) -> None:
        self.transaction = Transaction()
        self.counts.took_message()
        self.send(reply or TRY_AGAIN)
