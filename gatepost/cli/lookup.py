"""Which message is meant: by its id, the beginning of one, or the SMTP session it came in; and times as people write them."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from gatepost.cli.common import Exit, fail, settings_of
from gatepost.cli.exits import USAGE
from gatepost.cli.layout import visible
from mail.errors import Malformed
from mail.ids import is_message_id, received_at_of
from spool.ports import HistoryQuery, HistoryRow, MessageState
from spool.reader import SpoolReader, open_reader

SHORTEST_PREFIX = 6
PAGE = 2000
AROUND = timedelta(minutes=1)  # an id is made at most this long before or after its transaction's time
_PREFIX = re.compile(r"[0-9a-v]{6,40}\Z")
_SPAN = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|min|h|d|w)\Z")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}

Found = tuple[HistoryRow, MessageState | None]


def state_directory(config: Path | None, data: Path | None) -> Path:
    """Where the spool stands, or the end of the program if there is none."""
    directory = settings_of(config, data).data
    if not (directory / "shards").is_dir():
        raise fail(
            f"there is no state in {visible(str(directory))}: no server has kept anything there; --data DIR names another",
            USAGE,
        )
    return directory


def reader_of(config: Path | None, data: Path | None) -> SpoolReader:
    return open_reader(state_directory(config, data))


async def transactions(reader: SpoolReader, text: str) -> list[Found]:
    """The one transaction with this id or beginning of an id, or all of one session, newest first. Ends the program otherwise."""
    wanted = text.strip().lower()
    if len(wanted) < SHORTEST_PREFIX:
        raise fail(f"{visible(text)} is too short: an id, or at least {SHORTEST_PREFIX} characters of it", USAGE)
    found = await _by_id(reader, wanted)
    if not found:
        found = await _by_session(reader, wanted)
        if not found:
            raise fail(f"there is no message or session {visible(text)}")
        if len({row.session for row, _ in found}) == 1:
            return [each for each in found if each[0].id == wanted] or found
    if len(found) > 1:
        raise ambiguous(text, found)
    return found


def ambiguous(text: str, found: Sequence[Found]) -> Exit:
    listed = "".join(f"\n  {row.id}" for row, _ in found[:5])
    return fail(f"{visible(text)} begins more than one id: {listed.lstrip()}", USAGE)


async def message_id_of(reader: SpoolReader, text: str) -> str:
    """The message that is meant. Ends the program where there is none, or more than one."""
    if is_message_id(text):
        return text
    found = [each for each in await transactions(reader, text) if each[1] is not None]
    if not found:
        raise fail(f"{visible(text)} was refused: there is no message")
    if len(found) > 1:
        raise ambiguous(text, found)
    return found[0][0].id


async def _by_id(reader: SpoolReader, wanted: str) -> list[Found]:
    """Ids begin with their time, so only the transactions of that time are looked at."""
    if not _PREFIX.match(wanted):
        return []
    try:
        since = received_at_of(wanted.ljust(39, "0")[:39] + "1") - AROUND
        until = received_at_of(wanted.ljust(39, "v")[:39] + "1") + AROUND
    except (Malformed, OverflowError):
        return []  # the beginning of a time that no calendar has: it may be a session's
    return await _collect(reader, lambda row: row.id.startswith(wanted), since, until)


async def _by_session(reader: SpoolReader, wanted: str) -> list[Found]:
    return await _collect(reader, lambda row: row.session.startswith(wanted) or row.id == wanted, None, None)


async def _collect(
    reader: SpoolReader, fits: Callable[[HistoryRow], bool], since: datetime | None, until: datetime | None
) -> list[Found]:
    return [found async for found in _pages(reader, since, until) if fits(found[0])]


async def _pages(reader: SpoolReader, since: datetime | None, until: datetime | None) -> AsyncIterator[Found]:
    """Every transaction of a time, newest first, without holding them all."""
    size, seen = PAGE, frozenset[str]()
    while True:
        page = await reader.find(HistoryQuery(since=since, until=until, limit=size))
        for found in page:
            if found[0].id not in seen:
                yield found
        if len(page) < size:
            return
        oldest = page[-1][0].at
        # The next page begins within the last one's final instant, which it may have cut through.
        beyond = oldest + timedelta(microseconds=1)
        size = size * 2 if beyond == until else PAGE
        until, seen = beyond, frozenset(row.id for row, _ in page if row.at == oldest)


def seconds_of(text: str) -> float:
    """`90s`, `30m`, `4h`, `2d`, `1w`, `500ms`. Raises `Malformed`."""
    match = _SPAN.match(text.strip().lower())
    if not match:
        raise Malformed("expected a number with ms, s, m, h, d or w, as in 2h")
    return float(match.group(1)) * _SECONDS[match.group(2)]


def moment_of(text: str, now: datetime) -> datetime:
    """`2h` ago, `2026-01-13`, or `2026-01-13T21:02`; UTC unless it says otherwise. Raises `Malformed`."""
    if _SPAN.match(text.strip().lower()):
        try:
            return now - timedelta(seconds=seconds_of(text))
        except OverflowError:
            raise Malformed("before the beginning of time") from None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Malformed(
            "expected how long ago (30m, 2h, 3d) or a time (2026-01-13, 2026-01-13T21:02, in UTC)"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Span(click.ParamType[float]):
    """A duration option, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return seconds_of(str(value))
        except Malformed as error:
            self.fail(f"{visible(str(value))}: {error}", param, ctx)
