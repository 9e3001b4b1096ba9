"""What SendBounce is asked for, in SES's own members (SES: SendBounce; MessageDsn, BouncedRecipientInfo, RecipientDsnFields).

`bounce_request` takes the parameters as an SDK nests them, and refuses what SES refuses before it looks at any message.

*Trust.* Whoever may call the API wrote them: nothing of it gets into a header field unchecked.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from mail.address import parse_mailbox
from mail.errors import Malformed

# SES: the console's six templates, which BounceType names (reply code, status, text).
TEMPLATES = {
    "DoesNotExist": ("550", "5.1.1", "Mailbox does not exist"),
    "MessageTooLarge": ("552", "5.3.4", "Message too large"),
    "ExceededQuota": ("552", "5.2.2", "Mailbox full"),
    "ContentRejected": ("500", "5.6.1", "Message content rejected"),
    "Undefined": ("554", "5.0.0", "Unknown failure"),
    "TemporaryFailure": ("450", "4.0.0", "Temporary failure"),
}
ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")
_NAME = re.compile(r"[A-Za-z0-9-]{1,50}\Z")
_TYPED = re.compile(r"[A-Za-z0-9-]+; ?[!-~](?:[ -~]*[!-~])?\Z")  # RFC 3464 §2.1.2: mta-name-type; mta-name
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VALUE_CHARACTERS = 2048
_EXPLANATION_CHARACTERS = 100_000


class Refused(Exception):
    """What the API answers: SES's code, and its text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Member(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A structure of SES's API."""


class ExtensionField(_Member, frozen=True, kw_only=True):
    name: str
    value: str


class MessageDsn(_Member, frozen=True, kw_only=True):
    reporting_mta: str
    arrival_date: datetime | None = None
    extension_fields: tuple[ExtensionField, ...] = ()


class RecipientDsnFields(_Member, frozen=True, kw_only=True):
    action: str
    status: str
    final_recipient: str | None = None
    remote_mta: str | None = None
    diagnostic_code: str | None = None
    last_attempt_date: datetime | None = None
    extension_fields: tuple[ExtensionField, ...] = ()


class BouncedRecipientInfo(_Member, frozen=True, kw_only=True):
    """Exactly one of `bounce_type` and `recipient_dsn_fields`. `recipient_arn` plays no part: there are no delegates here."""

    recipient: str
    recipient_arn: str | None = None
    bounce_type: str | None = None
    recipient_dsn_fields: RecipientDsnFields | None = None


class BounceRequest(_Member, frozen=True, kw_only=True):
    """Dates are aware; one without a zone is UTC's. `bounce_sender_arn` plays no part: there are no delegates here."""

    original_message_id: str
    bounce_sender: str
    bounced_recipient_info_list: tuple[BouncedRecipientInfo, ...]
    explanation: str | None = None
    message_dsn: MessageDsn | None = None
    bounce_sender_arn: str | None = None


def bounce_request(parameters: Mapping[str, Any]) -> BounceRequest:
    """The request of an SDK's parameters. Raises `Refused` with SES's code and words."""
    violations = list(_violations(parameters))
    if violations:
        counted = "1 validation error" if len(violations) == 1 else f"{len(violations)} validation errors"
        raise Refused("ValidationError", f"{counted} detected: {'; '.join(violations)}")
    try:
        request = msgspec.convert(dict(parameters), BounceRequest)
    except msgspec.ValidationError as error:
        raise Refused("MalformedInput", str(error)) from None
    for why in _faults(request):
        raise Refused("InvalidParameterValue", why)
    return request


