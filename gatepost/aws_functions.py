"""Functions of AWS Lambda, over its API: `actions.function_answers.RemoteFunctions`."""

import base64
import binascii
from functools import partial
from typing import Any

from actions.function_answers import read_answer
from actions.function_host import FunctionFailed, Returned
from gatepost.aws import AwsClients, region_of


class AwsFunctions:
    """An Event call is done when Lambda has taken it: Lambda itself then tries it again, and has its own dead-letter queue."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    async def invoke(self, target: str, event: bytes, *, synchronous: bool) -> Returned:
        kind = "RequestResponse" if synchronous else "Event"
        payload, error, log = await self._clients.run(
            "lambda", partial(_invoke, target, kind, event), region=region_of(target)
        )
        try:
            return Returned(result=read_answer(payload, error), output=log)
        except FunctionFailed as failed:
            last = log.strip().rpartition("\n")[2]
            raise FunctionFailed(f"{failed} (it logged last: {last[:200]})" if last else str(failed)) from None


def _invoke(arn: str, kind: str, event: bytes, client: Any) -> tuple[bytes, str, str]:
    """The answer, the name of the function's error or "", and the end of its log."""
    log_type = "Tail" if kind == "RequestResponse" else "None"
    answer = client.invoke(FunctionName=arn, InvocationType=kind, LogType=log_type, Payload=event)
    with answer["Payload"] as body:
        payload = body.read()
    return payload, str(answer.get("FunctionError") or ""), _log(answer.get("LogResult", ""))


def _log(encoded: str) -> str:
    try:
        return base64.b64decode(encoded).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
