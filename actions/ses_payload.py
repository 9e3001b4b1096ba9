"""SES's JSON for one attempt of one step, as bytes (SES: contents of notifications; `mail.ses_json` has the shapes)."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from actions.protocol import Context
from mail.ses_json import ses_mail, ses_receipt


def ses_objects(context: Context, action: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `mail` and `receipt` objects as this step's rule sees the message; `action` is SES's action object."""
    receipt = ses_receipt(
        context.receipt,
        recipients=context.recipients,
        scanned=context.step.scanned,
        action=action,
        processing_millis=context.processing_millis,
    )
    return ses_mail(context.receipt, context.header), receipt


def compact_json(value: Any) -> bytes:
    """SES's compact form as UTF-8; a lone surrogate, which some charsets decode to, becomes `?`."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # ten times slower, and rarely needed
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
