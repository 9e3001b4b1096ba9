"""Handing a message to a mailbox server by LMTP, which answers for each recipient (RFC 2033).

*Standards.* RFC 2033 §4.1 (LHLO), §4.2 (one reply after the dot for each accepted RCPT, in their order), RFC 6152, RFC 6531.
*Trust.* The server is the operator's, its replies are still only text, bounded in length and number.
*Failure.* None raised: what happened is in each `DeliveryStatus`: `delivered`, `delayed` (try again) or `failed`. Whoever
has an answer keeps it, however the connection ends.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from mail.address import Mailbox
from mail.delivery import DeliveryStatus
from mail.octets import Octets
from smtp.outgoing import is_ascii, stuffed

_LINE = re.compile(rb"([2-5][0-9]{2})([ -]|\Z)(.*)", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|\Z)")
_LINE_OCTETS = 4096
_MOST_LINES = 100
_NO_UTF8 = (553, "5.6.7 the server does not take internationalised addresses")


@dataclass(frozen=True, slots=True, kw_only=True)
class LmtpSettings:
    """`place` is the path of a socket, or host and port. `timeout_seconds` bounds each step, the wait for a delivery too."""

    place: str | tuple[str, int]
    hostname: str = "localhost"
    timeout_seconds: float = 120.0

    @property
    def name(self) -> str:
        """How the server is named in a status."""
        return self.place if isinstance(self.place, str) else f"{self.place[0]}:{self.place[1]}"


_Reply = tuple[int, str]


class _Broken(Exception):
    """The dialogue cannot go on; its text says why, and counts for whoever has no answer yet."""


class LmtpClient:
    """One connection for each message. `clock` gives aware UTC."""

    def __init__(self, settings: LmtpSettings, *, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock

    async def send_all(
        self, mail_from: Mailbox | None, recipients: Sequence[Mailbox], raw: Octets
    ) -> tuple[DeliveryStatus, ...]:
        """`raw` is a whole message with CRLF line ends; the statuses are in the order of `recipients`."""
        answers: dict[Mailbox, _Reply] = {}
        rest: _Reply = (0, "no answer")
        try:
            dialogue = await _connect(self._settings)
        except (OSError, TimeoutError) as error:
            rest = 0, _one_line(f"{type(error).__name__}: {error}")
        else:
            try:
                await dialogue.transaction(mail_from, recipients, raw, answers)
            except _Broken as error:
                rest = 0, str(error)
            except (OSError, TimeoutError, EOFError, ValueError) as error:
                rest = 0, _one_line(f"{type(error).__name__}: {error}")
            finally:
                dialogue.close()
        return tuple(self._status(recipient, *answers.get(recipient, rest)) for recipient in recipients)

    def _status(self, recipient: Mailbox, code: int, text: str) -> DeliveryStatus:
        action = {2: "delivered", 5: "failed"}.get(code // 100, "delayed")
        family = {"delivered": "2", "failed": "5"}.get(action, "4")
        enhanced = _ENHANCED.match(text)
        return DeliveryStatus(
            recipient=str(recipient),
            action=action,
            status=enhanced[1] if enhanced and enhanced[1][0] == family else f"{family}.0.0",
            diagnostic=f"smtp; {code} {text}" if code else text,
            attempted_at=self._clock(),
            remote_mta=self._settings.name,
        )


async def _connect(settings: LmtpSettings) -> "_Dialogue":
    async with asyncio.timeout(settings.timeout_seconds):
        if isinstance(settings.place, str):
            reader, writer = await asyncio.open_unix_connection(settings.place, limit=_LINE_OCTETS)
        else:
            reader, writer = await asyncio.open_connection(*settings.place, limit=_LINE_OCTETS)
    return _Dialogue(reader, writer, settings)


class _Dialogue:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: LmtpSettings) -> None:
        self._reader = reader
        self._writer = writer
        self._settings = settings

    async def transaction(
        self, mail_from: Mailbox | None, recipients: Sequence[Mailbox], raw: Octets, answers: dict[Mailbox, _Reply]
    ) -> None:
        """Fills `answers` as they come. A refusal that is about nobody in particular answers for all that are left."""
        extensions = await self._greeting(recipients, answers)
        if extensions is None:
            return
        sender = "" if mail_from is None else str(mail_from)
        if "SMTPUTF8" not in extensions:
            answers.update((each, _NO_UTF8) for each in recipients if not (sender + str(each)).isascii())
        left = [each for each in recipients if each not in answers]
        options = " BODY=8BITMIME" if "8BITMIME" in extensions and not await is_ascii(raw) else ""
        options += "" if (sender + "".join(map(str, left))).isascii() else " SMTPUTF8"
        if not left or not await self._ask(f"MAIL FROM:<{sender}>{options}", 250, left, answers):
            return
        accepted = [each for each in left if await self._ask(f"RCPT TO:<{each}>", 250, [each], answers)]
        if accepted and await self._ask("DATA", 354, accepted, answers):
            async for piece in stuffed(raw):
                await self._send(piece)
            for each in accepted:
                answers[each] = await self._reply()
        with suppress(OSError, TimeoutError, EOFError, ValueError, _Broken):
            # Everybody is answered for; how the connection ends changes nothing.
            await self._send(b"QUIT\r\n")
            await self._reply()

    async def _greeting(self, recipients: Sequence[Mailbox], answers: dict[Mailbox, _Reply]) -> set[str] | None:
        """What the server can, in capitals; None where it wants nothing of us."""
        code, text = await self._reply()
        if code // 100 == 2:
            await self._send(f"LHLO {self._settings.hostname}\r\n".encode())
            code, text = await self._reply(keep_lines=True)
        if code // 100 != 2:
            answers.update((each, (code, text)) for each in recipients)
            return None
        return {line.partition(" ")[0].upper() for line in text.split("\n")[1:]}

    async def _ask(self, command: str, wanted: int, about: Sequence[Mailbox], answers: dict[Mailbox, _Reply]) -> bool:
        await self._send(f"{command}\r\n".encode())
        code, text = await self._reply()
        if code // 100 == wanted // 100:
            return True
        answers.update((each, (code, text)) for each in about)
        if code == 421:
            raise _Broken(f"the server ended the session: {text}")
        return False

    async def _send(self, octets: bytes) -> None:
        async with asyncio.timeout(self._settings.timeout_seconds):
            self._writer.write(octets)
            await self._writer.drain()

    async def _reply(self, *, keep_lines: bool = False) -> _Reply:
        lines: list[str] = []
        async with asyncio.timeout(self._settings.timeout_seconds):
            while len(lines) < _MOST_LINES:
                raw = await self._reader.readline()
                found = _LINE.match(raw.rstrip(b"\r\n")) if raw.endswith(b"\n") else None
                if found is None:
                    raise _Broken("the connection was lost" if not raw else "the server's answer is no reply")
                lines.append(_one_line(found[3].decode("utf-8", "replace")))
                if found[2] != b"-":
                    return int(found[1]), ("\n" if keep_lines else " ").join(lines)[: 4000 if keep_lines else 500]
        raise _Broken("the server's reply does not end")

    def close(self) -> None:
        self._writer.close()


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:500]
