"""What those who watch over us read over HTTP: `/metrics`, `/healthz` (restart us if it fails), `/readyz` (send us mail or not).

`/healthz` asks nobody: that it answers is what it says. `/readyz` is 200 while every check holds in every worker, else 503. Its
JSON says which does not and why, and which rule set is active and whether it is pinned (semantics.md §4).
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gatepost.http_content import Served
from gatepost.metrics import CONTENT_TYPE, rendered
from gatepost.survey import Survey, Surveyor
from mail.errors import Temporary

_JSON = {"content-type": "application/json", "cache-control": "no-store"}


def pages_of(surveyor: Surveyor) -> Mapping[str, Callable[[], Awaitable[Served]]]:
    """By path. `Temporary` where the workers do not answer, except for /readyz, which says so itself."""

    async def metrics() -> Served:
        text = rendered((await surveyor.survey()).samples)
        return Served(status=200, body=text.encode(), headers={"content-type": CONTENT_TYPE})

    async def healthz() -> Served:
        return Served(status=200, body=b'{"status":"ok"}\n', headers=_JSON)

    async def readyz() -> Served:
        try:
            survey = await surveyor.survey()
        except Temporary as error:
            return _json(503, {"ready": False, "error": str(error)})
        return _json(200 if survey.is_ready else 503, readiness(survey))

    return {"/metrics": metrics, "/healthz": healthz, "/readyz": readyz}


def readiness(survey: Survey) -> dict[str, Any]:
    """The JSON of /readyz."""
    rules = survey.rules
    return {
        "ready": survey.is_ready,
        "workers": len(survey.workers),
        "checks": {check.name: {"ok": check.ok, "detail": check.detail} for check in survey.checks},
        "rules": None
        if rules is None
        else {"rule_set": rules.rule_set, "version": rules.version, "pinned": rules.pinned},
    }


def _json(status: int, value: Any) -> Served:
    return Served(status=status, body=json.dumps(value).encode() + b"\n", headers=_JSON)
