"""What speaks against a client before its mail is looked at: its rate, its name for itself, its first visit.

*Standards.* RFC 5321 §4.1.4 (a server may refuse by policy), RFC 6647 (greylisting).
An Allow filter of the pinned book that vouches for the client overrides all of it (semantics.md §1 and §5); the bounds that
protect us (connections, octets, commands, errors) hold for everybody and are not here.
"""

from dataclasses import dataclass

from inbound.greylist import Greylist
from inbound.rates import Throttle
from mail.address import Mailbox
from mail.client import Client
from mail.reply import Reply
from rules.compiled import CompiledBook
from smtp.door import Denial

ANYBODY = Mailbox(local_part="", domain="")  # a filter for some recipients only does not vouch for this one
_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """`helo` is any, forged or named: who is refused for its EHLO. Without throttle and greylist nobody is counted."""

    throttle: Throttle | None = None
    greylist: Greylist | None = None
    helo: str = "any"
    hostname: str = "localhost"
    greeting_delay_seconds: float = 0

    def at_connect(self, book: CompiledBook, client: Client, now: float) -> Denial | None:
        denial = self.throttle.connection(client.ip, now) if self.throttle is not None else None
        return self._unless_vouched(book, client, ANYBODY, denial)

    def delay(self, book: CompiledBook, client: Client) -> float:
        """The seconds before the client is greeted."""
        if not self.greeting_delay_seconds or book.is_allowed(client.address, ANYBODY):
            return 0
        return self.greeting_delay_seconds

    def at_hello(self, book: CompiledBook, client: Client) -> Denial | None:
        """For EHLO and HELO; a client that XCLIENT describes may have said neither yet."""
        asks = self.helo != "any" and client.helo is not None
        denial = _said_of(client, self.hostname, strict=self.helo == "named") if asks else None
        return self._unless_vouched(book, client, ANYBODY, denial)

    def at_mail(self, book: CompiledBook, client: Client, reverse_path: Mailbox | None, now: float) -> Denial | None:
        denial = self.throttle.message(client.ip, reverse_path, now) if self.throttle is not None else None
        return self._unless_vouched(book, client, ANYBODY, denial)

    def at_rcpt(
        self, book: CompiledBook, client: Client, reverse_path: Mailbox | None, mailbox: Mailbox, now: float
    ) -> Denial | None:
        """For a recipient that would be accepted."""
        if self.greylist is not None and client.ip is not None and not book.is_allowed(client.address, mailbox):
            left = self.greylist.wait_for(client.ip, reverse_path, mailbox, now)
            if left:
                return Denial(_greylisted(left), "greylist.wait")  # no message yet, which would count below
        if self.throttle is None:
            return None
        return self._unless_vouched(book, client, mailbox, self.throttle.recipient(mailbox, now))

    def at_unknown_recipient(self, book: CompiledBook, client: Client, mailbox: Mailbox, now: float) -> Denial | None:
        denial = self.throttle.unknown_recipient(client.ip, now) if self.throttle is not None else None
        return self._unless_vouched(book, client, mailbox, denial)

    def _unless_vouched(
        self, book: CompiledBook, client: Client, mailbox: Mailbox, denial: Denial | None
    ) -> Denial | None:
        return None if denial is None or book.is_allowed(client.address, mailbox) else denial


def _greylisted(seconds: int) -> Reply:
    minutes = -(-seconds // _SECONDS)
    text = f"Greylisted, please try again in {minutes} minute{'s' if minutes > 1 else ''}"
    return Reply(code=451, detail="7.1", text=text)


def _said_of(client: Client, hostname: str, *, strict: bool) -> Denial | None:
    """What is wrong with the client's name for itself: it is ours, or with `strict` it is no name that others could know."""
    name = (client.helo or "").rstrip(".").lower()
    if name == hostname.lower() and (client.address is None or not client.address.is_loopback):
        return Denial(FORGED_HELO, "smtp.helo")
    if strict and ("." not in name or name.replace(".", "").isdigit()) and not name.startswith("["):
        return Denial(BAD_HELO, "smtp.helo")
    return None


FORGED_HELO = Reply(code=550, detail="7.1", text="EHLO says our own name")
BAD_HELO = Reply(code=550, detail="7.1", text="EHLO needs your full host name, or your address in brackets")
