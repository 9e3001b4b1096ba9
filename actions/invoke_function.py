"""lambda: a function is called with SES's event (SES: Lambda action, Lambda event; semantics.md §9).

`python:module.sub:function` runs in our host, `http://…/2015-03-31/functions/NAME/invocations` in its container image, an ARN on
AWS Lambda. Any other name stands for nothing here: unmapped. A failed function fails the step, which is tried again as any action;
only of an Event call to AWS the retries are Lambda's own.
"""

import asyncio
import os
import re
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actions.function_answers import RemoteFunctions
from actions.function_host import Call, FunctionHost, Returned
from actions.protocol import Context
from actions.reach import Reach
from actions.ses_payload import compact_json, ses_objects
from mail.errors import Permanent
from mail.octets import Octets, pieces
from mail.outcome import Control, Outcome, Result
from mail.ses_json import lambda_event

_LOCAL = re.compile(r"python:([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z]\w*(?:\.[A-Za-z]\w*)*)\Z", re.ASCII)
_REQUEST_IDS = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562 §6.6: the namespace of object identifiers


class InvokeFunction:
    """`scratch` is where a call's message file lives for as long as the call, `base` where relative disk paths start.

    `elsewhere` runs what is no function of ours, by what a name begins with: `arn`, `http`, `https`.
    """

    def __init__(
        self,
        host: FunctionHost,
        scratch: Path | None = None,
        base: Path = Path(),
        elsewhere: Mapping[str, RemoteFunctions] | None = None,
    ) -> None:
        self._host = host
        self._scratch = scratch
        self._base = base
        self._elsewhere = elsewhere or {}

    def destination(self, parameters: Mapping[str, Any]) -> str:
        return str(parameters.get("function_arn", ""))

    async def run(self, context: Context) -> Outcome:
        target = str(context.parameters["function_arn"])
        scheme = target.partition(":")[0]
        if scheme != "python" and scheme not in self._elsewhere:
            return Outcome(result=Result.UNMAPPED, detail=f"no local function stands for {target}")
        synchronous = str(context.parameters.get("invocation_type", "Event")).lower() == "requestresponse"
        shown = str(context.parameters.get("arn") or target)
        told = event(context, shown, synchronous=synchronous)
        began = time.monotonic()
        if scheme == "python":
            returned = await self._call_here(context, target, shown, told)
        else:
            returned = await self._elsewhere[scheme].invoke(target, compact_json(told), synchronous=synchronous)
        milliseconds = round((time.monotonic() - began) * 1000)
        control = disposition(returned.result) if synchronous else Control.CONTINUE
        data = {"milliseconds": str(milliseconds)}
        if returned.output:
            data["output"] = returned.output[:1000]
        detail = f"{target} answered {control}" if synchronous else f"{target} ran"
        return Outcome(result=Result.DONE, detail=detail, control=control, data=data)

    async def _call_here(self, context: Context, target: str, shown: str, told: Mapping[str, Any]) -> Returned:
        name = _LOCAL.match(target)
        if name is None:
            raise Permanent("function_arn is not python:module:function")
        message_path = await asyncio.to_thread(_write_message, context.content, self._scratch)
        try:
            return await self._host.call(
                Call(
                    module=name[1],
                    function=name[2],
                    event=told,
                    context=aws_context(context, shown, name[2], self._host.memory_octets),
                    gatepost=_gatepost(context, message_path),
                    rule=context.step.rule,
                    reach=Reach(
                        message_id=context.receipt.message_id,
                        rule=context.step.rule,
                        actions=context.stores,
                        base=self._base,
                    ),
                )
            )
        finally:
            await asyncio.to_thread(Path(message_path).unlink, missing_ok=True)


def event(context: Context, arn: str, *, synchronous: bool) -> dict[str, Any]:
    action = {"type": "Lambda", "functionArn": arn, "invocationType": "RequestResponse" if synchronous else "Event"}
    if context.topic_arn:
        action = {"type": "Lambda", "topicArn": context.topic_arn, **action}
    return lambda_event(*ses_objects(context, action))


def aws_context(context: Context, arn: str, function: str, memory_octets: int) -> dict[str, Any]:
    """AWS's fields, with the name in `arn` where it is one. The request id is the same for every attempt of a step, as is AWS's."""
    function = arn.split(":")[6] if arn.startswith("arn:") and arn.count(":") > 5 else function
    request = str(uuid.uuid5(_REQUEST_IDS, context.step.key))
    return {
        "aws_request_id": request,
        "function_name": function,
        "function_version": "$LATEST",
        "invoked_function_arn": arn,
        "memory_limit_in_mb": str(memory_octets // 2**20),
        "log_group_name": f"/aws/lambda/{function}",
        "log_stream_name": f"{context.now:%Y/%m/%d}/[$LATEST]{request.replace('-', '')}",
    }


def disposition(result: Any) -> Control:
    """What a synchronous function decided; anything but its two words, in any case, is CONTINUE (SES: Lambda disposition)."""
    word = result.get("disposition") if isinstance(result, dict) else None
    return {"STOP_RULE": Control.STOP_RULE, "STOP_RULE_SET": Control.STOP_RULE_SET}.get(
        word.strip().upper() if isinstance(word, str) else "", Control.CONTINUE
    )


def _gatepost(context: Context, message_path: str) -> dict[str, str]:
    step = context.step
    return {"message_path": message_path, "message_id": step.message_id, "rule": step.rule, "key": step.key}


def _write_message(content: Octets, scratch: Path | None) -> str:
    """A file that only we can read, with the message as this step sees it."""
    descriptor, path = tempfile.mkstemp(prefix="gatepost-", suffix=".eml", dir=scratch)
    with os.fdopen(descriptor, "wb") as file:
        for piece in pieces(content):
            file.write(piece)
    return path
