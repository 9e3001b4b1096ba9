"""One SMTP client's session on the MX: admission by the pinned rule book, acceptance, and a history row for all that failed."""

import asyncio

from inbound.accept import Delivery, take, tell
from inbound.admission import Admission, Sender, admit, complete, is_vouched, storage_refusal
from inbound.connection_facts import ConnectionFacts
from inbound.large import LargeMessage
from inbound.ports import Services
from inbound.trail import Refusal, Teller, Trail, endings
from mail.address import Mailbox
from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Temporary
from mail.octets import Octets
from mail.reply import (
    BAD_SEQUENCE,
    INSUFFICIENT_STORAGE,
    NEED_MAIL,
    NO_SUCH_MAILBOX,
    SENDER_OK,
    TRY_AGAIN,
    Reply,
)
from mail.values import changed
from smtp.door import Denial
from spool.ports import Full
from verdicts.arriving import ArrivingMessage


class InboundSession:
    """`smtp.backend.Session`. The server calls one method at a time."""

    __slots__ = ("_accept_seconds", "_client", "_facts", "_id", "_rows", "_services", "_stray", "_trail")

    def __init__(self, services: Services) -> None:
        self._services = services
        self._client = Client(ip=None)
        self._id = services.entropy(8).hex()
        self._rows = 0
        self._trail: Trail | None = None
        self._stray: Refusal | None = None  # refused outside any transaction
        self._facts: ConnectionFacts | None = None
        self._accept_seconds = services.counters.histogram("accept_seconds")

    async def greet(self, client: Client) -> Reply | None:
        services = self._services
        self._client = client
        book = services.book()
        denial = services.gate.at_connect(book, client, self._now())
        if denial is not None:
            return await self._limited("connect", denial)
        self._look_up(client)
        delay = services.gate.delay(book, client)
        if delay:
            await asyncio.sleep(delay)
        return None

    async def hello(self, client: Client) -> Reply | None:
        denial = self._services.gate.at_hello(self._services.book(), client)
        before, self._client = self._client, client
        if denial is not None:
            reply = await self._limited("ehlo", denial)
            self._client = before  # what was refused is in no mail that may follow all the same
            return reply
        if client.ip != before.ip:
            self._look_up(client)
        return None

    def _look_up(self, client: Client) -> None:
        # Beside the dialogue, from connect on: only the first RCPT and the message itself may wait for it (semantics.md §5).
        if self._facts is not None:
            self._facts.cancel()
        self._facts = None if client.ip is None else ConnectionFacts(self._services, client.ip)

    async def mail(self, reverse_path: Mailbox | None, declared_size: int | None, *, smtputf8: bool) -> Reply:  # noqa: ARG002
        services = self._services
        book = services.book()
        denial = storage_refusal(services.spool.load(), services.settings) or services.gate.at_mail(
            book, self._client, reverse_path, self._now()
        )
        if denial is not None:
            return await self._limited("mail", denial, mail_from=reverse_path)
        sender = Sender(client=self._client, reverse_path=reverse_path, declared_size=declared_size)
        self._trail = Trail(book=book, sender=sender)
        services.under_way.add(self)
        return SENDER_OK

    async def rcpt(self, mailbox: Mailbox) -> Reply:
        trail = self._trail
        if trail is None:
            return NEED_MAIL
        trail.phase = "rcpt"
        listed = await self._listed(trail, mailbox)
        admission = admit(
            trail.book, trail.sender, mailbox, first=trail.wanting, settings=self._services.settings, listed=listed
        )
        denial = self._denial(trail, admission)
        if denial is not None:
            self._services.counters.add("limited_total", limit=denial.limit)
            trail.refused[admission.mailbox] = None
            trail.refusal = Refusal("rcpt", denial.reply, limit=denial.limit)
            return denial.reply
        if admission.reply.is_positive:
            trail.accepted[admission.mailbox] = None
            trail.wanting = admission.wanting if trail.wanting is None else trail.wanting
        else:
            trail.refused[admission.mailbox] = None
            trail.refusal = Refusal("rcpt", admission.reply, admission.by)
        return admission.reply

    def _denial(self, trail: Trail, admission: Admission) -> Denial | None:
        """What the gate has against a recipient that the rules would take, or against one more that nobody knows."""
        gate, sender = self._services.gate, trail.sender
        if admission.reply.is_positive:
            return gate.at_rcpt(trail.book, sender.client, sender.reverse_path, admission.mailbox, self._now())
        if admission.reply is NO_SUCH_MAILBOX:
            return gate.at_unknown_recipient(trail.book, sender.client, admission.mailbox, self._now())
        return None

    async def arrived(self, octets: bytes) -> None:
        if self._trail is not None:
            if self._trail.large is None:
                self._trail.large = LargeMessage(self._services)
            await self._trail.large.add(octets)

    async def data(self, envelope: Envelope, rest: bytes) -> Reply:
        trail, self._trail = self._trail, None
        if trail is None:
            return NEED_MAIL
        try:
            return await self._all_of(trail, envelope, rest)
        finally:
            self._services.under_way.discard(self)

    async def _all_of(self, trail: Trail, envelope: Envelope, rest: bytes) -> Reply:
        if trail.large is None:
            return await self._taken(trail, envelope, rest)
        try:
            raw = await trail.large.finish(rest)
        except Temporary as failure:
            return await self._unstored(trail, failure)
        else:
            return await self._taken(trail, envelope, raw, trail.large.hashes)
        finally:
            await trail.large.discard()

    async def _unstored(self, trail: Trail, failure: Temporary) -> Reply:
        """The store failed while the message came."""
        reply = INSUFFICIENT_STORAGE if isinstance(failure, Full) else TRY_AGAIN
        trail.phase, trail.ending = "data", Refusal("data", reply, detail=str(failure))
        await self._tell(trail, with_message=False)
        return reply

    async def _taken(
        self, trail: Trail, envelope: Envelope, raw: Octets, arriving: ArrivingMessage | None = None
    ) -> Reply:
        began = self._services.monotonic()
        client, dnsbl = await self._known_client(trail)
        self._rows += 1
        delivery = Delivery(
            session=self._id,
            number=self._rows,
            book=trail.book,
            client=client,
            dnsbl=dnsbl,
            envelope=envelope,
            raw=raw,
            arriving=arriving,
        )
        try:
            reply = await take(delivery, self._services)
        except Exception as error:
            # The client is told nothing (the server answers 451), whoever asks the history why.
            trail.ending = Refusal("data", TRY_AGAIN, detail=f"{type(error).__name__}: {error}")
            error.add_note(f"session {self._id}")  # by which the server's log line is found
            await self._tell(trail, with_message=False)
            raise
        self._accept_seconds.observe(self._services.monotonic() - began)
        await self._tell(trail, with_message=True)
        return reply

    async def _listed(self, trail: Trail, mailbox: Mailbox) -> tuple[str, ...]:
        """The lists that list the client, as far as a recipient need wait for them."""
        settings = self._services.settings
        if self._facts is None or not self._services.lists or not settings.refuse_listed:
            return ()
        if is_vouched(trail.book, self._client, (complete(trail.book, mailbox, settings.hostname),)):
            return ()
        return await self._facts.listed(one_will_do=True)

    async def _known_client(self, trail: Trail) -> tuple[Client, tuple[str, ...]]:
        """The client with its name, and the lists that count against it."""
        if self._facts is None:
            return self._client, ()
        name = await self._facts.name()
        client = changed(self._client, name=name) if name else self._client
        if not self._services.lists or is_vouched(trail.book, self._client, trail.accepted):
            return client, ()
        return client, await self._facts.listed()

    async def reset(self) -> None:
        trail, self._trail = self._trail, None
        self._services.under_way.discard(self)
        if trail is not None:
            if trail.large is not None:
                await trail.large.discard()
            await self._tell(trail, with_message=False)

    async def denied(self, client: Client, reply: Reply, limit: str) -> None:
        self._client = client
        await self._limited("connect", Denial(reply, limit))

    async def refused(self, command: str, reply: Reply, limit: str, sender: Mailbox | None = None) -> None:
        trail = self._trail
        if limit:
            self._services.counters.add("limited_total", limit=limit)
        if command in ("DATA", "BDAT") and trail is not None and trail.accepted:
            trail.phase, trail.ending = "data", Refusal("data", reply, limit=limit)
        elif trail is not None and reply.close:
            trail.ending = Refusal(trail.phase, reply, limit=limit)
        elif command == "RCPT" and trail is not None:
            # A recipient's own refusal is not to be overwritten by a later one's bad syntax.
            trail.refusal = trail.refusal or Refusal("rcpt", reply, limit=limit)
        elif command == "MAIL" and trail is None and reply.code != BAD_SEQUENCE.code:
            await self._log(Refusal("mail", reply, limit=limit), mail_from=sender)
        elif limit:
            await self._log(Refusal(self._outside, reply, limit=limit))
        else:
            self._stray = Refusal(self._outside, reply)

    @property
    def _outside(self) -> str:
        """The phase of what happens outside any transaction."""
        return "ehlo" if self._client.helo is None else "mail"

    async def close(self) -> None:
        if self._facts is not None:
            self._facts.cancel()
        if self._stray is not None and not self._rows:
            await self._log(self._stray)

    def _now(self) -> float:
        return self._services.clock().timestamp()

    async def _limited(self, phase: str, denial: Denial, *, mail_from: Mailbox | None = None) -> Reply:
        """Refused for one limit or another: counted, and a row that may stand for many."""
        self._services.counters.add("limited_total", limit=denial.limit)
        await self._log(Refusal(phase, denial.reply, limit=denial.limit), mail_from=mail_from)
        return denial.reply

    async def _tell(self, trail: Trail, *, with_message: bool) -> None:
        for refusal, mailboxes in endings(trail, with_message=with_message):
            await self._log(refusal, mail_from=trail.sender.reverse_path, recipients=mailboxes, phase=trail.phase)

    async def _log(
        self,
        refusal: Refusal | None,
        *,
        mail_from: Mailbox | None = None,
        recipients: tuple[Mailbox, ...] = (),
        phase: str = "",
    ) -> None:
        self._rows += 1
        now = self._services.clock()
        left_out: int | None = 0
        if refusal is not None and refusal.limit:
            left_out = self._services.sampler.take(refusal.limit, now)
        if refusal is not None and left_out is None:
            self._services.counters.add("refusals_total", phase=refusal.phase, reply=refusal.codes)
            return
        teller = Teller(session=self._id, client=self._client)
        row = teller.row(self._rows, now, refusal, mail_from=mail_from, phase=phase)
        row = changed(row, rcpt_to=tuple(map(str, recipients)))
        if left_out:
            row = changed(row, detail=f"{left_out} more refusals like this one were left out before it")
        await tell(row, refusal.reply if refusal else None, self._services)
