"""Many clients that send until each of their messages is taken, whatever happens to the server meanwhile."""

from __future__ import annotations

import threading
import time
from collections import deque

from smtp_wire import Wire

GIVE_UP_SECONDS = 600.0
PAUSE_SECONDS = 0.02  # between two attempts to reach a server that is down


class Load:
    """`messages` mails over `connections`, each with a token of its own. `taken` maps the id in each 250 to its token.

    `broken` counts connections that were refused or ended before their time.
    """

    def __init__(self, address: tuple[str, int], *, messages: int, connections: int, recipient: str) -> None:
        self._address = address
        self._recipient = recipient
        self._waiting = deque(f"token-{number:06d}" for number in range(messages))
        self.taken: dict[str, str] = {}
        self.refusals: list[str] = []
        self.broken = 0
        self._deadline = time.monotonic() + GIVE_UP_SECONDS
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(connections)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(GIVE_UP_SECONDS)

    @property
    def is_over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def _client(self) -> None:
        while self._waiting and time.monotonic() < self._deadline:
            try:
                self._session()
            except OSError:
                self.broken += 1
                time.sleep(PAUSE_SECONDS)  # the server is down

    def _session(self) -> None:
        with Wire(self._address, timeout=30) as wire:
            if wire.reply().code != 220 or wire.command("EHLO load.example").code != 250:
                self.broken += 1
                return
            while self._waiting:
                try:
                    token = self._waiting.popleft()
                except IndexError:
                    return
                if not self._send(wire, token):
                    self.broken += 1
                    return

    def _send(self, wire: Wire, token: str) -> bool:
        """False if the connection is of no more use; the message then waits again."""
        taken = False
        try:
            reply = wire.transaction("load@b.example", [self._recipient], message(token))
            taken = reply.code == 250
            if taken:
                self.taken[reply.text.split()[-1]] = token
            elif reply.code:
                self.refusals.append(str(reply))
        finally:
            if not taken:
                self._waiting.append(token)
        return taken


def message(token: str) -> bytes:
    return (
        f"From: load@b.example\r\nTo: x@example.com\r\nSubject: {token}\r\nMessage-ID: <{token}@b.example>\r\n\r\n"
        f"{token}\r\n" + "0123456789abcdef" * 64 + "\r\n"
    ).encode()
