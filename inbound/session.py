"""One SMTP client's session on the MX: admission by the pinned rule book, acceptance, and a history row for all that failed."""

from inbound.accept import Delivery, take, tell
from inbound.admission import Sender, admit, complete, is_vouched, storage_refusal
from inbound.connection_facts import ConnectionFacts
from inbound.ports import Services
from inbound.trail import Refusal, Teller, Trail, endings
from mail.address import Mailbox
from mail.client import Client
from mail.envelope import Envelope
from mail.reply import NEED_MAIL, SENDER_OK, TRY_AGAIN, Reply
from mail.values import changed


class InboundSession:
    """`smtp.backend.Session`. The server calls one method at a time."""

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
        self._look_up(client)
        self._client = client
        return None

    async def hello(self, client: Client) -> Reply | None:
        if client.ip != self._client.ip:
            self._look_up(client)
        self._client = client
        return None

    def _look_up(self, client: Client) -> None:
        # Beside the dialogue, from connect on: only the first RCPT and the message itself may wait for it (semantics.md §5).
        if self._facts is not None:
            self._facts.cancel()
        self._facts = None if client.ip is None else ConnectionFacts(self._services, client.ip)

    async def mail(self, reverse_path: Mailbox | None, declared_size: int | None, *, smtputf8: bool) -> Reply:  # noqa: ARG002
        services = self._services
        refusal = storage_refusal(services.spool.load(), services.settings)
        if refusal is not None:
            await self._log(Refusal("mail", refusal), mail_from=reverse_path)
            return refusal
        sender = Sender(client=self._client, reverse_path=reverse_path, declared_size=declared_size)
        self._trail = Trail(book=services.book(), sender=sender)
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
        if admission.reply.is_positive:
            trail.accepted[admission.mailbox] = None
            trail.wanting = admission.wanting if trail.wanting is None else trail.wanting
        else:
            trail.refused[admission.mailbox] = None
            trail.refusal = Refusal("rcpt", admission.reply, admission.by)
        return admission.reply

    async def data(self, envelope: Envelope, raw: bytes) -> Reply:
        trail, self._trail = self._trail, None
        if trail is None:
            return NEED_MAIL
        began = self._services.monotonic()
        client, dnsbl = await self._known_client(trail)
        self._rows += 1
        delivery = Delivery(
            session=self._id, number=self._rows, book=trail.book, client=client, dnsbl=dnsbl, envelope=envelope, raw=raw
        )
        try:
            reply = await take(delivery, self._services)
        except Exception as error:
            # The client is told nothing (the server answers 451), whoever asks the history why.
            trail.ending = Refusal("data", TRY_AGAIN, detail=f"{type(error).__name__}: {error}")
            await self._tell(trail, with_message=False)
            raise
        self._accept_seconds.observe(self._services.monotonic() - began)
        await self._tell(trail, with_message=True)
        return reply

    async def _listed(self, trail: Trail, mailbox: Mailbox) -> tuple[str, ...]:
        """The lists that list the client, as far as a recipient need wait for them."""
        settings = self._services.settings
        if self._facts is None or not settings.refuse_listed:
            return ()
        if is_vouched(trail.book, self._client, (complete(trail.book, mailbox, settings.hostname),)):
            return ()
        return await self._facts.listed(one_will_do=True)

    async def _known_client(self, trail: Trail) -> tuple[Client, tuple[str, ...]]:
        """The client with its name, and the lists that count against it."""
        if self._facts is None:
            return self._client, ()
        name = await self._facts.name()
        is_free = is_vouched(trail.book, self._client, trail.accepted)
        return changed(self._client, name=name or self._client.name), () if is_free else await self._facts.listed()

    async def reset(self) -> None:
        trail, self._trail = self._trail, None
        if trail is not None:
            await self._tell(trail, with_message=False)

    async def refused(self, command: str, reply: Reply) -> None:
        trail = self._trail
        if command in ("DATA", "BDAT") and trail is not None and trail.accepted:
            trail.phase, trail.ending = "data", Refusal("data", reply)
        elif command == "RCPT" and trail is not None:
            # A recipient's own refusal is not to be overwritten by a later one's bad syntax.
            trail.refusal = trail.refusal or Refusal("rcpt", reply)
        elif command == "MAIL" and trail is None:
            await self._log(Refusal("mail", reply))
        elif trail is not None and reply.close:
            trail.ending = Refusal(trail.phase, reply)
        else:
            self._stray = Refusal("ehlo" if self._client.helo is None else "mail", reply)

    async def close(self) -> None:
        if self._facts is not None:
            self._facts.cancel()
        if self._stray is not None and not self._rows:
            await self._log(self._stray)

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
        teller = Teller(session=self._id, client=self._client)
        row = teller.row(self._rows, now, refusal, mail_from=mail_from, phase=phase)
        row = changed(row, rcpt_to=tuple(map(str, recipients)))
        await tell(row, refusal.reply if refusal else None, self._services)
