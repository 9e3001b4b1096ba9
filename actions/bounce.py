"""bounce: a delivery status notification for a message that was accepted (SES: Bounce action; semantics.md §3).

*Standards.* RFC 3464, RFC 3834 §2 (who must not be answered), RFC 5321 §6.1 (null reverse-path).
*Trust.* The reverse-path is whoever the sender said; a notice goes only to one that SPF or aligned DMARC vouches for, unless the
rule book says `bounce: always`. Promise 4: nothing unauthenticated is answered with mail.
*Failure.* Without a relay the step parks; the relay's own answer decides between retry and dead.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from actions.protocol import Context, Parked
from mail.address import Mailbox
from mail.delivery import DeliveryStatus
from mail.dsn import Notice, compose_dsn, status_fields
from mail.outcome import Outcome, Result
from mail.receipt import Receipt
from rules.conditions_traits import why_auto_generated

OrganizationalDomain = Callable[[str], str]


class Relay(Protocol):
    async def send(self, mail_from: Mailbox | None, rcpt_to: Mailbox, raw: bytes) -> DeliveryStatus:
        """Hand over one message; every failure is in the status: relayed, delayed or failed."""


class Bounce:
    """`hostname` names us in the notice; `organizational_domain` maps a domain to its organization's (RFC 9989)."""

    def __init__(self, relay: Relay | None, *, hostname: str, organizational_domain: OrganizationalDomain) -> None:
        self._relay = relay
        self._hostname = hostname
        self._organizational_domain = organizational_domain

    def destination(self, parameters: Mapping[str, Any]) -> str:  # noqa: ARG002
        return "relay"

    async def run(self, context: Context) -> Outcome:
        receipt = context.receipt
        if context.in_session:
            return Outcome(result=Result.DONE, detail="answered in the session")
        reverse_path = receipt.envelope.reverse_path
        if reverse_path is None:
            return _suppressed("the reverse-path is null")
        if not context.bounce_always:
            why_not = why_unanswerable(receipt, reverse_path, self._organizational_domain)
            if why_not is not None:
                return _suppressed(why_not)
        if self._relay is None:
            raise Parked("no relay configured: set relay.host to send bounce messages, then release this job")
        status = await self._relay.send(None, reverse_path, self._notice(context, reverse_path))
        return _judge_status(status)

    def _notice(self, context: Context, reverse_path: Mailbox) -> bytes:
        parameters = context.parameters
        code = str(parameters["smtp_reply_code"])
        enhanced = str(parameters.get("status_code") or f"{code[0]}.0.0")
        recipients = context.step.recipients
        sender = parameters.get("sender") or f"mailer-daemon@{recipients[0].domain if recipients else self._hostname}"
        statuses = (
            DeliveryStatus(
                recipient=str(recipient),
                action="failed",
                status=enhanced,
                diagnostic=f"{code} {enhanced} {parameters['message']}",
                attempted_at=context.now,
            )
            for recipient in recipients
        )
        notice = Notice(
            key=context.step.key,
            hostname=self._hostname,
            sender=str(sender),
            to=str(reverse_path),
            arrived_at=context.receipt.received_at,
            now=context.now,
            groups=tuple(map(status_fields, statuses)),
            header=context.content_header,
        )
        return compose_dsn(notice)


def why_unanswerable(
    receipt: Receipt, reverse_path: Mailbox, organizational_domain: OrganizationalDomain
) -> str | None:
    """Why nothing may be mailed to the sender (semantics.md §3); None if something may."""
    automatic = why_auto_generated(receipt.fields, reverse_path)
    if automatic is not None:
        return f"no person sent the message ({automatic})"
    if vouched(receipt, reverse_path, organizational_domain):
        return None
    verdicts = receipt.verdicts
    return f"nothing vouches for {reverse_path}: spf={verdicts.spf.result}, dmarc={verdicts.dmarc.result}"


def vouched(receipt: Receipt, reverse_path: Mailbox, organizational_domain: OrganizationalDomain) -> bool:
    """SPF pass on the MAIL FROM identity, not HELO, or DMARC pass with the reverse-path in the From domain's organization."""
    verdicts = receipt.verdicts
    if verdicts.spf.result == "pass":
        identity = verdicts.spf.properties.get("smtp.mailfrom", "")
        if identity.rpartition("@")[2].lower() == reverse_path.domain:
            return True
    from_domain = verdicts.from_domain_aligned
    if from_domain is None or reverse_path.domain.startswith("["):
        return False
    return organizational_domain(reverse_path.domain) == organizational_domain(from_domain)


def _suppressed(why: str) -> Outcome:
    return Outcome(result=Result.SUPPRESSED, detail=f"no bounce message: {why}")


def _judge_status(status: DeliveryStatus) -> Outcome:
    result = {"relayed": Result.DONE, "delivered": Result.DONE, "failed": Result.DEAD}.get(status.action, Result.FAILED)
    detail = f"{status.action} to {status.recipient}: {status.diagnostic}"
    return Outcome(result=result, detail=detail, data={"status": status.status})
