"""Functions in their container images: what the Runtime Interface Emulator answers, and what that means for the step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from acting import ID, context_of
from function_server import Reply, Server, function_server

from actions.function_host import FunctionFailed, FunctionHost, FunctionSettings
from actions.invoke_function import InvokeFunction, aws_context
from actions.runtime_interface import RuntimeInterface
from gatepost.http_client import AiohttpClient
from mail.errors import Permanent, Temporary
from mail.outcome import Control, Outcome, Result

PATH = "/2015-03-31/functions/function/invocations"


@pytest.fixture
def server() -> Iterator[Server]:
    with function_server() as made:
        yield made


@pytest.fixture
async def action() -> AsyncIterator[InvokeFunction]:
    http = AiohttpClient()
    containers = RuntimeInterface(http, timeout_seconds=0.5)
    yield InvokeFunction(FunctionHost(FunctionSettings(path=(Path(),))), elsewhere={"http": containers})
    await http.close()


async def invoked(action: InvokeFunction, url: str, kind: str = "RequestResponse", **more: Any) -> Outcome:
    return await action.run(context_of("lambda", {"function_arn": url + PATH, "invocation_type": kind, **more}))


async def test_event_is_posted_as_an_aws_client_posts_it(action: InvokeFunction, server: Server) -> None:
    server.reply = Reply(body={"disposition": "STOP_RULE"})
    outcome = await invoked(action, server.url)
    assert (outcome.result, outcome.control) == (Result.DONE, Control.STOP_RULE)
    ((path, headers, _),) = server.seen
    assert (path, headers["x-amz-invocation-type"], headers["content-type"]) == (
        PATH,
        "RequestResponse",
        "application/json",
    )
    ses = server.events[0]["Records"][0]["ses"]
    assert ses["mail"]["messageId"] == ID
    assert ses["receipt"]["action"] == {
        "type": "Lambda",
        "functionArn": server.url + PATH,
        "invocationType": "RequestResponse",
    }


async def test_mapped_function_sees_its_own_arn(action: InvokeFunction, server: Server) -> None:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:In"
    await invoked(action, server.url, arn=arn)
    assert server.events[0]["Records"][0]["ses"]["receipt"]["action"]["functionArn"] == arn


async def test_mapped_function_has_the_name_of_its_arn() -> None:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:In:PROD"
    told = aws_context(context_of("lambda", {}), arn, "handler", 2**20)
    assert (told["function_name"], told["invoked_function_arn"]) == ("In", arn)
    assert aws_context(context_of("lambda", {}), "python:m:handler", "handler", 2**20)["function_name"] == "handler"


async def test_result_of_an_event_call_decides_nothing(action: InvokeFunction, server: Server) -> None:
    server.reply = Reply(body={"disposition": "STOP_RULE_SET"})
    assert (await invoked(action, server.url, "Event")).control is Control.CONTINUE
    assert server.seen[0][1]["x-amz-invocation-type"] == "Event"


@pytest.mark.parametrize("body", [b"", b"null", b" \n", b'"STOP_RULE"', b"[]", b'{"errorMessage": "mine"}'])
async def test_any_other_answer_goes_on(action: InvokeFunction, server: Server, body: bytes) -> None:
    server.reply = Reply(body=body)
    assert (await invoked(action, server.url)).control is Control.CONTINUE


@pytest.mark.parametrize("kind", ["Event", "RequestResponse"])
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            Reply(body={"errorMessage": "no such key", "errorType": "KeyError", "stackTrace": []}),
            "KeyError: no such key",
        ),
        (Reply(body=b"Task timed out after 3.00 seconds"), r"Task timed out after 3\.00 seconds"),
        (Reply(body={}, headers={"X-Amz-Function-Error": "Unhandled"}), "Unhandled: no reason given"),
        (Reply(body=b"[" * 100_000), r"\[\["),
        (Reply(body=b"\xff\x1b[2J"), "�"),
    ],
)
async def test_error_of_a_function_is_seen_behind_its_200(
    action: InvokeFunction, server: Server, kind: str, reply: Reply, said: str
) -> None:
    server.reply = reply
    with pytest.raises(FunctionFailed, match=said) as caught:
        await invoked(action, server.url, kind)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("status", "error"), [(400, Temporary), (429, Temporary), (500, Temporary), (502, Temporary), (504, Temporary)]
)
async def test_container_that_is_busy_or_broken_is_called_again(
    action: InvokeFunction, server: Server, status: int, error: type[Exception]
) -> None:
    server.reply = Reply(status=status, body=b"no")
    with pytest.raises(error, match=f"HTTP {status}: no"):
        await invoked(action, server.url)


@pytest.mark.parametrize("status", [404, 405, 413])
async def test_no_function_behind_the_url_is_final(action: InvokeFunction, server: Server, status: int) -> None:
    server.reply = Reply(status=status)
    with pytest.raises(Permanent, match=f"HTTP {status}"):
        await invoked(action, server.url)


async def test_container_that_is_not_there_yet_is_called_again(action: InvokeFunction) -> None:
    with pytest.raises(Temporary):
        await invoked(action, "http://127.0.0.1:1")


async def test_function_that_hangs_is_given_up_at_the_limit(action: InvokeFunction, server: Server) -> None:
    release = threading.Event()
    server.reply = Reply(wait=release)
    try:
        with pytest.raises(Temporary, match=r"within 0\.5 s"):
            await invoked(action, server.url)
    finally:
        release.set()


async def test_emulator_gets_one_call_at_a_time(action: InvokeFunction, server: Server) -> None:
    await asyncio.gather(*(invoked(action, server.url) for _ in range(5)))
    assert len(server.seen) == 5
    assert server.most_at_once == 1


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"])
async def test_metadata_address_is_refused_for_good(action: InvokeFunction, host: str) -> None:
    with pytest.raises(Permanent, match="always refused"):
        await invoked(action, f"http://{host}:9000")
