"""What MAIL and RCPT said (RFC 5321 §2.3.1), with the parameters of RFC 3461 kept for later hops."""

from dataclasses import dataclass

from mail.address import Mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One forward-path; `notify` and `orcpt` are RFC 3461's parameters as sent."""

    mailbox: Mailbox
    notify: tuple[str, ...] = ()
    orcpt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One mail transaction. `reverse_path` is None for the null sender; recipients stand in the order of RCPT, distinct."""

    reverse_path: Mailbox | None
    recipients: tuple[Recipient, ...]
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None

    @property
    def mailboxes(self) -> tuple[Mailbox, ...]:
        return tuple(recipient.mailbox for recipient in self.recipients)
