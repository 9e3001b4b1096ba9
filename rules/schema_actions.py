"""Every action with its fields, as data: what the loader checks, `check` lists and the documentation shows (SES: ReceiptAction).

Field names are SES's in snake_case; `retry_for` and `on_failure` are ours and may stand in every action that can fail. In the kept
`ActionSpec.parameters` a duration is a whole number of seconds, defaults are filled in, and an optional field that is absent stays
absent.
"""

from __future__ import annotations

from collections.abc import Mapping as Dictionary
from dataclasses import dataclass
from typing import Any

from rules.model import ActionSpec
from rules.schema_delivery import check_deliver, read_host, read_keep, read_lmtp, read_targets
from rules.schema_fields import (
    INVOCATION_TYPES,
    Reader,
    read_arn,
    read_function,
    read_header_map,
    read_header_name,
    read_header_value,
    read_line,
    read_mailbox,
    read_message,
    read_metadata,
    read_prefix,
    read_reply_code,
    read_retry,
    read_size,
    read_status_code,
    read_topic,
    read_url,
    word_reader,
)
from rules.schema_findings import nearest, one_of
from rules.schema_nodes import Mapping, Node, Scalar, kind, shown
from rules.schema_reading import Reading

WEBHOOK_FORMATS = ("gatepost", "ses", "raw", "sendgrid", "mailgun", "postmark")
RETRY_SECONDS = 4 * 3_600  # SES: the retry window of an action


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of an action. `read` reports what is wrong and returns the kept value; a default of None leaves the field out."""

    read: Reader
    description: str
    required: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSchema:
    """`ses` is the member's name in SES's ReceiptAction. `retries`: it can fail and takes `retry_for` and `on_failure`.

    `handles`: it stores, delivers, publishes, bounces or drops, so a message that met it is not unhandled (semantics.md §3).
    `available` is false for what SES has and this version has not: only SES's JSON may hold it.
    """

    description: str
    fields: Dictionary[str, Field]
    ses: str | None = None
    retries: bool = False
    handles: bool = True
    available: bool = True


_TOPIC = Field(read=read_topic, description="the topic that is told when it is done")
_KEY = Field(read=read_arn, description="encrypts the object: alias/NAME or an ARN of KMS")
_METADATA = Field(read=read_metadata, description='metadata of the object, name: text, as in {spam: "{spam}"}')
_PREFIX = Field(
    read=read_prefix, default="", description='put before the message id; a template, as in "in/{date:%Y/%m/%d}/"'
)
COMMON = {
    "retry_for": Field(
        read=read_retry, default=RETRY_SECONDS, description="how long a failing step is tried again, as in 4h"
    ),
    "on_failure": Field(
        read=word_reader("continue", "stop"), description="what a dead step does to the rest: continue or stop"
    ),
}
ACTIONS: dict[str, ActionSchema] = {
    "add_header": ActionSchema(
        description="puts a header field on top of what later actions see",
        ses="AddHeaderAction",
        handles=False,
        fields={
            "header_name": Field(read=read_header_name, required=True, description="1 to 50 of A-Z a-z 0-9 -"),
            "header_value": Field(
                read=read_header_value, required=True, description="one line, at most 2048 characters"
            ),
        },
    ),
    "disk": ActionSchema(
        description="writes the message to a directory, laid out as SES lays out a bucket",
        retries=True,
        fields={
            "path": Field(read=read_line, required=True, description="the directory"),
            "object_key_prefix": _PREFIX,
            "kms_key_arn": _KEY,
            "metadata": _METADATA,
            "topic_arn": _TOPIC,
        },
    ),
    "webhook": ActionSchema(
        description="posts the message to a URL, signed if there is a secret",
        retries=True,
        fields={
            "url": Field(read=read_url, required=True, description="http:// or https://"),
            "secret": Field(read=read_line, description='the signing secret, as in "${HOOK_SECRET}"'),
            "format": Field(
                read=word_reader(*WEBHOOK_FORMATS),
                default="ses",
                description="what is posted; raw is the message itself",
            ),
            "inline_limit": Field(
                read=read_size, description="an attachment above it becomes a signed URL in gatepost's JSON, as in 1MB"
            ),
            "headers": Field(read=read_header_map, description="further HTTP header fields, name: value"),
            "encoding": Field(
                read=word_reader("UTF-8", "Base64"), default="UTF-8", description="of the message in ses's JSON"
            ),
            "topic_arn": Field(read=read_arn, description="the topicArn that ses's JSON shows"),
        },
    ),
    "lambda": ActionSchema(
        description="calls a function with SES's event",
        ses="LambdaAction",
        retries=True,
        fields={
            "function_arn": Field(
                read=read_function, required=True, description='"python:module:function", an ARN, or a URL'
            ),
            "invocation_type": Field(
                read=word_reader(*INVOCATION_TYPES),
                default="Event",
                description="Event, or RequestResponse to wait for it",
            ),
            "topic_arn": _TOPIC,
        },
    ),
    "bounce": ActionSchema(
        description="refuses the message: in the session where that is possible, else by a bounce message",
        ses="BounceAction",
        retries=True,
        fields={
            "smtp_reply_code": Field(read=read_reply_code, required=True, description='"550", or 4xx to defer'),
            "status_code": Field(read=read_status_code, description='the enhanced code, as in "5.7.1"'),
            "message": Field(read=read_message, required=True, description="the text for the sender, one line"),
            "sender": Field(read=read_mailbox, description="From of the bounce message; mailer-daemon@ without it"),
            "topic_arn": _TOPIC,
        },
    ),
    "drop": ActionSchema(description="ends here on purpose: the message counts as handled", fields={}),
    "deliver": ActionSchema(
        description="delivers to the message's own recipients; one of lmtp, smtp and maildir",
        retries=True,
        fields={
            "lmtp": Field(read=read_lmtp, description="a mailbox server: unix:PATH or HOST:PORT"),
            "smtp": Field(read=read_host, description="another mail server: HOST:PORT"),
            "maildir": Field(read=read_line, description="a Maildir; made where it is missing"),
            "topic_arn": _TOPIC,
        },
    ),
    "forward": ActionSchema(
        description="sends the message on to other addresses",
        retries=True,
        fields={
            "to": Field(read=read_targets, required=True, description="one address or a list; srs: an SRS sender"),
            "via": Field(read=read_host, description="HOST:PORT to send through; the relay without it"),
            "from": Field(
                read=word_reader("keep", "rewrite"),
                default="keep",
                description="keep, or rewrite From to the recipient's address, with the author in Reply-To",
            ),
            "topic_arn": _TOPIC,
        },
    ),
    "quarantine": ActionSchema(
        description="keeps the message apart until somebody releases or deletes it, and ends here for its recipients",
        fields={
            "reason": Field(read=read_line, default="quarantined", description="one line, for who looks at it"),
            "keep": Field(read=read_keep, default=30 * 86_400, description="how long it is kept, as in 30d"),
            "topic_arn": _TOPIC,
        },
    ),
    "stop": ActionSchema(
        description="ends the evaluation",
        ses="StopAction",
        handles=False,
        fields={
            "scope": Field(
                read=word_reader("RuleSet", "Recipients"),
                default="RuleSet",
                description="RuleSet: for the whole message; Recipients: for those that this rule took",
            ),
            "topic_arn": _TOPIC,
        },
    ),
    "s3": ActionSchema(
        description="writes the message to a bucket of S3, or of a store that speaks its protocol",
        ses="S3Action",
        retries=True,
        fields={
            "bucket_name": Field(read=read_line, required=True, description="the bucket"),
            "object_key_prefix": _PREFIX,
            "kms_key_arn": _KEY,
            "metadata": _METADATA,
            "topic_arn": _TOPIC,
            "iam_role_arn": Field(read=read_arn, description="the role to take for writing"),
        },
    ),
    "sns": ActionSchema(
        description="publishes the message to a topic",
        ses="SNSAction",
        retries=True,
        fields={
            "topic_arn": Field(read=read_topic, required=True, description="the topic"),
            "encoding": Field(read=word_reader("UTF-8", "Base64"), default="UTF-8", description="UTF-8 or Base64"),
            "oversize": Field(
                read=word_reader("claim_check", "bounce"),
                default="claim_check",
                description="a message above 150 KB: a link in place of its content, or bounced as SES does",
            ),
        },
    ),
    "workmail": ActionSchema(
        description="delivers the message to a WorkMail organization",
        ses="WorkmailAction",
        retries=True,
        available=False,
        fields={
            "organization_arn": Field(read=read_arn, required=True, description="the organization"),
            "topic_arn": _TOPIC,
        },
    ),
    "connect": ActionSchema(
        description="hands the message to a Connect instance",
        ses="ConnectAction",
        retries=True,
        available=False,
        fields={
            "instance_arn": Field(read=read_arn, required=True, description="the instance"),
            "iam_role_arn": Field(read=read_arn, required=True, description="the role that SES would take"),
        },
    ),
}
AVAILABLE = tuple(name for name, schema in ACTIONS.items() if schema.available)


def read_action(reading: Reading, node: Node) -> ActionSpec | None:
    """`{disk: {path: ...}}`, or the bare word of an action."""
    found = _word_and_fields(reading, node)
    if found is None:
        return None
    key, fields = found
    known = (*AVAILABLE, *reading.plugins)
    schema: ActionSchema | None = ACTIONS.get(key.text) or reading.plugins.get(key.text)
    if schema is None:
        expected = nearest(key.text, known) or f"; expected {one_of(known)}"
        reading.error("unknown-action", key, f"unknown action {shown(key.text)}{expected}")
        return None
    if not (schema.available or reading.from_ses):
        reading.error(
            "unavailable-action", key, f"{key.text} is not available in this version; there are {', '.join(known)}"
        )
        return None
    if not schema.available:
        what = f"{key.text} is not available in this version; until a local target takes its place the step is unmapped"
        reading.warn("unmapped-action", key, what)
    return ActionSpec(type=key.text, parameters=_parameters(reading, key, fields, schema))


def _word_and_fields(reading: Reading, node: Node) -> tuple[Scalar, Node] | None:
    example = "expected one action, as in - disk: {path: ./mail}"
    if isinstance(node, Scalar) and node.text:
        return node, Scalar(None, "", False, node.line, node.column)
    if not isinstance(node, Mapping):
        reading.error("wrong-type", node, f"an item of actions is {kind(node)}; {example}")
        return None
    if len(node.entries) == 1:
        return next(iter(node.entries.values()))
    actions = [name for name in node.entries if name in ACTIONS]
    mend = ""
    if len(actions) > 1:
        mend = f'; begin {actions[1]} with its own "- "'
    elif actions:
        mend = f"; indent the fields of {actions[0]} further than its name"
    reading.error("one-key", node, f"an item of actions has {len(node.entries) or 'no'} keys; {example}{mend}")
    return None


def _parameters(reading: Reading, key: Scalar, node: Node, schema: ActionSchema) -> dict[str, Any]:
    fields = _fields(schema)
    if isinstance(node, Scalar) and node.value is None and not node.quoted:
        known = {}
    elif not fields and not (isinstance(node, Mapping) and not node.entries):
        reading.error("unknown-key", node, f"{key.text} takes no fields; write {key.text}: {{}}")
        return {}
    else:
        known = reading.entries(node, key.text, fields)
        if not isinstance(node, Mapping):
            return {}
    kept = _defaults(schema)
    for name, (_, value) in known.items():
        read = fields[name].read(reading, value, f"{key.text} {name}")
        if read is not None:
            kept[name] = read
    for name, field in schema.fields.items():
        if field.required and name not in known:
            reading.error("missing-key", key, f"{key.text} lacks {name}: {field.description}")
    if key.text == "bounce":
        _check_bounce(reading, known, kept)
    if key.text == "deliver":
        check_deliver(reading, key, known)
    return kept


def _fields(schema: ActionSchema) -> dict[str, Field]:
    return {**schema.fields, **COMMON} if schema.retries else dict(schema.fields)


def _defaults(schema: ActionSchema) -> dict[str, Any]:
    return {name: field.default for name, field in _fields(schema).items() if field.default is not None}


def _check_bounce(reading: Reading, known: dict[str, tuple[Scalar, Node]], kept: dict[str, Any]) -> None:
    code, status = kept.get("smtp_reply_code"), kept.get("status_code")
    if code and status and code[0] != status[0]:
        what = f"bounce status_code {status} does not fit smtp_reply_code {code}; both begin with the same digit"
        reading.error("code-mismatch", known["status_code"][1], what)
