"""AWS Lambda through boto3, against a server that answers as its API documents: what each answer means for the step."""

from __future__ import annotations

import base64
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aws_server import without_real_aws

from actions.function_host import FunctionFailed, FunctionHost, FunctionSettings
from actions.invoke_function import InvokeFunction
from actions.protocol import Parked
from gatepost.aws_functions import AwsFunctions
from gatepost.settings import Settings
from gatepost.storage import storage_of
from mail.errors import Permanent, Temporary
from mail.outcome import Control, Outcome, Result

sys.path.append(str(Path(__file__).parents[1] / "actions"))
from acting import context_of
from function_server import Reply, Server, function_server

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:In:PROD"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    without_real_aws(monkeypatch)
    with function_server() as made:
        yield made


@pytest.fixture
async def action(server: Server, tmp_path: Path) -> AsyncIterator[InvokeFunction]:
    storage = storage_of(Settings(data=tmp_path, aws_endpoint=server.url, functions_timeout=1))
    host = FunctionHost(FunctionSettings(path=(tmp_path,)))
    yield InvokeFunction(host, elsewhere={"arn": AwsFunctions(storage.clients)})
    await storage.clients.close()


async def invoked(action: InvokeFunction, kind: str = "RequestResponse") -> Outcome:
    return await action.run(context_of("lambda", {"function_arn": ARN, "invocation_type": kind}))


async def test_synchronous_call_is_made_in_the_region_of_the_arn(action: InvokeFunction, server: Server) -> None:
    log = base64.b64encode(b"START\nhello\n").decode()
    server.reply = Reply(body={"disposition": "stop_rule_set"}, headers={"X-Amz-Log-Result": log})
    outcome = await invoked(action)
    assert (outcome.result, outcome.control) == (Result.DONE, Control.STOP_RULE_SET)
    assert outcome.data["output"] == "START\nhello\n"
    ((path, headers, _),) = server.seen
    assert path == f"/2015-03-31/functions/{ARN.replace(':', '%3A')}/invocations"
    assert headers["x-amz-invocation-type"] == "RequestResponse"
    assert "/eu-central-1/lambda/aws4_request" in headers["authorization"]
    assert server.events[0]["Records"][0]["ses"]["receipt"]["action"]["functionArn"] == ARN


async def test_event_call_is_done_when_lambda_has_taken_it(action: InvokeFunction, server: Server) -> None:
    server.reply = Reply(status=202, body=b"")
    outcome = await invoked(action, "Event")
    assert (outcome.result, outcome.control) == (Result.DONE, Control.CONTINUE)
    assert server.seen[0][1]["x-amz-invocation-type"] == "Event"


async def test_function_that_raised_is_a_failure_with_its_reason(action: InvokeFunction, server: Server) -> None:
    log = base64.b64encode(b"START\nREPORT 3 ms\n").decode()
    body = {"errorMessage": "no such table", "errorType": "ValueError"}
    server.reply = Reply(body=body, headers={"X-Amz-Function-Error": "Unhandled", "X-Amz-Log-Result": log})
    with pytest.raises(FunctionFailed, match=r"ValueError: no such table \(it logged last: REPORT 3 ms\)"):
        await invoked(action)


async def test_result_that_looks_like_an_error_is_a_result(action: InvokeFunction, server: Server) -> None:
    server.reply = Reply(body={"errorMessage": "x", "errorType": "y"})
    assert (await invoked(action)).control is Control.CONTINUE


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (429, "TooManyRequestsException", Temporary),
        (500, "ServiceException", Temporary),
        (502, "ResourceNotReadyException", Temporary),
        (403, "AccessDeniedException", Temporary),  # a grant can be made
        (404, "ResourceNotFoundException", Permanent),
        (413, "RequestTooLargeException", Permanent),
        (400, "InvalidParameterValueException", Permanent),
    ],
)
async def test_refusals_of_lambda_say_whether_trying_again_can_help(
    action: InvokeFunction, server: Server, status: int, code: str, error: type[Exception]
) -> None:
    server.reply = Reply(status=status, body={"Message": "why"}, headers={"x-amzn-ErrorType": code})
    with pytest.raises(error, match=f"{code}: why"):
        await invoked(action)
    assert len(server.seen) == 1


async def test_slow_function_is_called_once_in_an_attempt(action: InvokeFunction, server: Server) -> None:
    release = threading.Event()
    server.reply = Reply(wait=release)
    try:
        with pytest.raises(Temporary, match=r"(?i)timeout|timed out"):
            await invoked(action)
        assert len(server.seen) == 1
    finally:
        release.set()


async def test_step_parks_while_there_are_no_credentials(
    action: InvokeFunction, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(Parked, match="credentials"):
        await invoked(action)
    assert server.seen == []
