"""Handing a message to the configured relay host, over aiosmtplib's connection (RFC 5321 §3.3, RFC 6152, RFC 6531).

*Standards.* RFC 3463 in the status; RFC 3207 STARTTLS, always where the relay offers it unless it is turned off.
*Trust.* The relay is the operator's, its replies are still only text. aiosmtplib's own address handling reads `a@b <c@d>` as `c@d`,
so commands are written from parsed mailboxes and not from text.
*Failure.* None raised: what happened is in the `DeliveryStatus`, `relayed`, `delayed` (try again) or `failed`.
"""

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import aiosmtplib

from mail.address import Mailbox
from mail.delivery import DeliveryStatus
from mail.octets import Octets
from smtp.outgoing import is_ascii, stuffed

_NO_UTF8 = 553, "5.6.7 the relay does not take internationalised addresses"
_START = 354
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|\Z)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """`relay:`. `tls` is `none`, `opportunistic` (unverified, as between mail servers), or verified: `starttls`, `implicit`."""

    host: str
    port: int = 25
    tls: str = "opportunistic"
    username: str | None = None
    password: str | None = None
    hostname: str = "localhost"
    timeout_seconds: float = 60.0


class RelayClient:
    """One connection for each message. `clock` gives aware UTC; `tls_context` None is Python's default, verifying one."""

    def __init__(
        self, settings: RelaySettings, *, clock: Callable[[], datetime], tls_context: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._tls_context = tls_context

    async def send(self, mail_from: Mailbox | None, rcpt_to: Mailbox, raw: Octets) -> DeliveryStatus:
        """`raw` is a whole message with CRLF line ends. `mail_from` None is the null reverse-path."""
        (status,) = await self.send_all(mail_from, (rcpt_to,), raw)
        return status

    async def send_all(
        self, mail_from: Mailbox | None, recipients: Sequence[Mailbox], raw: Octets
    ) -> tuple[DeliveryStatus, ...]:
        """One message to all of them in one transaction; the statuses are in the order of `recipients`."""
        connection = self._connection()
        answers: dict[Mailbox, tuple[int, str]] = {}
        rest = 0, "no answer"
        try:
            await connection.connect()
            rest = await _transaction(connection, mail_from, recipients, raw, answers)
            await _quit(connection)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            code, text = _reply_of(error)
            rest = code, self._without_password(text)
        finally:
            connection.close()
        return tuple(self._status(recipient, *answers.get(recipient, rest)) for recipient in recipients)

    def _connection(self) -> aiosmtplib.SMTP:
        settings = self._settings
        start_tls = {"none": False, "starttls": True, "implicit": False}.get(settings.tls)
        return aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password,
            local_hostname=settings.hostname,
            timeout=settings.timeout_seconds,
            use_tls=settings.tls == "implicit",
            start_tls=start_tls,
            validate_certs=settings.tls != "opportunistic",
            tls_context=self._tls_context if settings.tls != "opportunistic" else None,
        )

    def _without_password(self, text: str) -> str:
        """A relay may repeat what AUTH said, as it is or as LOGIN and PLAIN write it, and its text is kept and shown."""
        password, username = self._settings.password or "", self._settings.username or ""
        if password:
            plain = f"\0{username}\0{password}".encode()
            for said in (password, *(b64encode(each).decode() for each in (plain, password.encode()))):
                text = text.replace(said, "***")
        return text

    def _status(self, rcpt_to: Mailbox, code: int, text: str) -> DeliveryStatus:
        action = {2: "relayed", 5: "failed"}.get(code // 100, "delayed")
        family = {"relayed": 2, "failed": 5}.get(action, 4)
        enhanced = _ENHANCED.match(text)
        status = enhanced[1] if enhanced and enhanced[1][0] == str(family) else f"{family}.0.0"
        return DeliveryStatus(
            recipient=str(rcpt_to),
            action=action,
            status=status,
            diagnostic=f"smtp; {code} {text}" if code else text,
            attempted_at=self._clock(),
            remote_mta=self._settings.host,
        )


async def _transaction(
    connection: aiosmtplib.SMTP,
    mail_from: Mailbox | None,
    recipients: Sequence[Mailbox],
    raw: Octets,
    answers: dict[Mailbox, tuple[int, str]],
) -> tuple[int, str]:
    """MAIL, RCPT and DATA. Who was refused alone stands in `answers`; the code and text that decided for the others is returned."""
    if connection.is_ehlo_or_helo_needed:
        await connection.ehlo()
    sender = "" if mail_from is None else str(mail_from)
    options = b""
    if connection.supports_extension("8bitmime") and not await is_ascii(raw):
        options += b" BODY=8BITMIME"
    foreign = [each for each in recipients if not (sender + str(each)).isascii()]
    if foreign and not connection.supports_extension("smtputf8"):
        answers.update((each, _NO_UTF8) for each in foreign)
    elif foreign:
        options += b" SMTPUTF8"
    left = [each for each in recipients if each not in answers]
    if not left:
        return _NO_UTF8
    reply = await connection.execute_command(b"MAIL", f"FROM:<{sender}>".encode() + options)
    if reply.code != 250:
        return reply.code, _one_line(reply.message)
    accepted = False
    for each in left:
        reply = await connection.execute_command(b"RCPT", f"TO:<{each}>".encode())
        if reply.code in (250, 251):
            accepted = True
        else:
            answers[each] = reply.code, _one_line(reply.message)
    if accepted:
        reply = await (connection.data(raw) if isinstance(raw, bytes) else _data(connection, raw))
    return reply.code, _one_line(reply.message)


async def _data(connection: aiosmtplib.SMTP, raw: Octets) -> aiosmtplib.SMTPResponse:
    """As `connection.data`, which copies the whole message three times on the loop."""
    reply = await connection.execute_command(b"DATA")
    protocol = connection.protocol
    if reply.code != _START or protocol is None:
        return reply
    # It is waited for from now on: a relay may refuse, or leave, in the middle of it.
    answer = asyncio.create_task(protocol.read_response())
    try:
        async for piece in stuffed(raw):
            if answer.done():
                early = answer.result()  # no command may follow, the rest of the message would be expected
                raise aiosmtplib.SMTPDataError(early.code, early.message)
            protocol.write(piece)
            async with asyncio.timeout(connection.timeout):
                await protocol._drain_helper()  # asyncio's mixin for protocols has no other name for it
        async with asyncio.timeout(connection.timeout):
            return await answer
    finally:
        answer.cancel()


async def _quit(connection: aiosmtplib.SMTP) -> None:
    try:
        await connection.quit()
    except (aiosmtplib.SMTPException, OSError):
        return  # the message was answered for; how the connection ends changes nothing


def _reply_of(error: Exception) -> tuple[int, str]:
    """Code and text; code 0, which counts as a delay, where the relay said nothing."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return 0, f"the relay refused our credentials: {error.code} {_one_line(error.message)}"
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return error.code, _one_line(error.message)
    return 0, _one_line(f"{type(error).__name__}: {error}")


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:500]
