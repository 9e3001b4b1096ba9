"""bounce: who may get a notice, and what the relay's answer means (semantics.md §3)."""

from __future__ import annotations

from email import message_from_bytes
from typing import Any

import pytest
from acting import NOW, RAW, context_of, receipt_of, verdicts

from actions.bounce import Bounce
from actions.protocol import Parked
from mail.address import Mailbox, parse_mailbox
from mail.delivery import DeliveryStatus
from mail.outcome import Outcome, Result
from mail.values import changed
from mail.verdict import AuthResult, Verdicts

PARAMETERS = {"smtp_reply_code": "550", "status_code": "5.1.1", "message": "Mailbox does not exist"}


class Sink:
    """A relay that keeps what it was given and answers as told."""

    def __init__(self, action: str = "relayed", status: str = "2.0.0") -> None:
        self._action, self._status = action, status
        self.given: list[tuple[Mailbox | None, Mailbox, bytes]] = []

    async def send(self, mail_from: Mailbox | None, rcpt_to: Mailbox, raw: bytes) -> DeliveryStatus:
        self.given.append((mail_from, rcpt_to, raw))
        return DeliveryStatus(
            recipient=str(rcpt_to),
            action=self._action,
            status=self._status,
            diagnostic="smtp; as told",
            attempted_at=NOW,
        )


def organizational(domain: str) -> str:
    return ".".join(domain.split(".")[-2:])


async def bounced(
    relay: Sink | None,
    *,
    raw: bytes = RAW,
    reverse_path: str | None = "alice@sender.example",
    judged: Verdicts | None = None,
    parameters: dict[str, Any] | None = None,
    **rest: Any,
) -> Outcome:
    action = Bounce(relay, hostname="mx.example.com", organizational_domain=organizational)
    receipt = receipt_of(raw, reverse_path=reverse_path, judged=judged)
    return await action.run(context_of("bounce", parameters or PARAMETERS, raw=raw, receipt=receipt, **rest))


async def test_vouched_sender_gets_a_notice_with_the_null_reverse_path() -> None:
    relay = Sink()
    outcome = await bounced(relay)
    assert outcome.result is Result.DONE
    ((mail_from, rcpt_to, raw),) = relay.given
    assert (mail_from, rcpt_to) == (None, parse_mailbox("alice@sender.example"))
    notice = message_from_bytes(raw)
    assert notice["From"] == "mailer-daemon@example.com"
    assert notice["To"] == "alice@sender.example"
    assert b"Diagnostic-Code: smtp; 550 5.1.1 Mailbox does not exist\r\n" in raw
    assert b"Final-Recipient: rfc822; support@example.com\r\n" in raw
    assert b"X-Ours: yes\r\nFrom: Alice" in raw
    assert b"Good day." not in raw


async def test_sender_and_missing_status_code_follow_the_rule() -> None:
    relay = Sink()
    await bounced(relay, parameters={"smtp_reply_code": "554", "message": "no", "sender": "bounces@example.com"})
    raw = relay.given[0][2]
    assert message_from_bytes(raw)["From"] == "bounces@example.com"
    assert b"Status: 5.0.0\r\n" in raw


@pytest.mark.parametrize(
    ("judged", "vouched"),
    [
        (verdicts(), True),
        (verdicts(spf="fail"), True),  # DMARC passed and the domains are one organization's
        (verdicts(dmarc="fail"), True),  # SPF passed for the reverse-path itself
        (verdicts(spf="softfail", dmarc="fail"), False),
        (verdicts(spf="none", dmarc="none"), False),
        (verdicts(spf="temperror", dmarc="temperror"), False),
        (verdicts(spf="none", from_domain="mail.sender.example"), True),
        (verdicts(spf="none", from_domain="attacker.example"), False),
        (verdicts(spf="none", from_domain=None), False),
        (verdicts(spf="pass", mail_from="someone@helo.example", dmarc="fail"), False),
    ],
)
async def test_only_spf_or_aligned_dmarc_vouches(judged: Verdicts, vouched: bool) -> None:
    relay = Sink()
    outcome = await bounced(relay, judged=judged)
    assert (outcome.result is Result.DONE, len(relay.given)) == (vouched, int(vouched))
    if not vouched:
        assert outcome.result is Result.SUPPRESSED
        assert outcome.detail.startswith("no bounce message: nothing vouches for alice@sender.example")


async def test_spf_of_the_helo_identity_vouches_for_nobody() -> None:
    judged = verdicts(dmarc="none")
    helo = changed(judged, spf=AuthResult(method="spf", result="pass", properties={"smtp.helo": "sender.example"}))
    assert (await bounced(Sink(), judged=helo)).result is Result.SUPPRESSED


async def test_null_reverse_path_is_never_answered() -> None:
    for always in (False, True):
        relay = Sink()
        outcome = await bounced(relay, reverse_path=None, bounce_always=always)
        assert (outcome.result, outcome.detail) == (
            Result.SUPPRESSED,
            "no bounce message: the reverse-path is null",
        )
        assert relay.given == []


@pytest.mark.parametrize(
    "field",
    [
        b"Auto-Submitted: auto-replied",
        b"Precedence: bulk",
        b"Content-Type: multipart/report; report-type=delivery-status",
    ],
)
async def test_generated_mail_is_not_answered(field: bytes) -> None:
    relay = Sink()
    outcome = await bounced(relay, raw=field + b"\r\n" + RAW)
    assert outcome.result is Result.SUPPRESSED
    assert field.decode().partition(";")[0] in outcome.detail
    assert relay.given == []


async def test_bounce_always_answers_whoever_said_so() -> None:
    relay = Sink()
    judged = verdicts(spf="fail", dmarc="fail")
    assert (await bounced(relay, judged=judged, bounce_always=True)).result is Result.DONE
    assert len(relay.given) == 1


async def test_what_was_answered_in_the_session_gets_no_notice() -> None:
    relay = Sink()
    outcome = await bounced(relay, in_session=True)
    assert (outcome.result, outcome.detail) == (Result.DONE, "answered in the session")
    assert relay.given == []


async def test_without_a_relay_the_step_parks_but_only_if_a_notice_is_due() -> None:
    with pytest.raises(Parked, match="no relay configured"):
        await bounced(None)
    assert (await bounced(None, reverse_path=None)).result is Result.SUPPRESSED
    assert (await bounced(None, in_session=True)).result is Result.DONE


@pytest.mark.parametrize(
    ("action", "result"), [("relayed", Result.DONE), ("delayed", Result.FAILED), ("failed", Result.DEAD)]
)
async def test_answer_of_the_relay_decides(action: str, result: Result) -> None:
    assert (await bounced(Sink(action, "4.0.0"))).result is result


async def test_repeated_notice_bears_the_same_message_id() -> None:
    relay = Sink()
    await bounced(relay)
    await bounced(relay)
    first, second = (message_from_bytes(raw)["Message-ID"] for _, _, raw in relay.given)
    assert first == second
