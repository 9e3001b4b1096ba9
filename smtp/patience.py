"""How long a silent or slow client is waited for (RFC 5321 §4.5.3.2.7), without a timer for each connection."""

from smtp.config import Timeouts
from smtp.machine import Machine


class Patience:
    """One connection's. Moments are the event loop's seconds."""

    __slots__ = ("_active_at", "_phase", "_progress", "_since")

    def __init__(self, now: float) -> None:
        self._active_at = self._since = now
        self._phase = ""
        self._progress = 0

    def heard(self, now: float) -> None:
        """The client sent something, or it is its turn again."""
        self._active_at = now

    def is_our_turn(self, now: float) -> None:
        """We are the slow ones: no time passes for the client."""
        self._active_at = self._since = now

    def silent(self, now: float) -> float:
        return now - self._active_at

    def exceeded(self, machine: Machine, timeouts: Timeouts, now: float) -> str:
        """The setting whose time is over; "" while there is patience."""
        if (machine.phase, machine.progress) != (self._phase, self._progress):
            self._phase, self._progress, self._since = machine.phase, machine.progress, now
        silent, spent = now - self._active_at, now - self._since
        match self._phase:
            case "proxy":
                return "proxy_from" if spent > timeouts.proxy else ""
            case "content":
                content = machine.transaction.content
                octets = 0 if content is None else content.octets  # wherever they are kept
                allowed = timeouts.content_total + octets / timeouts.slowest_octets_per_second
                return "smtp.data_timeout" if silent > timeouts.content or spent > allowed else ""
            case _:
                # From one command to the end of the next, however many octets of it came meanwhile.
                return "smtp.command_timeout" if spent > timeouts.command else ""
