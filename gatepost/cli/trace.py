"""`gatepost trace`: what is said in sessions while it is said."""

import asyncio
import contextlib
import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gatepost.cli.common import config_options, fail, json_option, print_json, settings_of
from gatepost.cli.exits import FAILED, USAGE
from gatepost.cli.layout import faint, mark, visible
from gatepost.cli.lookup import Span
from gatepost.control import SOCKET
from spool.control import NoServer, ask

VISIT_SECONDS = 0.3
_EARLY_SECONDS = 1.0  # a process that forgets a trace so much before its time is a new one
_SIGNS = {"<": ("←", "cyan"), ">": ("→", "green"), "-": ("·", "bright_black")}

Asked = Callable[[dict[str, Any]], Awaitable[list[dict[str, Any]]]]


@click.command()
@click.option("--ip", default="", metavar="IP|CIDR", help="Only sessions of this client or network.")
@click.option("--to", default="", help="Only sessions in which a RCPT names this part of a recipient.")
@click.option("--live", is_flag=True, help="Print each line when it is said, and not each session when it is over.")
@click.option("--sessions", type=click.IntRange(1, 100), default=20, show_default=True, help="End after so many.")
@click.option("--for", "seconds", type=Span(), default="5m", show_default=True, help="End after so long; 1h at most.")
@json_option
@config_options
def command(
    ip: str,
    to: str,
    live: bool,
    sessions: int,
    seconds: float,
    as_json: bool,
    config: Path | None,
    data: Path | None,
) -> None:
    """Show the dialogue of sessions that begin from now on: commands as they came, replies as they went.

    Message content is not shown, only how much of it came, and neither is what may be a secret. Ctrl-C ends it.
    """
    _check(ip, seconds)
    directory = settings_of(config, data).data
    request = {"id": secrets.token_hex(8), "ip": ip, "to": to, "sessions": sessions, "seconds": int(seconds)}
    screen = Screen(as_json=as_json, live=live or as_json, most=sessions)

    async def asked(what: dict[str, Any]) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = await ask(directory / SOCKET, what)
        return answer

    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(follow(asked, request, screen))
    except NoServer:
        raise fail(f"not running: no server listens in {visible(str(directory))}", FAILED) from None
    finally:
        screen.end()


def _check(ip: str, seconds: float) -> None:
    if ip:
        try:
            ipaddress.ip_network(ip, strict=False)
        except ValueError:
            raise fail(f"--ip {visible(ip)} is neither an address nor a network, as in 192.0.2.0/24", USAGE) from None
    if not 1 <= seconds <= 3600:
        raise fail("--for is 1s at least and 1h at most", USAGE)


async def follow(asked: Asked, request: dict[str, Any], screen: "Screen", *, pause: float = VISIT_SECONDS) -> None:
    """Begin, come for the lines until all is over, and end: every process that takes mail is asked."""
    await asked({"operation": "trace", **request})
    screen.begun()
    soon_over = time.monotonic() + request["seconds"] - _EARLY_SECONDS
    try:
        while True:
            answers = await asked({"operation": "traced", "id": request["id"]})
            screen.show(answers)
            if time.monotonic() < soon_over and any(answer["is_over"] for answer in answers):
                screen.lost()
            if screen.has_enough or all(answer["is_over"] for answer in answers):
                return
            await asyncio.sleep(pause)
    finally:
        screen.show(await asked({"operation": "traced", "id": request["id"], "end": True}))


class Screen:
    """Lines of several processes, each session with a colourless number of its own."""

    def __init__(self, *, as_json: bool, live: bool, most: int) -> None:
        self._as_json, self._live, self._most = as_json, live, most
        self._sessions: dict[str, list[dict[str, Any]]] = {}
        self._over: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._left_out = 0
        self._has_lost = False

    @property
    def has_enough(self) -> bool:
        """As many sessions as were asked for are over."""
        return len(self._over) >= self._most

    def begun(self) -> None:
        click.echo(faint("tracing sessions that begin from now on; Ctrl-C ends it"), err=True)

    def lost(self) -> None:
        """Once: a transcript that lacks sessions must not look like a quiet server."""
        if not self._has_lost:
            self._has_lost = True
            click.echo(
                "a worker was started again, and is not traced any more: begin anew to see its sessions", err=True
            )

    def show(self, answers: Iterable[dict[str, Any]]) -> None:
        """In the order in which it was said; a session at once where it is not live, when it is over."""
        lines = [line for answer in answers for line in answer["lines"]]
        self._left_out += sum(answer["left_out"] for answer in answers)
        for line in sorted(lines, key=lambda each: each["at"]):
            self._take(line)

    def end(self) -> None:
        """What is still held back, and how much is missing."""
        for session in tuple(self._sessions):
            self._print(self._sessions.pop(session))
        if self._left_out:
            click.echo(f"{self._left_out:,} lines were left out: too many at once", err=True)

    def _take(self, line: dict[str, Any]) -> None:
        session = line["session"]
        self._numbers.setdefault(session, len(self._numbers) + 1)
        is_last = line["direction"] == "-" and line["text"] == "the session is over"
        if is_last:
            self._over.add(session)
        if self._live:
            self._print([line])
            return
        self._sessions.setdefault(session, []).append(line)
        if is_last:
            self._print(self._sessions.pop(session))

    def _print(self, lines: Iterable[dict[str, Any]]) -> None:
        for line in lines:
            if self._as_json:
                print_json(line)
            else:
                click.echo(line_text(line, self._numbers[line["session"]]))


def line_text(line: dict[str, Any], number: int) -> str:
    """`12:00:41.250  1 192.0.2.1  ← EHLO mail.example`."""
    at = datetime.fromtimestamp(line["at"], UTC)
    sign, colour = _SIGNS[line["direction"]]
    clock = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
    text = visible(line["text"])
    shown = faint(text) if line["direction"] == "-" else text
    return f"{faint(clock)} {number:>2} {visible(line['ip'])}  {click.style(mark(sign), fg=colour)} {shown}"
