"""The state of one mail transaction, and the counters of one connection."""

from dataclasses import dataclass, field

from mail.address import Mailbox
from mail.envelope import Envelope, Recipient
from mail.reply import Reply
from smtp.arguments import MailArgument
from smtp.content import Content


@dataclass(slots=True)
class Transaction:
    """From an accepted MAIL to the message or its end. A fresh one replaces it: what was never copied cannot survive."""

    mail: MailArgument | None = None
    recipients: dict[Mailbox, Recipient] = field(default_factory=dict)
    content: Content | None = None  # while DATA or BDAT is under way

    @property
    def is_open(self) -> bool:
        return self.mail is not None

    def envelope(self) -> Envelope:
        mail = self.mail or MailArgument(reverse_path=None)
        return Envelope(
            reverse_path=mail.reverse_path,
            recipients=tuple(self.recipients.values()),
            body=mail.body,
            smtputf8=mail.smtputf8,
        )


@dataclass(slots=True)
class Chunk:
    """One BDAT. With a refusal its octets are passed over, and then it is sent."""

    octets_left: int = 0
    is_last: bool = False
    refusal: Reply | None = None
    limit: str = ""  # that was exceeded


@dataclass(slots=True)
class Counts:
    """What one connection has used of its limits."""

    commands: int = 0
    commands_before: int = 0  # of these, before the last message was answered
    idle_commands: int = 0
    errors: int = 0
    recipients: int = 0
    refused_recipients: int = 0
    transactions: int = 0

    def took_message(self) -> None:
        """A message was answered: what counts between messages starts again."""
        self.idle_commands = 0
        self.commands_before = self.commands
        self.errors = 0
        self.refused_recipients = 0
