"""What each transaction adds to the counters: its outcome, its octets, its verdicts, and who refused it."""

from collections.abc import Callable
from functools import partial

from inbound.event import Event
from mail.counters import Counters, key
from mail.verdict import VERDICTS, Status

_OCTETS, _RECIPIENTS = key("received_bytes_total"), key("recipients_total")
_OUTCOMES = {
    outcome: key("messages_total", outcome=outcome) for outcome in ("accepted", "refused", "deferred", "aborted")
}
_VERDICTS = [
    (check, {status: key("verdicts_total", check=check, result=status) for status in Status}) for check in VERDICTS
]


def counting(counters: Counters, on_event: Callable[[Event], None]) -> Callable[[Event], None]:
    """`on_event`, and before it the count."""
    return partial(_count, counters, on_event)


def _count(counters: Counters, on_event: Callable[[Event], None], event: Event) -> None:
    counters.count(_OUTCOMES[event.outcome])
    if event.receipt is not None:
        counters.count(_OCTETS, event.receipt.size)
        counters.count(_RECIPIENTS, len(event.rcpt_to))
        status_of = event.receipt.verdicts.status
        for check, keys in _VERDICTS:
            counters.count(keys[status_of(check)])
    if event.reply is not None and not event.reply.is_positive:
        # Code and enhanced code are ours or the rules'; the text may repeat what a stranger sent.
        codes = f"{event.reply.code} {event.reply.enhanced or ''}".rstrip()
        counters.add("refusals_total", phase=event.phase, reply=codes)
    on_event(event)
