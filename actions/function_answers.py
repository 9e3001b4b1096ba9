"""What a function that ran elsewhere answered: AWS Lambda's Invoke, and the Runtime Interface that its images serve.

*Trust.* The function is configured; of what it answers only the disposition is believed, and errors are shortened to a line.
*Failure.* `FunctionFailed` where the function raised, ran out of time or answered no JSON.
"""

import json
from typing import Any, Protocol

from actions.function_host import FunctionFailed, Returned, one_line


class RemoteFunctions(Protocol):
    async def invoke(self, target: str, event: bytes, *, synchronous: bool) -> Returned:
        """Call the function; of one that is not `synchronous` the result is None.

        Raises `FunctionFailed`, `Temporary` where a later attempt may reach it, `Permanent` where there is no such function.
        """


def read_answer(payload: bytes, function_error: str | None) -> Any:
    """The result. `function_error` is the header X-Amz-Function-Error, "" for a reply that could have had it and has not.

    None is a reply that never has it, as the emulator's: its errors are known by their form alone,
    `{"errorMessage": …, "errorType": …}`, or by being no JSON: `Task timed out after 3.00 seconds`.
    """
    try:
        result = json.loads(payload) if payload.strip() else None
    except (ValueError, RecursionError):
        raise FunctionFailed(one_line(payload[:1000].decode("utf-8", "replace"))) from None
    if function_error or (function_error is None and _is_error(result)):
        raise FunctionFailed(one_line(_said(result, function_error or "")))
    return result


def _is_error(result: Any) -> bool:
    return (
        isinstance(result, dict)
        and isinstance(result.get("errorMessage"), str)
        and isinstance(result.get("errorType"), str)
        and "disposition" not in result
    )


def _said(result: Any, function_error: str) -> str:
    if not isinstance(result, dict):
        return f"{function_error}: {result}"
    kind, message = result.get("errorType") or function_error, result.get("errorMessage", "no reason given")
    return f"{kind}: {message}"
