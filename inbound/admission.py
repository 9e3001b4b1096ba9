"""Whether MAIL and RCPT are taken: pure decisions over the pinned rule book (semantics.md §1 and §3, house: one message, inbound).

The order for a recipient is part of what it means: relaying is denied before any rule is looked at, the address that is blocked
learns nothing of who exists here, and TLS is asked for only where some rule would take the mail.
"""

from collections.abc import Iterable

from inbound.ports import InboundSettings
from mail.address import Mailbox
from mail.client import Client
from mail.reply import (
    BLOCKED_IP,
    INSUFFICIENT_STORAGE,
    NEEDS_TLS,
    NO_SUCH_MAILBOX,
    RECIPIENT_OK,
    RELAYING_DENIED,
    TOO_MANY_RECIPIENTS,
    Reply,
)
from mail.values import Value, changed
from rules.compiled import CompiledBook
from rules.disposition import at_rcpt
from smtp.door import Denial
from spool.ports import Load


class Admission(Value, frozen=True, kw_only=True):
    """The answer to one RCPT: `mailbox` in full, `by` the filter or rule that refused, `wanting` the rules that want it."""

    mailbox: Mailbox
    reply: Reply
    by: str = ""
    wanting: tuple[str, ...] = ()


class Sender(Value, frozen=True, kw_only=True):
    """What is known at RCPT besides the recipient."""

    client: Client
    reverse_path: Mailbox | None
    declared_size: int | None


def complete(book: CompiledBook, mailbox: Mailbox, hostname: str) -> Mailbox:
    """`<Postmaster>` is postmaster at the first of our domains (RFC 5321 §4.5.1), or at our host where every domain is ours."""
    return mailbox if mailbox.domain else changed(mailbox, domain=book.postmaster_domain or hostname)


def is_vouched(book: CompiledBook, client: Client, mailboxes: Iterable[Mailbox]) -> bool:
    """Whether Allow filters let the client pass to all of these recipients: then no list counts against it (semantics.md §5)."""
    address = client.address
    return all(book.is_allowed(address, mailbox) for mailbox in mailboxes)


def admit(
    book: CompiledBook,
    sender: Sender,
    mailbox: Mailbox,
    *,
    first: tuple[str, ...] | None,
    settings: InboundSettings,
    listed: tuple[str, ...] = (),
) -> Admission:
    """Decide on one recipient; `first` are the rules that want the first recipient accepted, None before there is one.

    `listed` are the DNS lists that list the client.
    """
    mailbox = complete(book, mailbox, settings.hostname)
    if not book.is_ours(mailbox.domain):
        return Admission(mailbox=mailbox, reply=RELAYING_DENIED)
    blocking = book.blocked_by(sender.client.address, mailbox)
    if blocking is not None:
        return Admission(mailbox=mailbox, reply=BLOCKED_IP, by=blocking.name)
    if listed and settings.refuse_listed and not is_vouched(book, sender.client, (mailbox,)):
        return Admission(mailbox=mailbox, reply=BLOCKED_IP, by=listed[0])
    rules = book.wants(mailbox)
    if not rules:
        return Admission(mailbox=mailbox, reply=NO_SUCH_MAILBOX)
    if sender.client.tls is None and all(rule.tls_policy == "Require" for rule in rules):
        return Admission(mailbox=mailbox, reply=NEEDS_TLS, by=rules[0].name)
    bounce = at_rcpt(book, sender.client, sender.reverse_path, sender.declared_size, mailbox)
    if bounce is not None and bounce.reply is not None:
        return Admission(mailbox=mailbox, reply=bounce.reply, by=bounce.rule)
    wanting = tuple(rule.name for rule in rules)
    if settings.split_recipients and first is not None and wanting != first:
        # Its own transaction, so that a refusal after DATA concerns it alone (semantics.md §3).
        return Admission(mailbox=mailbox, reply=TOO_MANY_RECIPIENTS, wanting=wanting)
    return Admission(mailbox=mailbox, reply=RECIPIENT_OK, wanting=wanting)


def storage_refusal(load: Load, settings: InboundSettings) -> Denial | None:
    """The answer to MAIL where the spool has no room, or too much is already waiting (semantics.md §6)."""
    if load.ready_jobs + load.leased_jobs > settings.max_ready_jobs:
        return Denial(INSUFFICIENT_STORAGE, "spool.max_ready")
    if is_below_reserve(load, settings):
        return Denial(INSUFFICIENT_STORAGE, "spool.reserve")
    return Denial(INSUFFICIENT_STORAGE, "retention.cap") if load.cap_reached else None


def is_below_reserve(load: Load, settings: InboundSettings) -> bool:
    return load.free_octets < max(settings.reserve_octets, int(load.total_octets * settings.reserve_fraction))