def _violations(parameters: Mapping[str, Any]) -> Iterator[str]:
    """What SES's model itself forbids, all at once (spec: messages of ValidationError)."""
    for name in ("OriginalMessageId", "BounceSender", "BouncedRecipientInfoList"):
        if parameters.get(name) is None:
            yield _null(_path(name))
    if parameters.get("MessageDsn") is not None and _of(parameters["MessageDsn"]).get("ReportingMta") is None:
        yield _null("messageDsn.reportingMta")
    infos = parameters.get("BouncedRecipientInfoList")
    for number, info in enumerate(map(_of, infos if isinstance(infos, list | tuple) else ()), 1):
        here = f"bouncedRecipientInfoList.{number}.member"
        if info.get("Recipient") is None:
            yield _null(f"{here}.recipient")
        if info.get("BounceType") is not None and info["BounceType"] not in TEMPLATES:
            yield _enumerated(info["BounceType"], f"{here}.bounceType", TEMPLATES)
        if info.get("RecipientDsnFields") is not None:
            yield from _dsn_violations(_of(info["RecipientDsnFields"]), f"{here}.recipientDsnFields")


def _dsn_violations(fields: Mapping[str, Any], here: str) -> Iterator[str]:
    for name in ("Action", "Status"):
        if fields.get(name) is None:
            yield _null(f"{here}.{_path(name)}")
    if fields.get("Action") is not None and fields["Action"] not in ACTIONS:
        yield _enumerated(fields["Action"], f"{here}.action", ACTIONS)


def _of(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _path(name: str) -> str:
    return name[0].lower() + name[1:]


def _null(path: str) -> str:
    return f"Value at '{path}' failed to satisfy constraint: Member must not be null"


def _enumerated(value: Any, path: str, words: Any) -> str:
    expected = f"Member must satisfy enum value set: [{', '.join(words)}]"
    return f"Value '{value}' at '{path}' failed to satisfy constraint: {expected}"


def _faults(request: BounceRequest) -> Iterator[str]:
    """What the words of SES's documentation forbid; the first one is told."""
    if not request.bounced_recipient_info_list:
        yield "BouncedRecipientInfoList must not be empty"
    yield from _addresses(request.bounce_sender)
    if len(request.explanation or "") > _EXPLANATION_CHARACTERS:
        yield f"Explanation must contain {_EXPLANATION_CHARACTERS} characters or fewer"
    if request.message_dsn is not None:
        yield from _typed("ReportingMta", request.message_dsn.reporting_mta)
        yield from _extensions(request.message_dsn.extension_fields)
    for info in request.bounced_recipient_info_list:
        yield from _addresses(info.recipient)
        if (info.bounce_type is None) == (info.recipient_dsn_fields is None):
            yield "Exactly one of BounceType and RecipientDsnFields must be specified for each recipient"
        if info.recipient_dsn_fields is not None:
            yield from _recipient_faults(info.recipient_dsn_fields)


def _recipient_faults(fields: RecipientDsnFields) -> Iterator[str]:
    if not _STATUS.match(fields.status):
        yield f"Invalid status code: {_shown(fields.status)}"
    if fields.final_recipient is not None:
        yield from _addresses(fields.final_recipient)
    if fields.remote_mta is not None:
        yield from _typed("RemoteMta", fields.remote_mta)
    if fields.diagnostic_code is not None and not _one_line(fields.diagnostic_code):
        yield f"Invalid diagnostic code: {_shown(fields.diagnostic_code)}"
    yield from _extensions(fields.extension_fields)


def _addresses(text: str) -> Iterator[str]:
    try:
        parse_mailbox(text)
    except Malformed:
        yield f"Invalid email address: {_shown(text)}"


def _typed(name: str, value: str) -> Iterator[str]:
    if not _TYPED.match(value):
        yield f"Invalid {name}: {_shown(value)}; expected mta-name-type; mta-name"


def _extensions(fields: tuple[ExtensionField, ...]) -> Iterator[str]:
    for field in fields:
        if not _NAME.match(field.name):
            yield f"Invalid header name: {_shown(field.name)}"
        elif not _one_line(field.value):
            yield f"Invalid header value: {_shown(field.value)}"


def _one_line(value: str) -> bool:
    return len(value) <= _VALUE_CHARACTERS and value.isascii() and not _CONTROL.search(value)


def _shown(text: str) -> str:
    """As SES prints it: control characters as 0x000a."""
    return _CONTROL.sub(lambda found: f"0x{ord(found.group()):04x}", text[:200])
