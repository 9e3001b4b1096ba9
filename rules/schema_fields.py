"""How the fields of actions are read: one reader for each kind of field, each with SES's own constraint (SES: ReceiptAction)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from mail.address import parse_mailbox
from mail.errors import Malformed
from rules.object_keys import literal_template, parse_template
from rules.schema_findings import nearest
from rules.schema_nodes import Node, Scalar, shown
from rules.schema_reading import Reading

INVOCATION_TYPES = ("Event", "RequestResponse")
HEADER_NAME_CHARACTERS = 50
HEADER_VALUE_CHARACTERS = 2_048
MESSAGE_CHARACTERS = 1_000
MOST_RETRY_DAYS = 14

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+\Z")
_REPLY_CODE = re.compile(r"[45][0-9]{2}\Z")
_STATUS_CODE = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}\Z")
_TWO_PARTS = re.compile(r"[245]\.[0-9]{1,3}\Z")
_PYTHON = re.compile(r"python:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")
_LOCAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_ARN = re.compile(r"arn:[a-z0-9-]+:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:\S+\Z")
_QUEUE_ARN = re.compile(r"arn:[a-z0-9-]+:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,80}(?:\.fifo)?\Z")
_RUNTIME_INTERFACE = re.compile(r"https?://[^/?#\s@]+/2015-03-31/functions/[^/?#\s]+/invocations\Z")
_METADATA_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_LINE_BREAK = re.compile(r"[\r\n\x00]")


def word_reader(*choices: str) -> Callable[[Reading, Node, str], str | None]:
    def read(reading: Reading, node: Node, what: str) -> str | None:
        return reading.word(node, what, choices)

    return read


def read_line(reading: Reading, node: Node, what: str) -> str | None:
    """Any text without line breaks and NUL."""
    text = reading.text(node, what)
    return None if text is None else _one_line(reading, node, what, text)


def _one_line(reading: Reading, node: Node, what: str, text: str) -> str | None:
    found = _LINE_BREAK.search(text)
    if found:
        break_ = "a NUL" if found.group() == "\0" else "a line break"
        fold = '; write it on one line, or with ">-" instead of "|"' if break_ == "a line break" else ""
        reading.error("line-break", node, f"{what} holds {break_}{fold}")
        return None
    return text


def read_header_name(reading: Reading, node: Node, what: str) -> str | None:
    text = reading.text(node, what)
    if text is not None and (not _HEADER_NAME.match(text) or len(text) > HEADER_NAME_CHARACTERS):
        expected = f"expected 1 to {HEADER_NAME_CHARACTERS} of A-Z a-z 0-9 - without a colon"
        reading.error("bad-header-name", node, f"{what} {shown(text)} is not a header field's name; {expected}")
        return None
    return text


def read_header_value(reading: Reading, node: Node, what: str) -> str | None:
    text = reading.text(node, what, empty=True)
    if text is None:
        return None
    if len(text) > HEADER_VALUE_CHARACTERS:
        reading.error(
            "too-long", node, f"{what} has {len(text)} characters; at most {HEADER_VALUE_CHARACTERS} are allowed"
        )
        return None
    return _one_line(reading, node, what, text)


def read_prefix(reading: Reading, node: Node, what: str) -> str | None:
    """A key prefix, perhaps a template. To a bucket `..` is a name like any other, to a directory it is the way out."""
    text = reading.text(node, what, empty=True)
    if text is None:
        return None
    if reading.from_ses:
        return literal_template(text)
    if set(text.split("/")) & {".", ".."} or "\0" in text:
        reading.error("bad-prefix", node, f'{what} {shown(text)} leaves the directory; write it without "." and ".."')
        return None
    return _template(reading, node, what, text)


def read_metadata(reading: Reading, node: Node, what: str) -> dict[str, str] | None:
    """Metadata of an object, name to template (SES writes none of its own; S3: user-defined metadata)."""
    kept: dict[str, str] = {}
    for key, value in reading.named(node, what):
        name, text = key.text.lower(), read_line(reading, value, f"{what} {key.text}")
        if not _METADATA_NAME.match(name) or name.startswith("x-amz-"):
            expected = "expected a-z 0-9 - and _, not beginning with x-amz-"
            reading.error("bad-metadata-name", key, f"{what} {shown(key.text)} is not a name; {expected}")
        elif text is not None and not text.isascii():
            reading.error("bad-template", value, f"{what} {key.text} is not ASCII, which a header field must be")
        elif text is not None and _template(reading, value, f"{what} {key.text}", text) is not None:
            kept[name] = text
    return kept


def _template(reading: Reading, node: Node, what: str, text: str) -> str | None:
    try:
        parse_template(text)
    except Malformed as error:
        reading.error("bad-template", node, f"{what}: {error}")
        return None
    return text


def read_reply_code(reading: Reading, node: Node, what: str) -> str | None:
    """`550` is kept as "550", whether YAML took it for a number or not."""
    text = reading.text(node, what)
    if text is not None and not _REPLY_CODE.match(text):
        reading.error("bad-reply-code", node, f'{what} is {shown(text)}; expected a code of 4xx or 5xx, as in "550"')
        return None
    return text


def read_status_code(reading: Reading, node: Node, what: str) -> str | None:
    text = reading.text(node, what)
    if text is None or _STATUS_CODE.match(text):
        return text
    if _TWO_PARTS.match(text):
        hint = f'expected three parts in quotes, as in "{text}.0" or "{text}.1"'
    else:
        hint = 'expected class.subject.detail in quotes, as in "5.7.1"'
    reading.error("bad-status-code", node, f"{what} is {shown(text)}; {hint}")
    return None


def read_message(reading: Reading, node: Node, what: str) -> str | None:
    text = read_line(reading, node, what)
    if text is not None and len(text) > MESSAGE_CHARACTERS:
        reading.error("too-long", node, f"{what} has {len(text)} characters; at most {MESSAGE_CHARACTERS} are allowed")
        return None
    return text


def read_mailbox(reading: Reading, node: Node, what: str) -> str | None:
    text = reading.text(node, what)
    if text is None:
        return None
    try:
        return str(parse_mailbox(text))
    except Malformed as error:
        reading.error(
            "bad-address", node, f"{what} {shown(text)} is not an address ({error}); expected user@example.com"
        )
        return None


def read_url(reading: Reading, node: Node, what: str) -> str | None:
    """An absolute http or https URL; one with `${...}` is checked when it is resolved."""
    text = read_line(reading, node, what)
    if text is None or "${" in text:
        return text
    if not _is_url(text):
        reading.error(
            "bad-url", node, f"{what} {shown(text)} is not a URL; expected https://host/path or http://host/path"
        )
        return None
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    return usable and text.isascii() and " " not in text


def read_queue(reading: Reading, node: Node, what: str) -> str | None:
    """The ARN or URL of an SQS queue. SNS: a standard topic has no FIFO queues among its subscribers."""
    text = read_line(reading, node, what)
    if text is None or "${" in text:
        return text
    if not (_QUEUE_ARN.match(text) or _is_url(text)):
        expected = "expected arn:aws:sqs:REGION:ACCOUNT:NAME or the URL that SQS gives it"
        reading.error("bad-queue", node, f"{what} {shown(text)} is not a queue; {expected}")
        return None
    if text.endswith(".fifo"):
        reading.error("bad-queue", node, f"{what} {shown(text)} is a FIFO queue, which takes nothing from such a topic")
        return None
    return text


def read_header_map(reading: Reading, node: Node, what: str) -> dict[str, str] | None:
    """HTTP header fields, name to value."""
    fields: dict[str, str] = {}
    for key, value in reading.named(node, what):
        name = read_header_name(reading, key, f"{what} name")
        text = read_line(reading, value, f"{what} {key.text}")
        if name is not None and text is not None:
            fields[name] = text
    return fields


def is_runtime_interface(text: str) -> bool:
    """Whether it is the URL of a function in its container image (AWS Lambda: Runtime Interface Emulator)."""
    return _RUNTIME_INTERFACE.match(text) is not None


def read_function(reading: Reading, node: Node, what: str) -> str | None:
    text = reading.text(node, what)
    if text is None or _ARN.match(text) or _PYTHON.match(text) or is_runtime_interface(text) or "${" in text:
        return text
    if not text.startswith("python:") and _LOCAL_NAME.match(text):
        return text
    expected = (
        'expected "python:module:function", an ARN, or http://HOST:PORT/2015-03-31/functions/function/invocations'
    )
    reading.error("bad-function", node, f"{what} {shown(text)} is not a function; {expected}")
    return None


def read_arn(reading: Reading, node: Node, what: str) -> str | None:
    """An ARN or a local name (semantics.md §1)."""
    text = reading.text(node, what)
    if text is None or _ARN.match(text) or _LOCAL_NAME.match(text) or text.startswith("alias/") or "${" in text:
        return text
    reading.error("bad-arn", node, f"{what} {shown(text)} is neither an ARN nor a local name")
    return None


def read_topic(reading: Reading, node: Node, what: str) -> str | None:
    """An ARN, or the name of one of the book's topics."""
    text = read_arn(reading, node, what)
    if text is None or text.startswith("arn:") or "${" in text or text in reading.topics:
        return text
    expected = nearest(text, reading.topics) or "; write it under topics, or give an ARN"
    reading.error("unknown-topic", node, f"{what} names the topic {shown(text)}, which is not there{expected}")
    return None


def read_retry(reading: Reading, node: Node, what: str) -> int | None:
    """Seconds; 0 for never."""
    if isinstance(node, Scalar) and node.text == "0":
        return 0
    return reading.duration(node, what, most_days=MOST_RETRY_DAYS)


def read_size(reading: Reading, node: Node, what: str) -> int | None:
    """Octets."""
    return reading.octets(node, what)


Reader = Callable[[Reading, Node, str], Any]
