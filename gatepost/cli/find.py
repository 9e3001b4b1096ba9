"""`gatepost find`: where is the mail from X to Y? Every SMTP transaction, the refused ones too."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gatepost.cli.common import config_options, fail, json_option, print_json, settings_of
from gatepost.cli.exits import USAGE
from gatepost.cli.layout import (
    columns_of,
    faint,
    is_terminal,
    mark,
    padded,
    shortened,
    size_text,
    time_text,
    visible,
    width,
    word,
)
from gatepost.cli.lookup import moment_of, reader_of
from mail.errors import Malformed
from mail.ses_json import timestamp
from spool.history import OUTCOMES
from spool.ports import ERASED, HistoryQuery, HistoryRow, MessageState

# An id begins with time and shard: so much of it tells messages apart where a line is short, and `show` takes it.
SHORT_ID = 16
WIDE_ENOUGH = 130
LEAST = 12


@click.command()
@click.option("--from", "mail_from", help="Part of the envelope's sender.")
@click.option("--to", "rcpt_to", help="Part of a recipient.")
@click.option("--ip", help="Part of the client's address.")
@click.option("--subject", help="Part of the subject.")
@click.option("--since", help="Not before: 30m, 2h, 3d ago, or 2026-01-13, 2026-01-13T21:02 (UTC).")
@click.option("--until", help="Before, in the same forms.")
@click.option("--outcome", type=click.Choice(OUTCOMES), metavar="WORD", help=f"One of {', '.join(OUTCOMES)}.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="At most so many.")
@json_option
@config_options
def command(
    since: str | None,
    until: str | None,
    as_json: bool,
    config: Path | None,
    data: Path | None,
    **looked_for: Any,
) -> None:
    """Find messages and refused sessions, newest first, one line each: when, what came of it, from whom to whom, and its id.

    `gatepost show ID` tells more of a line, `gatepost explain ID` why it went where it went.
    """
    query = HistoryQuery(since=_moment("--since", since), until=_moment("--until", until), **looked_for)
    found = asyncio.run(reader_of(config, data).find(query))
    if as_json:
        for row, state in found:
            print_json(row_object(row, state))
        return
    if not found:
        where = visible(str(settings_of(config, data).data))
        click.echo(f"Nothing found: {_sought(query)}, in {where}.")
        return
    click.echo(lines([*found], columns=width() if is_terminal() else None))
    if len(found) == query.limit:
        click.echo(faint(f"The newest {query.limit:,} only; --limit shows more."), err=True)


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return moment_of(text, datetime.now(UTC))
    except Malformed as error:
        raise fail(f"{option} {visible(text)}: {error}", USAGE) from error


def _sought(query: HistoryQuery) -> str:
    """What was looked for, in words."""
    texts = {
        "from": query.mail_from,
        "to": query.rcpt_to,
        "by a client like": query.ip,
        "with the subject": query.subject,
    }
    parts = [f"{name} {json.dumps(visible(text), ensure_ascii=False)}" for name, text in texts.items() if text]
    if query.since is not None:
        parts.append(f"since {time_text(query.since)}")
    if query.until is not None:
        parts.append(f"before {time_text(query.until)}")
    if query.outcome is not None:
        parts.append(f"with the outcome {query.outcome}")
    return f"no mail {', '.join(parts)}" if parts else "no mail at all"


def outcome_of(row: HistoryRow, state: MessageState | None) -> str:
    """What became of it in one word: the message's state, or how the transaction ended; of what was erased, that it was."""
    if row.detail == ERASED:
        return ERASED
    return row.outcome if state is None else state.value


def row_object(row: HistoryRow, state: MessageState | None) -> dict[str, Any]:
    """One line of `--json`."""
    return {
        "id": row.id,
        "session": row.session,
        "at": timestamp(row.at),
        "outcome": row.outcome,
        "state": None if state is None else state.value,
        "phase": row.phase,
        "mail_from": row.mail_from,
        "rcpt_to": list(row.rcpt_to),
        "header_from": row.header_from,
        "subject": row.subject,
        "client_ip": row.client_ip,
        "helo": row.helo,
        "size": row.size,
        "reply": row.reply,
        "by": row.by,
        "detail": row.detail,
    }


def lines(found: list[tuple[HistoryRow, MessageState | None]], *, columns: int | None) -> str:
    """Aligned lines; `columns` None: nothing is shortened, for a pipe."""
    short = columns is not None and columns < WIDE_ENOUGH
    rows = [
        (
            faint(time_text(row.at)),
            word(outcome_of(row, state)),
            who(row),
            what(row),
            # The ids of refused transactions end with what tells them apart.
            row.id[:SHORT_ID] if short and state is not None else visible(row.id),
        )
        for row, state in found
    ]
    sizes = [max(columns_of(row[column]) for row in rows) for column in range(5)]
    if columns is not None:
        room = columns - sizes[0] - sizes[1] - sizes[4] - 8
        sizes[2] = min(sizes[2], max(LEAST, room // 2, room - sizes[3]))
        sizes[3] = min(sizes[3], max(LEAST, room - sizes[2]))
    return "\n".join(
        "  ".join(padded(shortened(cell, size), size) for cell, size in zip(row, sizes, strict=True)).rstrip()
        for row in rows
    )


def who(row: HistoryRow) -> str:
    """`a@b.example → c@d.example +2`; what ended before a sender was known has a client only."""
    if row.detail == ERASED:
        return "-"
    if row.mail_from is None and not row.rcpt_to and row.phase in ("connect", "ehlo", "mail"):
        return f"client {visible(row.client_ip)}"
    to = visible(row.rcpt_to[0]) if row.rcpt_to else "nobody"
    more = f" +{len(row.rcpt_to) - 1}" if len(row.rcpt_to) > 1 else ""
    return f"{visible(row.mail_from or '<>')} {mark('→')} {to}{more}"


def what(row: HistoryRow) -> str:
    """The subject of what was accepted; of anything else the reply, and the filter or rule that gave it."""
    if row.detail == ERASED:
        return f"{size_text(row.size)}, erased"
    if row.outcome == "accepted":
        return visible(row.subject) or "(no subject)"
    ended = visible(row.reply) or f"ended at {row.phase}"
    return f"{ended} ({visible(row.by)})" if row.by else ended
