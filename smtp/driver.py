"""The asyncio side of a connection: octets to the machine, its events to the session, its replies to the transport.

*Trust.* Octets go to `smtp.machine` as they come; reading pauses while more waits than the limits allow.
*Failure.* Whatever a session raises is logged under the connection's number and answered 451 4.3.0 without detail. A task that
waits for a session belongs to the owner and is never cancelled because the client left: what `data` promises, it can keep.
"""

import asyncio
import itertools
import logging
from abc import abstractmethod
from collections.abc import Coroutine
from typing import Any

from mail.client import Client, canonical_ip
from mail.reply import SHUTTING_DOWN, TIMED_OUT, TRY_AGAIN, Reply
from smtp.calls import begun, call, resumed
from smtp.config import SmtpConfig
from smtp.events import Arrived, Breathe, Close, Data, Event, Greet, StartTls, Verb
from smtp.machine import Machine
from smtp.owner import Owner
from smtp.patience import Patience
from smtp.tls import established, give_back, why_failed

log = logging.getLogger("gatepost.smtp")
_FLUSH_SECONDS = 10  # for the last reply to leave
_serial = itertools.count(1)


class Driver(asyncio.Protocol):
    """One connection. `weight` is what it counts for in the owner's budget of octets in flight."""

    def __init__(self, owner: Owner, config: SmtpConfig) -> None:
        self._owner = owner
        self._config = config
        self._first = StartTls if config.implicit_tls else Greet  # when the door is asked: a handshake costs us much
        self.number = next(_serial)
        self.weight = 0
        self.transport: Any = None
        self._patience = Patience(owner.loop.time())
        self.counted: tuple[str, ...] = ()  # by the door, under these keys
        self.is_one_too_many = False
        self._is_busy = False  # a session method, or TLS, is being waited for
        self._is_blocked = False  # the client does not read its replies
        self._is_paused = False
        self._is_working = False  # on content, and others have their turn before more is read
        self._is_closing = self._is_too_heavy = False
        self._deciphered: list[bytes] | None = None  # what came with the end of a TLS handshake, while one is under way

    # --- what the transport says

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        peer = transport.get_extra_info("peername")
        known = Client(ip=canonical_ip(peer[0]), port=peer[1]) if peer else Client(ip=None)
        self._machine = self.make_machine(known)
        self._session = self._owner.backend()
        self._owner.joined(self)
        self.turn()

    def make_machine(self, client: Client) -> Machine:
        return Machine(self._config, client)

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        self._patience.heard(self._owner.loop.time())
        if self._deciphered is not None:
            self._deciphered.append(data)
            return
        self._machine.receive(data)
        if not self._is_busy:
            self.turn()
        self._weigh()

    def eof_received(self) -> bool:
        self._machine.end_of_input()
        if not self._is_busy:
            self.turn()
        # A half-closed connection is still owed its replies; TLS knows no half-close.
        return not self._is_closing and self._machine.client.tls is None

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the transport's word
        self.transport = None
        self._machine.lost()
        if not self._is_busy:
            self.turn()
        self._weigh()
        self._owner.gone(self)

    def pause_writing(self) -> None:
        self._is_blocked = True

    def resume_writing(self) -> None:
        self._is_blocked = False
        if not self._is_busy:
            self.turn()
        self._weigh()

    # --- what the owner says

    def tick(self, now: float) -> None:
        """Once a second or so: hang up on who has been silent for too long (RFC 5321 §4.5.3.2.7)."""
        if self.transport is None:
            return
        timeouts, patience = self._config.timeouts, self._patience
        if self._is_closing:
            silent = patience.silent(now)
            if silent > timeouts.linger:
                self.transport.close()
            if silent > timeouts.linger + _FLUSH_SECONDS:
                self.transport.abort()
            return
        if self._is_busy or self._is_too_heavy:
            patience.is_our_turn(now)
        elif limit := patience.exceeded(self._machine, timeouts, now):
            self._shut(TIMED_OUT, limit)

    def _shut(self, reply: Reply, limit: str = "") -> None:
        """Hang up with this reply, unless an answer is being waited for: then it goes first."""
        if not self._is_busy:
            self._machine.shut(reply, limit)
            self.turn()

    def leave_when_idle(self) -> None:
        """The owner drains: a client between two messages is sent away now, any other after its message."""
        if self._machine.is_between_messages:
            self._shut(SHUTTING_DOWN)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    # --- the turn

    def turn(self) -> None:
        """Go on until the machine has nothing more to do, or an answer must be waited for."""
        machine = self._machine
        self._is_busy = True
        while not self._is_blocked or machine.is_over:
            event = machine.next_event()
            if event is None:
                break
            if not self._perform(event):
                self._flush()
                return
        self._is_busy = False
        self._flush()
        if self._owner.is_draining and not machine.is_over:
            self.leave_when_idle()

    def _perform(self, event: Event) -> bool:
        """Whether the event was answered at once. Most are, and a task for each would cost more than the answer."""
        if type(event) is self._first and (refusal := self._owner.admit(self, self._machine.client)) is not None:
            self._machine.deny(refusal.reply, refusal.limit)
            return True
        if type(event) is StartTls:
            self._flush()
            # At once: behind implicit TLS the client's first octets are there already, and must find TLS at the transport.
            self._owner.keep(begun(self._secure()))
            if event.ahead and self.transport is not None:
                self._owner.loop.call_soon(give_back, self.transport, event.ahead)
            return False
        if type(event) is Breathe:
            self._owner.loop.call_soon(self._go_on, None)
            return False
        if type(event) is Close:
            self._hang_up(event)
        coroutine = self.verb(event) if type(event) is Verb else call(self._session, event)
        if type(event) is Arrived:
            # uvloop reads 32 times at a stretch: with the work of the session on each, all others would wait for all of it.
            self._is_working = True
            self._pause()
        if type(event) in (Data, Arrived):
            self._owner.keep(self._finish(coroutine))
            return False
        try:
            waiting = coroutine.send(None)
        except StopIteration as done:
            self._machine.answer(done.value)
        except Exception:
            self._machine.answer(self._crashed())
        else:
            self._owner.keep(self._finish(resumed(coroutine, waiting)))
            return False
        return True

    async def _finish(self, work: Coroutine[Any, Any, Reply | None]) -> None:
        try:
            reply = await work
        except Exception:
            reply = self._crashed()
        self._go_on(reply)

    def _go_on(self, reply: Reply | None) -> None:
        self._is_working = False
        self._machine.answer(reply)
        self._patience.heard(self._owner.loop.time())
        self.turn()
        self._weigh()

    def _crashed(self) -> Reply:
        log.exception("connection %d: the session failed", self.number)
        return TRY_AGAIN

    @abstractmethod
    async def verb(self, event: Verb) -> Reply: ...  # the answer to a command that changes nothing

    async def _secure(self) -> None:
        config, plain = self._config, self.transport
        # From here to the first suspension of `start_tls`, which takes our place at the transport, nothing can come in the clear.
        self._deciphered = []
        try:
            transport = await self._owner.loop.start_tls(
                plain,
                self,
                config.tls,  # type: ignore[arg-type]  # the machine asks for TLS only where there is a context
                server_side=True,
                ssl_handshake_timeout=config.timeouts.tls,
            )
        except Exception as error:  # the client may be gone, lie or be slow
            log.info("connection %d: TLS failed: %s", self.number, why_failed(error))
            if plain is not None:
                plain.abort()
            transport = None
        deciphered, self._deciphered = self._deciphered, None
        self._machine.answer(None)
        if transport is None:
            self._is_busy = False
            self.connection_lost(None)  # uvloop does not always say so after a failed handshake; twice is harmless
            return
        self.transport = transport
        self._machine.secured(established(transport.get_extra_info("ssl_object")))
        self._machine.receive(b"".join(deciphered))
        self.turn()

    def _hang_up(self, event: Close) -> None:
        self._is_closing = True
        self._flush()
        transport = self.transport
        if transport is None:
            return
        self._resume()
        if not event.linger:
            transport.close()
        elif transport.can_write_eof():
            transport.write_eof()

    def _flush(self) -> None:
        replies = self._machine.outgoing()
        if replies and self.transport is not None:
            self.transport.write(replies)

    # --- how much waits

    def _weigh(self) -> None:
        """Pause reading while this connection's pipeline, or all connections together, hold too much."""
        held = self._machine.held
        if held != self.weight:
            self._is_too_heavy = self._owner.budget.weigh(self, held)
        if self._is_too_heavy or self._is_working or self._machine.backlog > self._config.limits.backlog_octets:
            self._pause()
        elif self._is_paused:
            self._resume()

    def unload(self) -> None:
        """Memory is short: what it holds of a message goes where a large one is kept."""
        self._machine.unload()
        if not self._is_busy:
            self.turn()

    def lighten(self) -> None:
        """The budget has room for this connection again."""
        self._is_too_heavy = False
        self._weigh()

    def _pause(self) -> None:
        if not self._is_paused and self.transport is not None and not self._is_closing:
            self._is_paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
        self._is_paused = False
