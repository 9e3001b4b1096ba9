"""Tells systemd how we are (sd_notify(3)); without systemd, nobody."""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """`environment` says where systemd listens, and how often it wants to hear of us."""

    def __init__(self, environment: Mapping[str, str], process: int) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        wanted = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(process)) == str(process)
        self.watchdog_seconds = int(wanted) / 1e6 if wanted.isdecimal() and is_ours and self._address else 0.0

    def say(self, state: str) -> None:
        """As in `READY=1`, several a line each. That nobody hears it is no failure of ours."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            try:
                out.sendto(state.encode(), address)
            except OSError:
                self._address = ""


VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"""What systemd told us, and no child of ours."""


def forget_systemd() -> None:
    """So that a child does not take our place."""
    for name in VARIABLES:
        os.environ.pop(name, None)
