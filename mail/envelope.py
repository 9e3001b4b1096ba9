"""What MAIL and RCPT said (RFC 5321 §2.3.1), with the parameters of RFC 3461 kept for later hops."""

from mail.address import Mailbox
from mail.values import Value


class Recipient(Value, frozen=True, kw_only=True):
    """One forward-path; `notify` and `orcpt` are RFC 3461's parameters as sent."""

    mailbox: Mailbox
    notify: tuple[str, ...] = ()
    orcpt: str | None = None


class Envelope(Value, frozen=True, kw_only=True):
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
