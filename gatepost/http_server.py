"""Gatepost's own HTTP listeners, over aiohttp: one for subscribers and webhook receivers, one for those who watch over us.

`GET /SimpleNotificationService-….pem` is the signing certificate, `/?Action=…` SNS's API for subscribers, `/attachments/…` and
`/messages/…` signed content. Our name in URLs comes from the settings, never from a request. The second listener has addresses
of its own (`metrics.listen`), so that what it tells is never on the public one.

*Trust.* Anybody may connect to the first; a request has at most 64 KiB, its header 8 KiB a line.
*Failure.* 503 where the store fails, 500 without detail for a fault of ours; both are logged.
"""

import logging
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import parse_qsl

from aiohttp import web

from gatepost.http_content import ContentServer, Served
from gatepost.http_topics import TopicApi
from gatepost.sns_signer import SnsSigner
from mail.errors import Temporary

log = logging.getLogger("gatepost.http")
REQUEST_OCTETS = 64 * 1024
_MOST_PARAMETERS = 100
_HANDLER_CANCELLED_AFTER_SECONDS = 5.0


class _Server(ABC):
    """One listener on any number of bound sockets; `start` takes them over, `close` ends them."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        application = web.Application(client_max_size=REQUEST_OCTETS)
        application.router.add_route("*", "/{rest:.*}", self._handle)
        self._runner = web.AppRunner(
            application, access_log=None, keepalive_timeout=15, shutdown_timeout=_HANDLER_CANCELLED_AFTER_SECONDS
        )
        await self._runner.setup()
        for each in sockets:
            await web.SockSite(self._runner, each).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            served = await self._served(request)
        except Temporary as error:
            log.warning("503 to %s: %s", request.remote, error)
            served = Served(status=503)
        headers = {"server": "gatepost", **served.headers}
        return web.Response(status=served.status, body=served.body, headers=headers)

    @abstractmethod
    async def _served(self, request: web.Request) -> Served:
        """The answer. `Temporary` is answered 503."""


class HttpServer(_Server):
    """The public one."""

    def __init__(self, signer: SnsSigner, topics: TopicApi, content: ContentServer) -> None:
        super().__init__()
        self._signer, self._topics, self._content = signer, topics, content

    async def _served(self, request: web.Request) -> Served:
        path = request.rel_url.raw_path
        if request.method not in ("GET", "HEAD", "POST"):
            return Served(status=405, headers={"allow": "GET, HEAD, POST"})
        if path == "/":
            parameters = await _parameters(request)
            if parameters is None:
                return Served(status=400)
            answer = await self._topics.answer(parameters)
            return Served(status=answer.status, body=answer.body, headers={"content-type": "text/xml"})
        if request.method == "POST":
            return Served(status=404)
        if path.endswith(".pem"):
            certificate = await self._signer.served(path.removeprefix("/"))
            kind = {"content-type": "application/x-pem-file"}
            return Served(status=404) if certificate is None else Served(status=200, body=certificate, headers=kind)
        return await self._content.get(path, dict(request.query))


class WatchServer(_Server):
    """The operator's: a page for each path, made when it is asked for."""

    def __init__(self, pages: Mapping[str, Callable[[], Awaitable[Served]]]) -> None:
        super().__init__()
        self._pages = pages

    async def _served(self, request: web.Request) -> Served:
        if request.method not in ("GET", "HEAD"):
            return Served(status=405, headers={"allow": "GET, HEAD"})
        page = self._pages.get(request.rel_url.raw_path)
        return Served(status=404) if page is None else await page()


async def _parameters(request: web.Request) -> dict[str, str] | None:
    """Of the query, or of the form that an SDK posts; the first of a name that is given twice. None where they are too many."""
    body = (await request.read()).decode("utf-8", "replace") if request.method == "POST" else ""
    try:
        pairs = parse_qsl(request.query_string, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
        pairs += parse_qsl(body, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        return None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        parameters.setdefault(name, value)
    return parameters
