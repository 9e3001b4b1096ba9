"""The control socket: one request, one answer, and whose error it was."""

import asyncio
import json
from contextlib import suppress

import pytest

from mail.errors import Malformed, Permanent, Temporary
from spool.control import LINE_OCTETS, NoServer, ask, open_control, serve_control
from spool.ports import Locked, NotFound


async def handler(request):
    match request.get("do"):
        case "echo":
            return request
        case "lose":
            raise NotFound("no such job")
        case "refuse":
            raise Malformed("no such word")
    raise RuntimeError("secret detail")


@pytest.fixture
async def path(tmp_path):
    server = await serve_control(open_control(tmp_path / "control.sock"), handler)
    yield tmp_path / "control.sock"
    server.close()


async def test_a_request_is_answered(path):
    assert await ask(path, {"do": "echo", "ids": [1, 2], "word": "\u00e4\n"}) == {
        "do": "echo",
        "ids": [1, 2],
        "word": "\u00e4\n",
    }


async def test_only_the_owner_may_open_it(path):
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("word", "error", "text"), [("lose", NotFound, "no such job"), ("refuse", Malformed, "no such word")]
)
async def test_an_error_of_the_family_comes_back_as_it_is(path, word, error, text):
    with pytest.raises(error, match=text):
        await ask(path, {"do": word})


async def test_any_other_error_is_answered_without_detail(path, caplog):
    with pytest.raises(Temporary) as caught:
        await ask(path, {"do": "crash"})
    assert "secret" not in str(caught.value)
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    "line", [b"{\n", b"[1]\n", b"\xff\xfe\n", b"null\n", b"[" * 500_000 + b"\n", b'{"a":' * 100_000 + b"\n"]
)
async def test_what_is_no_request_is_malformed_and_the_next_one_is_answered(path, line):
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line + b'{"do": "echo"}\n')
    assert json.loads(await reader.readline())["kind"] == "Malformed"
    assert json.loads(await reader.readline()) == {"ok": {"do": "echo"}}
    writer.close()


async def test_a_line_without_end_is_cut_off(path):
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x" * (2 * LINE_OCTETS + 10))
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    assert await ask(path, {"do": "echo"}) == {"do": "echo"}


async def test_without_a_server_nobody_answers(tmp_path):
    with pytest.raises(NoServer):
        await ask(tmp_path / "control.sock", {})


async def test_a_dead_servers_socket_is_replaced_and_a_live_ones_is_not(tmp_path, path):
    with pytest.raises(Locked):
        await serve_control(open_control(path), handler)
    dead = tmp_path / "dead.sock"
    server = await serve_control(open_control(dead), handler)
    server.close()
    with pytest.raises(NoServer):
        await ask(dead, {})
    again = await serve_control(open_control(dead), handler)
    assert await ask(dead, {"do": "echo"}) == {"do": "echo"}
    again.close()


async def test_a_path_too_long_for_a_socket_is_said_plainly(tmp_path):
    with pytest.raises(Permanent, match="too long"):
        await serve_control(open_control(tmp_path / ("x" * 120)), handler)
