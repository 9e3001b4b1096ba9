"""The HTTP client against real sockets on loopback: dead, slow, endless and hostile receivers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from acting import Handler, listening
from aiohttp.abc import AbstractResolver, ResolveResult

from actions.http_port import REPLY_OCTETS
from gatepost import http_client
from gatepost.http_client import AiohttpClient
from mail.errors import Permanent, Temporary
from mail.octets import PIECE_OCTETS
from tests.elsewhere import Elsewhere


@asynccontextmanager
async def receiver(handler: Handler) -> AsyncIterator[str]:
    async with listening(handler) as port:
        yield f"http://127.0.0.1:{port}"


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return head, await reader.readexactly(length)


@pytest.fixture
async def client() -> AsyncIterator[AiohttpClient]:
    made = AiohttpClient()
    yield made
    await made.close()


class Names(AbstractResolver):
    """A DNS that answers every name with the same addresses, as an attacker's would."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        return


async def test_request_arrives_as_it_was_given_and_the_reply_comes_back(client: AiohttpClient) -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nlate")
        await writer.drain()

    async with receiver(answer) as url:
        reply = await client.post(f"{url}/in?x=1", {"webhook-id": "m/0/a/0"}, b"body", 5)
    head, body = seen[0]
    assert head.startswith(b"POST /in?x=1 HTTP/1.1\r\n")
    assert b"webhook-id: m/0/a/0\r\n" in head
    assert body == b"body"
    assert (reply.status, reply.headers["retry-after"], reply.body) == (503, "7", b"late")


async def test_a_body_that_stands_elsewhere_is_sent_in_pieces_under_its_length(client: AiohttpClient) -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    body = Elsewhere(bytes(range(256)) * 10_000)
    async with receiver(answer) as url:
        for headers in ({"x": "y"}, [("x", "y"), ("x", "z")]):
            assert (await client.post(url, headers, body, 5)).status == 200
    for head, sent in seen:
        assert b"x: y\r\n" in head
        assert b"transfer-encoding" not in head.lower()
        assert sent == bytes(range(256)) * 10_000
    assert body.most <= PIECE_OCTETS


async def test_redirect_is_returned_and_not_followed(client: AiohttpClient) -> None:
    calls = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        await read_request(reader)
        writer.write(b"HTTP/1.1 307 Moved\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")

    async with receiver(answer) as url:
        assert (await client.post(url, {}, b"", 5)).status == 307
    assert calls == 1


async def test_endless_reply_is_read_up_to_its_limit(client: AiohttpClient) -> None:
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
        try:
            for _ in range(305):
                writer.write(b"x" * 65536)
                await writer.drain()
        finally:
            gone.set()

    async with receiver(answer) as url:
        reply = await client.post(url, {}, b"", 5)
        await gone.wait()
    assert len(reply.body) == REPLY_OCTETS


async def test_compressed_reply_is_not_unpacked(client: AiohttpClient) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbomb")

    async with receiver(answer) as url:
        assert (await client.post(url, {}, b"", 5)).body == b"bomb"


async def test_dribbling_reply_is_cut_off_by_the_whole_time(client: AiohttpClient) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with receiver(answer) as url:
        with pytest.raises(Temporary, match=r"no complete reply within 0\.1 s"):
            await client.post(url, {}, b"", 0.1)


@pytest.mark.parametrize("garbage", [b"", b"SSH-2.0-hello\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"])
async def test_receiver_that_speaks_no_http_is_temporary(client: AiohttpClient, garbage: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(garbage)

    async with receiver(answer) as url:
        with pytest.raises(Temporary, match="." if garbage else "^the connection ended before there was a reply$"):
            await client.post(url, {}, b"", 5)


async def test_a_name_without_an_address_is_named() -> None:
    client = AiohttpClient(private_hosts=("nothing.invalid",))
    try:
        with pytest.raises(Temporary, match=r"^nothing\.invalid cannot be resolved: "):
            await client.post("http://nothing.invalid/", {}, b"", 5)
    finally:
        await client.close()


async def test_refused_connection_is_temporary(client: AiohttpClient) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Temporary, match=r"^127\.0\.0\.1:\d+ cannot be reached: Connection refused$"):
            await client.post(f"http://127.0.0.1:{taken.getsockname()[1]}/", {}, b"", 5)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
        "http://2852039166/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://①⑥⑨.254.169.254/",
        "http://169。254。169。254/",
        "http://user@169.254.169.254/",
        "http://hooks.example\\@169.254.169.254/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "http://",
        "http://[::1",
        "hooks.example",
    ],
)
async def test_url_that_may_not_be_reached_is_refused_for_good(client: AiohttpClient, url: str) -> None:
    with pytest.raises(Permanent):
        await client.post(url, {}, b"", 5)


async def test_public_name_that_leads_inside_is_refused_on_the_connected_address() -> None:
    called = False

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal called
        called = True

    async with receiver(answer) as url:
        client = AiohttpClient(resolver=Names("127.0.0.1"))
        with pytest.raises(Permanent, match=r"webhook\.private_hosts"):
            await client.post(url.replace("127.0.0.1", "rebinding.attacker.example"), {}, b"", 5)
        await client.close()
    assert not called


async def test_refused_addresses_of_a_name_are_left_out_and_the_others_used() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with receiver(answer) as url:
        client = AiohttpClient(resolver=Names("169.254.169.254", "127.0.0.1"))
        assert (await client.post(url.replace("127.0.0.1", "hooks.internal"), {}, b"", 5)).status == 204
        await client.close()


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "0.0.0.0", "2852039166", "metadata.google.internal"])
def test_no_socket_is_made_for_what_is_never_reached(address: str) -> None:
    """Whatever a URL was taken for before: this is what is connected to."""
    with pytest.raises(Permanent):
        http_client._socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80)))


async def test_a_name_that_leads_elsewhere_the_second_time_is_judged_again() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    names = Names("127.0.0.1")
    async with receiver(answer) as url:
        client = AiohttpClient(resolver=names, private_hosts=("rebinding.example",))
        named = url.replace("127.0.0.1", "rebinding.example")
        assert (await client.post(named, {}, b"", 5)).status == 204
        names.addresses = ("169.254.169.254",)
        with pytest.raises(Permanent, match="metadata"):
            await client.post(named, {}, b"", 5)
        await client.close()


@pytest.mark.parametrize(
    "headers", [{"x-key": "a\r\nx-evil: b"}, {"x-key\r\nx-evil": "b"}, {"x-key": "a\nb"}, {"x key": "\0"}]
)
async def test_a_field_that_would_be_two_is_never_sent(client: AiohttpClient, headers: dict[str, str]) -> None:
    """From the environment: a rule file holds none."""
    got: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(65536))

    async with receiver(answer) as url:
        with pytest.raises(Permanent, match="header field"):
            await client.post(url, headers, b"", 5)
    assert not any(b"evil" in each for each in got)
