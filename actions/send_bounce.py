"""SendBounce: the bounce message that a program asks for, about mail that was received here (SES: SendBounce).

*Standards.* RFC 3464 (the DSN), RFC 3834 (who must not be answered).
*Trust.* The rules of the Bounce action hold (semantics.md §3): whoever calls the API cannot have mail sent to a sender whom nothing
vouches for, nor use us for bounces about mail that we never had, or older than a day.
*Failure.* `Refused` with SES's code and words, `Parked` without a relay, `Temporary` while the relay cannot take it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from actions.bounce import OrganizationalDomain, Relay, why_unanswerable
from actions.bounce_request import TEMPLATES, BouncedRecipientInfo, BounceRequest, Refused
from actions.protocol import Parked
from mail.address import Mailbox, parse_mailbox
from mail.dsn import TEXT, Fields, Notice, compose_dsn, identifier_of, short_date
from mail.errors import Temporary
from mail.receipt import Receipt

WINDOW = timedelta(hours=24)  # SES: only on an email up to 24 hours after you receive it


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The message that is bounced: `header` is its section as actions saw it. `refused`: its sender got a 5xx in the session."""

    receipt: Receipt
    header: bytes
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceSending:
    """What SendBounce works through. `is_ours` says whether mail may be sent from a domain; `always` is `bounce: always`."""

    relay: Relay | None
    hostname: str
    region: str
    organizational_domain: OrganizationalDomain
    is_ours: Callable[[str], bool]
    entropy: Callable[[], str]
    always: bool = False

    async def send(self, request: BounceRequest, original: Original | None, now: datetime) -> str:
        """Send it; SES's MessageId. `original` None: there is no such message here."""
        reverse_path = self._answerable(request, original, now)
        assert original is not None
        if self.relay is None:
            raise Parked("no relay configured: set relay.host to send bounce messages")
        notice = self._notice(request, original, reverse_path, now)
        status = await self.relay.send(None, reverse_path, compose_dsn(notice))
        if status.action == "failed":
            raise _rejected(f"The bounce could not be delivered: {status.diagnostic}")
        if status.action == "delayed":
            raise Temporary(status.diagnostic)
        return identifier_of(notice)

    def _answerable(self, request: BounceRequest, original: Original | None, now: datetime) -> Mailbox:
        """The address that may be told, if everything allows it."""
        if original is None:
            raise _rejected(f"The original message could not be found: {request.original_message_id}")
        receipt = original.receipt
        if now - receipt.received_at > WINDOW:
            raise _rejected("The original message was received more than 24 hours ago")
        sender = parse_mailbox(request.bounce_sender)
        if not self.is_ours(sender.domain):
            raise _rejected(
                "Email address is not verified. The following identities failed the check in region "
                f"{self.region.upper()}: {sender}"
            )
        took = {str(mailbox).lower() for mailbox in receipt.envelope.mailboxes}
        for info in request.bounced_recipient_info_list:
            if not {address.lower() for address in _addresses(info)} & took:
                raise _rejected(f"Not a recipient of the original message: {info.recipient}")
        reverse_path = receipt.envelope.reverse_path
        why = "its sender was told in the SMTP session" if original.refused else None
        if reverse_path is None:
            why = "the reverse-path is null"
        elif why is None and not self.always:
            why = why_unanswerable(receipt, reverse_path, self.organizational_domain)
        if why is not None or reverse_path is None:
            raise _rejected(f"The original message must not be bounced: {why}")
        return reverse_path

    def _notice(self, request: BounceRequest, original: Original, reverse_path: Mailbox, now: datetime) -> Notice:
        dsn = request.message_dsn
        infos = request.bounced_recipient_info_list
        arrived = dsn.arrival_date if dsn is not None and dsn.arrival_date is not None else original.receipt.received_at
        return Notice(
            key=f"{request.original_message_id}/bounce/{self.entropy()}",
            hostname=self.hostname,
            sender=request.bounce_sender,
            to=str(reverse_path),
            arrived_at=_utc(arrived),
            now=now,
            groups=tuple(_group(info) for info in infos),
            header=original.header,
            text=request.explanation or _explained(infos),
            reporting_mta=dsn.reporting_mta if dsn is not None else "",
            fields=tuple((field.name, field.value) for field in dsn.extension_fields) if dsn is not None else (),
        )


def _addresses(info: BouncedRecipientInfo) -> list[str]:
    """SES: either FinalRecipient or the recipient must be one of the original message's."""
    fields = info.recipient_dsn_fields
    final = fields.final_recipient if fields is not None else None
    return [info.recipient] if final is None else [info.recipient, final]


def _explained(infos: tuple[BouncedRecipientInfo, ...]) -> str:
    """SES: generated from the recipients' information where there is no Explanation; what its Bounce action says."""
    reasons = {f"{info.recipient}: {TEMPLATES[info.bounce_type][2]}" for info in infos if info.bounce_type is not None}
    return "\n".join([TEXT, *sorted(reasons)])


def _group(info: BouncedRecipientInfo) -> Fields:
    fields = info.recipient_dsn_fields
    original = ("Original-Recipient", f"rfc822; {info.recipient}")
    if fields is None:
        code, status, text = TEMPLATES[info.bounce_type or "Undefined"]
        return (
            ("Action", "failed"),
            ("Final-Recipient", f"rfc822; {info.recipient}"),
            original,
            ("Diagnostic-Code", f"smtp; {code} {status} {text}"),
            ("Status", status),
        )
    group = [
        ("Action", fields.action),
        ("Final-Recipient", f"rfc822; {fields.final_recipient or info.recipient}"),
        original,
    ]
    if fields.diagnostic_code is not None:
        group.append(("Diagnostic-Code", fields.diagnostic_code))
    group.append(("Status", fields.status))
    if fields.remote_mta is not None:
        group.append(("Remote-MTA", fields.remote_mta))
    if fields.last_attempt_date is not None:
        group.append(("Last-Attempt-Date", short_date(_utc(fields.last_attempt_date))))
    return (*group, *((field.name, field.value) for field in fields.extension_fields))


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _rejected(why: str) -> Refused:
    return Refused("MessageRejected", why)
