"""An SMTP client that says exactly what it is told, well-formed or not."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType


@dataclass(frozen=True, slots=True)
class Heard:
    """One reply, its lines joined with newlines; code 0 stands for a connection that is gone."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


GONE = Heard(0, "")


class Wire:
    """One connection. Everything waits at most `timeout` seconds."""

    def __init__(self, address: tuple[str, int], *, timeout: float = 30, source: str | None = None) -> None:
        self.socket = socket.create_connection(address, timeout=timeout, source_address=(source, 0) if source else None)
        self._unread = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def send_what_it_takes(self, octets: bytes) -> bool:
        """False if the other side has had enough."""
        try:
            self.socket.sendall(octets)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reply(self) -> Heard:
        """The next reply, or `GONE`."""
        texts: list[str] = []
        while True:
            while b"\r\n" not in self._unread:
                try:
                    more = self.socket.recv(65536)
                except ConnectionResetError:
                    more = b""
                if not more:
                    return GONE
                self._unread += more
            line, _, self._unread = self._unread.partition(b"\r\n")
            text = line.decode("ascii")  # replies are ASCII, whatever was sent
            texts.append(text[4:])
            if text[3:4] != "-":
                return Heard(int(text[:3]), "\n".join(texts))

    def rest(self) -> list[Heard]:
        """All replies until the other side hangs up."""
        heard: list[Heard] = []
        while (reply := self.reply()) is not GONE:
            heard.append(reply)
        return heard

    def command(self, line: str | bytes) -> Heard:
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.reply()

    def transaction(self, mail_from: str, rcpt_to: Sequence[str], raw: bytes, parameters: str = "") -> Heard:
        """MAIL, RCPT, DATA: the reply that ended it. `raw` has CRLF line ends."""
        reply = self.command(f"MAIL FROM:<{mail_from}>{parameters}")
        if reply.code != 250:
            return reply
        replies = [self.command(f"RCPT TO:<{recipient}>") for recipient in rcpt_to]
        if all(reply.code != 250 for reply in replies):
            return replies[-1]
        reply = self.command("DATA")
        if reply.code != 354:
            return reply
        self.send(dotted(raw))
        return self.reply()


def dotted(raw: bytes) -> bytes:
    """The message as DATA carries it, with its end."""
    stuffed = raw.replace(b"\r\n.", b"\r\n..")
    return (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n"
