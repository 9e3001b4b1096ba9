"""What each transaction adds to the counters: its outcome, its octets, its verdicts, and who refused it."""

from collections.abc import Callable

from inbound.event import Event
from mail.counters import Cell, Counters, key
from mail.verdict import VERDICTS, Status

_OUTCOMES = ("accepted", "refused", "deferred", "aborted")


class Counting:
    """`on_event`, and before it the count. Runs for every message: the cells are found once."""

    def __init__(self, counters: Counters, on_event: Callable[[Event], None]) -> None:
        self._counters, self._on_event = counters, on_event
        self._octets = counters.cell(key("received_bytes_total"))
        self._recipients = counters.cell(key("recipients_total"))
        self._outcomes = {word: counters.cell(key("messages_total", outcome=word)) for word in _OUTCOMES}
        self._verdicts = [(check, self._results_of(check)) for check in VERDICTS]

    def _results_of(self, check: str) -> dict[Status, Cell]:
        return {
            status: self._counters.cell(key("verdicts_total", check=check, result=status.value)) for status in Status
        }

    def __call__(self, event: Event) -> None:
        self._outcomes[event.outcome].value += 1
        if event.receipt is not None:
            self._octets.value += event.receipt.size
            self._recipients.value += len(event.rcpt_to)
            status_of = event.receipt.verdicts.status
            for check, cells in self._verdicts:
                cells[status_of(check)].value += 1
        if event.reply is not None and not event.reply.is_positive:
            # Code and enhanced code are ours or the rules'; the text may repeat what a stranger sent.
            codes = f"{event.reply.code} {event.reply.enhanced or ''}".rstrip()
            self._counters.add("refusals_total", phase=event.phase, reply=codes)
        self._on_event(event)
