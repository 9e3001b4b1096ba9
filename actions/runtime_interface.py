"""A function in its container image: the Lambda Runtime Interface over HTTP, as the emulator in AWS's base images serves it.

The emulator answers a function's error with 200, knows no invocation type and takes one call at a time: another is refused with
400. So calls of one URL wait for each other here, and an Event call is one whose result is not looked at.

*Trust.* The URL is the rule author's and is judged as a webhook's: no metadata address, private ones only where they are named.
*Failure.* `FunctionFailed` for what the function did; `Temporary` for a container that is not there yet; `Permanent` for a URL that
leads to no function, or to an address that is refused.
"""

import asyncio
from collections import defaultdict

from actions.function_answers import read_answer
from actions.function_host import TIMEOUT_SECONDS, Returned, one_line
from actions.http_port import HttpClient
from mail.errors import Permanent, Temporary

# AWS Lambda: the longest run. What runs in a container goes on there: to call it again earlier would run it twice.
EVENT_SECONDS = 900.0
_NO_FUNCTION = frozenset({404, 405, 413})


class RuntimeInterface:
    """`RemoteFunctions` for `http(s)://HOST:PORT/2015-03-31/functions/NAME/invocations`."""

    def __init__(self, http: HttpClient, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._http = http
        self._timeout_seconds = timeout_seconds
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def invoke(self, target: str, event: bytes, *, synchronous: bool) -> Returned:
        headers = {
            "content-type": "application/json",
            "x-amz-invocation-type": "RequestResponse" if synchronous else "Event",
        }
        seconds = self._timeout_seconds if synchronous else EVENT_SECONDS
        async with self._turns[target]:
            reply = await self._http.post(target, headers, event, seconds)
        if not 200 <= reply.status < 300:
            said = one_line(f"HTTP {reply.status}: {reply.body[:500].decode('utf-8', 'replace')}").rstrip(": ")
            raise (Permanent if reply.status in _NO_FUNCTION else Temporary)(said)
        result = read_answer(reply.body, reply.headers.get("x-amz-function-error"))
        return Returned(result=result if synchronous else None, output="")
