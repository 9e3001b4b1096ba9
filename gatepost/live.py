"""One readable line for each transaction, while the gateway runs on a terminal or in a container's log."""

import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import click

from gatepost.cli.layout import colours, size_text, visible
from gatepost.log_lines import Redact, json_line, redacted, redactor
from gatepost.settings import Settings
from inbound.event import Event

_STATUS = re.compile(r"(\w+)=(\w+)")
_COLOURS = {"PASS": "green", "FAIL": "red", "GRAY": "yellow", "PROCESSING_FAILED": "yellow"}
_SHOWN_RECIPIENTS = 3
_MOST_RECIPIENTS = 100


def line_of(event: Event, redact: Redact = str) -> str:
    """`12:00:41 250 a@b.example → support@example.com  4.1 kB  spf PASS dkim PASS dmarc PASS  support  06gv…`.

    What is redacted is so before it is made visible: behind an escape an address is not known as one.
    """
    code = event.reply.code if event.reply is not None else "---"
    colour = "green" if event.outcome == "accepted" else "yellow" if event.outcome in ("deferred", "aborted") else "red"
    shown = [visible(redact(recipient)) for recipient in event.rcpt_to[:_SHOWN_RECIPIENTS]]
    more = len(event.rcpt_to) - len(shown)
    parties = f"{visible(redact(event.mail_from or '<>'))} → {', '.join(shown) or '-'}{f' and {more} more' if more > 0 else ''}"
    parts = [f"{event.at:%H:%M:%S}", click.style(str(code), fg=colour), parties]
    if event.receipt is not None and event.outcome == "accepted":
        parts += [size_text(event.receipt.size), _summary(event.summary), ", ".join(event.rules) or "no rule matched"]
    elif event.reply is not None:
        parts += [visible(redact(event.reply.text)), event.by]
    else:
        parts.append("ended without a message")
    parts.append(click.style(event.message_id or f"session {event.session}", dim=True))
    return "  ".join(part for part in parts if part)


def _summary(text: str) -> str:
    return " ".join(
        f"{name} {click.style(status, fg=_COLOURS.get(status))}"
        for name, status in _STATUS.findall(text)
        if status != "DISABLED"
    )


def entry_of(event: Event) -> dict[str, object]:
    """The same as an object, for a log that programs read."""
    receipt = event.receipt
    return {
        "at": f"{event.at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        "level": "info",
        "logger": "gatepost.mail",
        "session": event.session,
        "message": event.message_id,
        "outcome": event.outcome,
        "phase": event.phase,
        "reply": str(event.reply) if event.reply is not None else None,
        "by": event.by,
        "client_ip": event.client_ip,
        "mail_from": event.mail_from,
        "rcpt_to": list(event.rcpt_to[:_MOST_RECIPIENTS]),
        "size": receipt.size if receipt is not None else None,
        "verdicts": dict(_STATUS.findall(event.summary)),
        "rules": list(event.rules),
    }


def printer(settings: Settings) -> Callable[[Event], None]:
    """Prints each line to standard output at once, in the form of the log and with what it leaves out."""
    redact = redactor(settings)
    if settings.log_format == "json":
        return lambda event: say(json_line({name: redacted(value, redact) for name, value in entry_of(event).items()}))
    return lambda event: say(line_of(event, redact))


def speaker(settings: Settings) -> Callable[[str], None]:
    """What `serve` says of itself, in the form of the log."""
    if settings.log_format != "json":
        return say
    return lambda text: say(json_line({"at": _now(), "level": "info", "logger": "gatepost", "text": text}))


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def say(text: str) -> None:
    """A line on standard output; a reader that is gone ends the lines, not the gateway."""
    try:
        click.echo(text, color=colours())
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        # What stays in the buffer would fail again when the interpreter ends.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it lives as long as we do
