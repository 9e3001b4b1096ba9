"""HTTP for actions, over aiohttp: one POST, nothing followed, nothing unpacked, every connected address judged first.

*Trust.* A reply is read up to its limit and its connection is then closed, however much more it would send; names are resolved
here and the judged addresses are the ones connected to, so an answer that changes in between changes nothing.
*Failure.* `Temporary` when no reply came in time; `Permanent` for a URL that is none or a target that is refused.
"""

import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from actions.http_port import REPLY_OCTETS, HttpReply
from actions.http_targets import PRIVATE_HOSTS, refusal
from mail.errors import Permanent, Temporary
from mail.octets import Octets
from verdicts.daemon import in_pieces

_MOST_URLS = 1024
_timeout = lru_cache(maxsize=16)(lambda seconds: aiohttp.ClientTimeout(total=seconds))


class _JudgingResolver(AbstractResolver):
    """A resolver whose answers hold no address that may not be connected to."""

    def __init__(self, resolver: AbstractResolver, private_hosts: tuple[str, ...]) -> None:
        self._resolver = resolver
        self._private_hosts = private_hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        reasons = {result["host"]: refusal(result["host"], host, self._private_hosts) for result in results}
        allowed = [result for result in results if reasons[result["host"]] is None]
        if results and not allowed:
            raise Permanent(next(reason for reason in reasons.values() if reason))
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


class AiohttpClient:
    """`actions.http_port.HttpClient`. Made anywhere, used in one event loop, closed at the end.

    `ssl_context` None is aiohttp's default: certificates are verified. `resolver` None is the system's. `reply_octets` is how much
    of a reply is read.
    """

    def __init__(
        self,
        *,
        private_hosts: Iterable[str] = PRIVATE_HOSTS,
        ssl_context: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        reply_octets: int = REPLY_OCTETS,
    ) -> None:
        self._reply_octets = reply_octets
        self._private_hosts = tuple(private_hosts)
        self._ssl_context = ssl_context
        self._resolver = resolver
        self._looked_at: set[str] = set()  # and not refused, which depends on the URL alone
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, url: str, headers: Mapping[str, str] | Sequence[tuple[str, str]], body: Octets, timeout_seconds: float
    ) -> HttpReply:
        """`HttpClient.post`; a sequence of headers may name one several times."""
        if url not in self._looked_at:
            self._refuse_literal(url)
            if len(self._looked_at) >= _MOST_URLS:
                self._looked_at.clear()
            self._looked_at.add(url)
        timeout = _timeout(timeout_seconds)
        data: bytes | AsyncIterator[bytes]
        if isinstance(body, bytes):
            data = body
        else:
            pairs = headers.items() if isinstance(headers, Mapping) else headers
            data, headers = in_pieces(body), [*pairs, ("Content-Length", str(len(body)))]
        try:
            async with self._open_session().post(
                url, data=data, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                return HttpReply(
                    status=response.status,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=await _beginning(response, self._reply_octets),
                )
        except aiohttp.InvalidURL:
            raise Permanent("not a URL") from None
        except ValueError:
            # aiohttp says it of a control character in a name or value; only the environment can have brought it.
            raise Permanent("a header field holds a line break or another control character") from None
        except TimeoutError:
            raise Temporary(f"no complete reply within {timeout_seconds:g} s") from None
        except aiohttp.ClientError as error:
            raise Temporary(_said(error)) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _refuse_literal(self, url: str) -> None:
        """An address in the URL itself is never asked of the resolver.

        Only ASCII: aiohttp folds other digits and dots into those of an address, after this has looked (UTS #46).
        """
        if not url.isascii():
            raise Permanent("not an ASCII URL: write the host as xn--…")
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            raise Permanent("not a URL") from None
        if parts.scheme not in ("http", "https") or not host:
            raise Permanent("not an http or https URL")
        try:
            reason = refusal(host, host, self._private_hosts)
        except ValueError:
            return  # a name
        if reason is not None:
            raise Permanent(reason)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = _JudgingResolver(self._resolver or aiohttp.ThreadedResolver(), self._private_hosts)
            connector = aiohttp.TCPConnector(
                resolver=resolver,
                limit=0,
                use_dns_cache=False,
                ssl=self._ssl_context or True,
                socket_factory=_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # 64 KiB that unpack to gigabytes
                headers={"User-Agent": "gatepost", "Accept-Encoding": "identity"},
            )
        return self._session


def _said(error: aiohttp.ClientError) -> str:
    """What an operator can act upon, where the library tells of its own objects."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"the certificate of {error.host} does not verify: {error.certificate_error}"
        case aiohttp.ClientConnectorDNSError():
            return f"{error.host} cannot be resolved: {error.os_error.strerror}"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno or 0
            why = os.strerror(number) if number > 0 else str(error.os_error)
            return f"{error.host}:{error.port} cannot be reached: {why}"
        case aiohttp.ServerDisconnectedError():
            return "the connection ended before there was a reply"
        case _:
            return f"{type(error).__name__}: {error}"


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for one address: the last place where what is never reached is refused, however its URL was written."""
    family, kind, protocol, _, place = address
    try:
        reason = refusal(place[0], place[0])
    except ValueError:
        reason = "not an address"
    if reason is not None:
        raise Permanent(reason)
    return socket.socket(family, kind, protocol)


async def _beginning(response: aiohttp.ClientResponse, most: int) -> bytes:
    chunks: list[bytes] = []
    octets = 0
    if response.content.at_eof():
        return b""
    async for chunk in response.content.iter_chunked(16384):
        chunks.append(chunk[: most - octets])
        octets += len(chunk)
        if octets >= most:
            # An unread rest would otherwise be read to keep the connection.
            response.close()
            break
    return b"".join(chunks)
