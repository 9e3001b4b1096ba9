"""What the SMTP server asks of whoever takes the mail: a session per connection, and a reply to each command.

The server owns syntax, order and limits; the backend owns meaning. A method answers a `Reply` and raises nothing that is
expected; whatever it raises becomes 451 4.3.0 without detail. The server calls one method at a time per session.

Every method but `data` is started outside of a task, because most answers need no waiting and a task each would cost more than
the answer: what needs `asyncio.timeout` or a task group makes a task of its own. `data` runs in a task that nobody cancels.
"""

from typing import Protocol

from mail.address import Mailbox
from mail.client import Client
from mail.envelope import Envelope
from mail.reply import Reply


class Session(Protocol):
    """One connection. The transaction's state lives in the server; the session is told of it."""

    async def greet(self, client: Client) -> Reply | None:
        """After the connection (and its PROXY header) is known; None greets, a Reply refuses and closes."""

    async def hello(self, client: Client) -> Reply | None:
        """After EHLO, HELO or XCLIENT changed what is known of the client (EHLO follows STARTTLS again); None accepts."""

    async def mail(self, reverse_path: Mailbox | None, declared_size: int | None, *, smtputf8: bool) -> Reply: ...

    async def rcpt(self, mailbox: Mailbox) -> Reply:
        """`Postmaster` without domain arrives with domain "" and is completed by the backend."""

    async def arrived(self, octets: bytes) -> None:
        """The next octets of a large message that is still coming, from its first on. Nothing more is read until this returns.

        Nobody else keeps them. The last of them come with `data`, as does all of a small message.
        """

    async def data(self, envelope: Envelope, rest: bytes) -> Reply:
        """The end of the message: all of it, but for what `arrived` was told of. CRLF, dots removed.

        The returned reply is sent even if the client is gone; it is never cancelled.
        """

    async def reset(self) -> None:
        """The transaction ended without a message: RSET, EHLO, QUIT or a lost connection after MAIL."""

    async def refused(self, command: str, reply: Reply, limit: str, sender: Mailbox | None) -> None:
        """The server itself answered 4xx or 5xx (syntax, size, limits, bare newline): for the history.

        `limit` is the setting that was exceeded, or "". `sender` is whom a refused MAIL names, if it can be read.
        """

    async def denied(self, client: Client, reply: Reply, limit: str) -> None:
        """In place of `greet`: there are too many connections, as the setting `limit` has it. Nothing but `close` follows."""

    async def close(self) -> None:
        """The connection is over; called exactly once."""


class Backend(Protocol):
    """A plain callable that makes sessions."""

    def __call__(self) -> Session: ...
