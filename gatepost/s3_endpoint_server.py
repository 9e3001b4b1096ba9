"""The S3 endpoint of this process's functions: a listener on loopback, and the access keys that are good there (semantics.md §9).

It listens on a port of 127.0.0.1 that the system chooses, from the first function process on. Each such process has an access key
of its own, which reads what is lent to it while a call runs, and nothing between calls.

*Trust.* Anybody on this machine may connect; who has no access key gets S3's errors. A request has at most 64 KiB, its header
8 KiB a line.
*Failure.* A store that fails is ServiceUnavailable, a fault of ours InternalError; both are logged, functions see no detail.
"""

import asyncio
import base64
import contextlib
import logging
import secrets
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from aiohttp import web

from actions.object_access import Credentials
from actions.reach import Reach
from gatepost.s3_endpoint import Lease, Objects, S3Reader
from gatepost.s3_endpoint_answers import Answer, Refused, error_answer
from gatepost.s3_endpoint_signature import Secret, Signed
from mail.errors import GatepostError, Temporary

log = logging.getLogger("gatepost.functions")
_REQUEST_OCTETS = 64 * 1024
_AT_ONCE = 8  # answers in memory
_HANDLER_CANCELLED_AFTER_SECONDS = 1.0


class S3Endpoint:
    """`actions.object_access.ObjectAccess`. Made anywhere, used in one event loop."""

    def __init__(self, objects: Objects, clock: Callable[[], datetime], region: str) -> None:
        self._leases: dict[str, Lease] = {}
        self._reader = S3Reader(objects, self._leases, clock)
        self._region = region
        self._runner: web.AppRunner | None = None
        self._starting = asyncio.Lock()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._url = ""

    async def issue(self) -> Credentials:
        await self._start()
        key_id = "ASIA" + base64.b32encode(secrets.token_bytes(10)).decode("ascii")
        secret = Secret(secret=secrets.token_urlsafe(30), token=secrets.token_urlsafe(48))
        self._leases[key_id] = Lease(secret=secret)
        environment = {
            "AWS_ENDPOINT_URL_S3": self._url,
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_ACCESS_KEY_ID": key_id,
            "AWS_SECRET_ACCESS_KEY": secret.secret,
            "AWS_SESSION_TOKEN": secret.token,
        }
        return Credentials(key_id=key_id, environment=environment)

    def lend(self, key_id: str, reach: Reach | None) -> None:
        lease = self._leases.get(key_id)
        if lease is not None:  # None: the endpoint closed while a call was being cancelled
            self._leases[key_id] = replace(lease, reach=reach)

    def revoke(self, key_id: str) -> None:
        self._leases.pop(key_id, None)

    async def close(self) -> None:
        self._leases.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _start(self) -> None:
        async with self._starting:
            if self._runner is not None:
                return
            application = web.Application(client_max_size=_REQUEST_OCTETS)
            application.router.add_route("*", "/{rest:.*}", self._handle)
            runner = web.AppRunner(
                application, access_log=None, keepalive_timeout=15, shutdown_timeout=_HANDLER_CANCELLED_AFTER_SECONDS
            )
            bound = socket.socket()
            try:
                bound.bind(("127.0.0.1", 0))
                await runner.setup()
                await web.SockSite(runner, bound).start()
            except OSError as error:
                bound.close()
                await runner.cleanup()
                raise Temporary(f"the S3 endpoint of functions cannot listen: {error.strerror or error}") from None
            self._runner = runner
            self._url = f"http://127.0.0.1:{bound.getsockname()[1]}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        request_id = secrets.token_hex(8).upper()
        try:
            signed = await _signed(request)
        except Refused as refused:
            return _response(error_answer(refused, _resource(request), request_id), request_id)
        # Until it is sent an answer is in memory, and may be a whole message.
        async with self._turns:
            try:
                answer = await self._reader.answer(signed)
            except Exception as error:
                # The edge: every error in S3's words, the last row for those of our own making.
                answer = error_answer(_refusal(error, request), _resource(request), request_id)
            response = _response(answer, request_id)
            # Whoever went away in the middle gets no more of it; aiohttp ends the connection.
            with contextlib.suppress(ConnectionError):
                await response.prepare(request)
                await response.write_eof()
        return response


def _response(answer: Answer, request_id: str) -> web.Response:
    headers = {"server": "gatepost", "x-amz-request-id": request_id, **answer.headers}
    return web.Response(status=answer.status, headers=headers, body=answer.body or None)


def _resource(request: web.Request) -> str:
    return request.raw_path.partition("?")[0]


def _refusal(error: Exception, request: web.Request) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, GatepostError):
        log.warning("a function could not read %r: %s", request.raw_path, error)
        if isinstance(error, Temporary):
            return Refused("ServiceUnavailable", "Reduce your request rate.")
        return Refused("AccessDenied", "The object cannot be opened.")
    log.error("a function's request %r failed", request.raw_path, exc_info=error)
    return Refused("InternalError", "We encountered an internal error. Please try again.")


async def _signed(request: web.Request) -> Signed:
    path, _, query = request.raw_path.partition("?")
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refused("EntityTooLarge", "Objects are only read here.") from None
    return Signed(method=request.method, path=path, query=query, headers=_joined(request.headers.items()), body=body)


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        joined[lower] = f"{joined[lower]},{value}" if lower in joined else value
    return joined
