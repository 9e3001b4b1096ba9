"""aiosmtpd's server class over our machine: its verbs are inherited; its framing, its state and its stream reader are not.

aiosmtpd 1.4.6 introspects itself for every connection, reads DATA line by line without a bound, cancels its hooks when the
client leaves, prints their exceptions to the client, and logs every line with its addresses. Only what does so is replaced
(semantics.md §7).
"""

import logging
import re
from typing import Any

from aiosmtpd.smtp import SMTP
from aiosmtpd.smtp import Session as StockSession

from mail.address import parse_mailbox, parse_path
from mail.errors import Malformed
from mail.reply import TRY_AGAIN, Reply
from smtp.config import SmtpConfig
from smtp.driver import Driver
from smtp.events import Verb
from smtp.owner import Owner
from smtp.replies import help_on

_VERBS = ("EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT", "VRFY", "EXPN")
_STATUS = re.compile(r"([245]\d\d) (.*)", re.DOTALL)
_ENHANCED = {"2": "0.0", "4": "3.0", "5": "5.1"}

logging.getLogger("mail.log").disabled = True  # one place for addresses is the history, under its own retention


class Server(Driver, SMTP):
    """One connection: `connection_made`, `data_received` and what follows from them are the driver's."""

    # What the inherited verbs look for on `self`; shared, and never written.
    _handle_hooks: dict[str, Any] = {}  # noqa: RUF012
    _smtp_methods = {name: getattr(SMTP, f"smtp_{name}") for name in _VERBS}  # noqa: RUF012
    _auth_required = False
    session = StockSession(None)  # type: ignore[arg-type]

    def __init__(self, owner: Owner, config: SmtpConfig) -> None:
        # Not SMTP's: it costs 94 microseconds, and clears a dictionary that all connections share.
        Driver.__init__(self, owner, config)
        self._status: str | bytes = ""

    def __del__(self) -> None:
        """Nothing: SMTP's looks after a future that we do not make."""

    async def verb(self, event: Verb) -> Reply:
        """The inherited answer to a command that the machine does not know; HELP knows of our own commands too."""
        if event.name == "HELP":
            return help_on(event.argument, self._config)
        self._status = ""
        method = getattr(self, f"smtp_{event.name}")
        await method(event.argument or None)
        return _reply(self._status)

    async def push(self, status: str | bytes) -> None:
        """Where the inherited verbs answer: kept for the machine, which owns the order of replies."""
        self._status = status

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """RFC 5321's grammar instead of the stdlib's private parser, which is lenient and can be made to raise."""
        text = arg.strip()
        try:
            mailbox = parse_path(text) if text.startswith("<") else parse_mailbox(text)
        except Malformed:
            return None, None
        return (str(mailbox), "") if mailbox is not None else (None, None)


def _reply(status: str | bytes) -> Reply:
    text = status.decode("ascii", "replace") if isinstance(status, bytes) else status
    match = _STATUS.match(text)
    if not match:
        return TRY_AGAIN
    code, prose = match.groups()
    if code.startswith("50") and prose.startswith("Could not VRFY"):
        prose = "Could not VRFY"  # and not what it was asked: a reply repeats nothing of a stranger's
    return Reply(code=int(code), detail=_ENHANCED[code[0]], text=prose)
