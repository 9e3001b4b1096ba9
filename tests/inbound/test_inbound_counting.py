"""Every transaction is counted once, by outcome, verdict and refusal, in words that no stranger chooses."""

import itertools
from dataclasses import replace

import pytest
from inbound_rig import MESSAGE, Rig, book, verdicts

from inbound.backend import InboundBackend
from inbound.counting import Counting
from mail.address import parse_mailbox
from mail.counters import Counters
from mail.envelope import Envelope, Recipient
from mail.receipt import Evidence
from verdicts.judge import Judgement

RULES = """\
domains: [example.com]
rule_sets:
  default:
    - name: support
      recipients: [support@example.com]
      scan_enabled: true
      actions: [drop: {}]
"""


def counted() -> tuple[Rig, Counters]:
    rig = Rig(book(RULES))
    counters = Counters()
    ticks = itertools.count(0, 0.25)
    rig.services = replace(
        rig.services,
        counters=counters,
        on_event=Counting(counters, rig.services.on_event),
        monotonic=lambda: next(ticks),
    )
    return rig, counters


def some(counters: Counters, name: str) -> dict[tuple[str, ...], float]:
    """The values of labels, in the order of the labels' names, with their counts; without those that are nothing."""
    found = counters.snapshot().items()
    return {tuple(value for _, value in labels): count for (each, labels), count in found if each == name and count}


async def test_an_accepted_message_is_counted_with_its_octets_and_verdicts() -> None:
    rig, counters = counted()
    await rig.send("support@example.com")
    assert some(counters, "messages_total") == {("accepted",): 1}
    assert some(counters, "received_bytes_total") == {(): len(MESSAGE)}
    assert some(counters, "recipients_total") == {(): 1}
    assert some(counters, "verdicts_total") == {
        ("spf", "PASS"): 1,
        ("dkim", "GRAY"): 1,
        ("dmarc", "PASS"): 1,
        ("arc", "GRAY"): 1,
        ("spam", "DISABLED"): 1,
        ("virus", "DISABLED"): 1,
    }
    assert some(counters, "refusals_total") == {}
    assert len(rig.events) == 1, "whoever printed events before still gets them"


async def test_the_time_from_the_end_of_data_to_the_reply_is_observed() -> None:
    rig, counters = counted()
    await rig.send("support@example.com")
    assert some(counters, "accept_seconds_sum") == {(): 0.25}
    assert ("0.1",) not in some(counters, "accept_seconds_bucket")
    assert some(counters, "accept_seconds_bucket")[("0.25",)] == 1


async def test_a_refusal_is_counted_by_phase_and_codes_and_never_by_a_strangers_text() -> None:
    rig, counters = counted()
    await rig.send('"le=1"@example.com', "nobody@example.com")
    await rig.send("nobody@example.com")
    assert some(counters, "refusals_total") == {("rcpt", "550 5.1.1"): 2}
    assert some(counters, "messages_total") == {("refused",): 2}


async def test_mail_that_goes_on_without_a_scan_that_was_wanted_is_counted() -> None:
    rig, counters = counted()
    rig.judgement = Judgement(verdicts=verdicts(), evidence=Evidence(), unscanned="clamd is gone")
    await rig.send("support@example.com")
    assert some(counters, "unscanned_total") == {(): 1}


async def test_a_message_that_failed_is_no_latency() -> None:
    rig, counters = counted()
    rig.services = replace(rig.services, judge=None)  # type: ignore[arg-type]  # what calls it fails
    session = InboundBackend(rig.services)()
    await session.mail(None, None, smtputf8=False)
    mailbox = parse_mailbox("support@example.com")
    await session.rcpt(mailbox)
    with pytest.raises(TypeError):
        await session.data(Envelope(reverse_path=None, recipients=(Recipient(mailbox=mailbox),)), MESSAGE)
    assert some(counters, "accept_seconds_count") == {}
    assert some(counters, "messages_total") == {("deferred",): 1}


async def test_a_failure_names_its_session_for_whoever_reads_the_log() -> None:
    rig, _ = counted()
    rig.services = replace(rig.services, judge=None)  # type: ignore[arg-type]  # what calls it fails
    session = InboundBackend(rig.services)()
    await session.mail(None, None, smtputf8=False)
    mailbox = parse_mailbox("support@example.com")
    await session.rcpt(mailbox)
    with pytest.raises(TypeError) as caught:
        await session.data(Envelope(reverse_path=None, recipients=(Recipient(mailbox=mailbox),)), MESSAGE)
    (row,) = await rig.history()
    assert caught.value.__notes__ == [f"session {row.session}"]
