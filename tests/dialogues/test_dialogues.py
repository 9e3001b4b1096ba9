"""Every dialogue file against our server over a real socket, and against the stock class with what it does instead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP

from smtp.config import Limits, SmtpConfig
from smtp.listener import listen
from tests.dialogues.dialogue import Dialogue, load, play
from tests.smtp.recording import CONFIG, Recording

FILES = sorted(Path(__file__).parent.glob("*.txt"))
DIALOGUES = [load(path) for path in FILES]


@asynccontextmanager
async def ours(config: SmtpConfig, session: Recording) -> AsyncIterator[tuple[str, int]]:
    listener = await listen(("127.0.0.1", 0), session.sessions, config)
    try:
        host, _, port = listener.addresses[0].rpartition(":")
        yield host, int(port)
    finally:
        await listener.close()


class StockHandler:
    def __init__(self, fail_in: str) -> None:
        self._fail_in = fail_in

    async def handle_DATA(self, server: SMTP, session: object, envelope: object) -> str:  # noqa: N802
        await asyncio.sleep(0)
        if self._fail_in == "data":
            raise RuntimeError("db password=secret")
        return "250 OK"


@asynccontextmanager
async def stock(fail_in: str, **arguments: object) -> AsyncIterator[tuple[str, int]]:
    loop = asyncio.get_running_loop()
    handler = StockHandler(fail_in)
    server = await loop.create_server(
        lambda: SMTP(handler, hostname="mx.test", loop=loop, **arguments),  # type: ignore[arg-type]
        "127.0.0.1",
        0,
    )
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()


def settings(dialogue: Dialogue) -> tuple[SmtpConfig, str]:
    numbers = {name: int(value) for name, value in dialogue.settings.items() if value.isdigit()}
    return replace(CONFIG, limits=Limits(**numbers)), dialogue.settings.get("fail_in", "")


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.name)
async def test_our_server_holds_the_dialogue(dialogue: Dialogue, caplog: pytest.LogCaptureFixture) -> None:
    session = Recording()
    config, session.fail_in = settings(dialogue)
    async with ours(config, session) as (host, port):
        heard = await play(dialogue.ours, host, port)
    assert not any("secret" in line for line in heard)
    assert "@" not in caplog.text


@pytest.mark.parametrize("dialogue", [one for one in DIALOGUES if one.stock], ids=lambda dialogue: dialogue.name)
async def test_the_stock_class_fails_as_recorded(dialogue: Dialogue) -> None:
    arguments = {"auth_require_tls": False} if "A15" in dialogue.defects else {}
    async with stock(dialogue.settings.get("fail_in", ""), **arguments) as (host, port):
        await play(dialogue.stock, host, port)
    await asyncio.sleep(0)


def test_there_are_dialogues_and_each_expects_something() -> None:
    assert len(DIALOGUES) >= 20
    for dialogue in DIALOGUES:
        assert any(kind.startswith("<") for kind, _ in dialogue.ours), dialogue.name
