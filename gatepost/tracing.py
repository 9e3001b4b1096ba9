"""Transcripts of sessions for `gatepost trace`: who asked for which, what was said since they last came for it, and when to stop.

One process's half. A command asks every process to begin (`trace`), comes for the lines a few times a second (`traced`), and is
forgotten when it stays away: nothing is left running behind a command that was killed.

*Trust.* Whoever can open the control socket may read every session (`smtp.transcript` says what of it). Sessions, lines and time
are bounded, so that a trace that nobody ends costs no more than it may.
"""

import ipaddress
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from mail.client import Client
from mail.errors import Malformed, Temporary
from smtp.listener import Listener
from smtp.server import Server
from smtp.transcript import Direction, Tape, TracedServer

MOST_TRACES = 4
MOST_SESSIONS = 100
MOST_SECONDS = 3600
_MOST_OCTETS = 2**20  # as JSON, between two visits of the command: what a channel takes in one piece
_FRAME_OCTETS = 150  # of a line, beside its text
_MOST_LINES_OF_SESSION = 2_000
_MOST_UNDECIDED = 200  # lines of a session of which it is not known yet whether it is wanted
_AWAY_SECONDS = 10.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """`ip` is an address or a network, `to` a part of a recipient; both must hold where both are given."""

    id: str
    ip: str = ""
    to: str = ""
    sessions: int = 20
    seconds: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a session; `at` is seconds since 1970, `session` a name that is unique over all processes."""

    at: float
    session: str
    ip: str
    direction: Direction
    text: str


@dataclass(slots=True, kw_only=True)
class _Trace:
    """One request under way."""

    request: TraceRequest
    network: Network | None
    until: float
    seen_at: float
    left: int
    lines: deque[Line] = field(default_factory=deque)
    octets: int = 0
    left_out: int = 0


@dataclass(slots=True, kw_only=True)
class _Session:
    """One session for one trace: `undecided` are its lines until it is known to be wanted."""

    trace: _Trace
    is_wanted: bool = False
    told: int = 0
    undecided: list[Line] = field(default_factory=list)


class Traces:
    """Belongs to one listener. `process` makes the names of sessions differ from those of other processes."""

    def __init__(
        self,
        listener: Listener,
        process: str,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener, self._process, self._clock, self._monotonic = listener, process, clock, monotonic
        self._traces: dict[str, _Trace] = {}

    def begin(self, request: Any) -> list[dict[str, Any]]:
        """Write down what is asked for in sessions that come from now on. Raises `Malformed`, `Temporary` for too many."""
        asked = _request_of(request)
        self._forget_old()
        if len(self._traces) >= MOST_TRACES:
            raise Temporary(f"{MOST_TRACES} traces are under way; end one of them first")
        now = self._monotonic()
        self._traces[asked.id] = _Trace(
            request=asked,
            network=ipaddress.ip_network(asked.ip, strict=False) if asked.ip else None,
            until=now + min(asked.seconds, MOST_SECONDS),
            seen_at=now,
            left=min(asked.sessions, MOST_SESSIONS),
        )
        self._listener.make = self._traced
        return [{"process": self._process}]

    def read(self, request: Any) -> list[dict[str, Any]]:
        """What was said since the last visit; `is_over` once nothing more will come."""
        trace = self._traces.get(str(request.get("id")))
        self._forget_old()
        if trace is None:
            return [{"lines": [], "left_out": 0, "is_over": True}]
        now = self._monotonic()
        trace.seen_at = now
        lines = [msgspec.to_builtins(line) for line in trace.lines]
        answer = {"lines": lines, "left_out": trace.left_out, "is_over": now >= trace.until}
        trace.lines.clear()
        trace.octets = trace.left_out = 0
        if request.get("end"):
            self._end(trace)
        return [answer]

    def _forget_old(self) -> None:
        now = self._monotonic()
        for trace in tuple(self._traces.values()):
            if now - trace.seen_at > _AWAY_SECONDS or now > trace.until + _AWAY_SECONDS:
                self._end(trace)

    def _end(self, trace: _Trace) -> None:
        self._traces.pop(trace.request.id, None)
        if not self._traces:
            self._listener.make = Server

    def _traced(self, owner: Listener, config: Any) -> Server:
        self._forget_old()
        return TracedServer(owner, config, self._tape_of)

    def _tape_of(self, number: int) -> Tape:
        sessions = [_Session(trace=trace) for trace in self._traces.values()]
        return partial(self._take, f"{self._process}.{number}", sessions)

    def _take(self, name: str, sessions: Iterable[_Session], client: Client, direction: Direction, text: str) -> None:
        line = Line(at=self._clock(), session=name, ip=client.ip or "", direction=direction, text=text)
        now = self._monotonic()
        for session in sessions:
            if session.trace.request.id in self._traces and now < session.trace.until:
                _put(session, line)


def _request_of(request: Any) -> TraceRequest:
    try:
        asked = msgspec.convert({name: value for name, value in request.items() if name != "operation"}, TraceRequest)
        if asked.ip:
            ipaddress.ip_network(asked.ip, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise Malformed(f"not a request: {error}") from error
    if asked.sessions < 1 or asked.seconds < 1:
        raise Malformed("not a request: sessions and seconds are 1 at least")
    return asked


def _put(session: _Session, line: Line) -> None:
    trace = session.trace
    if not session.is_wanted:
        if len(session.undecided) < _MOST_UNDECIDED:
            session.undecided.append(line)
        if not _is_wanted(trace, line) or not trace.left:
            return
        trace.left -= 1
        session.is_wanted = True
        for earlier in session.undecided:
            _keep(session, earlier)
        session.undecided.clear()
        return
    _keep(session, line)


def _is_wanted(trace: _Trace, line: Line) -> bool:
    """Whether this line says that the session is meant: its client, and where a recipient is looked for, its RCPT."""
    if trace.network is not None and (not line.ip or ipaddress.ip_address(line.ip) not in trace.network):
        return False
    wanted = trace.request.to.lower()
    return not wanted or (line.direction == "<" and line.text[:5].upper() == "RCPT " and wanted in line.text.lower())


def _keep(session: _Session, line: Line) -> None:
    session.told += 1
    trace, text = session.trace, line.text
    # What is no plain ASCII is escaped: six octets for each of its one or two halves.
    octets = _FRAME_OCTETS + len(text) * (1 if text.isascii() and text.isprintable() else 12)
    if session.told > _MOST_LINES_OF_SESSION or trace.octets + octets > _MOST_OCTETS:
        trace.left_out += 1
    else:
        trace.octets += octets
        trace.lines.append(line)
