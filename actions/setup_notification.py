"""The object that says that a rule may write to its bucket (SES: AMAZON_SES_SETUP_NOTIFICATION).

SES writes it when a rule with an S3 action is made or changed; consumers know it by its name and pass over it.
"""

import logging
from datetime import datetime
from email.utils import format_datetime

from actions.buckets import Buckets
from actions.object_key import object_key
from mail.errors import GatepostError, Malformed
from mail.headers import header_field
from rules.model import ActionSpec, RuleBook
from rules.object_keys import Placeholder, parse_template

NAME = "AMAZON_SES_SETUP_NOTIFICATION"
log = logging.getLogger("gatepost.actions")
_TEXT = (
    "This object was written when the rule set became active whose rules store received mail in this S3 bucket.\r\n"
    "It shows that the bucket takes objects from this gateway; it is no mail that anybody sent, and may be deleted.\r\n"
    "Each message that a rule stores here becomes an object whose name ends with the id of the message, under the\r\n"
    "prefix that the rule gives. Programs that read the bucket pass over this one by its name.\n"
)


def setup_message(now: datetime) -> bytes:
    """The object's content, in SES's form: header fields, a short text, and a bare LF at the very end."""
    fields = {
        "Date": format_datetime(now),
        "To": "recipient@example.com",
        "From": "Amazon Web Services <no-reply-aws@amazon.com>",
        "Subject": "Amazon SES Setup Notification",
    }
    return b"".join(header_field(name, value) for name, value in fields.items()) + b"\r\n" + _TEXT.encode()


def setup_keys(book: RuleBook) -> list[tuple[str, str, str]]:
    """Bucket, key and role for each bucket and prefix of the active rule set's enabled rules, each once."""
    found = {}
    for rule in book.rule_set.rules:
        for spec in rule.actions if rule.enabled else ():
            if spec.type == "s3":
                key = object_key(_fixed_prefix(spec), NAME)
                role = str(spec.parameters.get("iam_role_arn") or "")
                found[str(spec.parameters["bucket_name"]), key] = role
    return [(bucket, key, role) for (bucket, key), role in found.items()]


async def write_setup_notifications(book: RuleBook, buckets: Buckets, now: datetime) -> int:
    """How many were written. One that fails is logged: the mail itself will be tried again, and say why."""
    written = 0
    for bucket, key, role in setup_keys(book):
        try:
            await buckets.put(bucket, key, setup_message(now), {}, role=role)
            written += 1
        except GatepostError as error:
            log.warning("the setup notification s3://%s/%s was not written: %s", bucket, key, error)
    return written


def _fixed_prefix(spec: ActionSpec) -> str:
    """The prefix up to what differs from message to message; "" for what the environment would fill."""
    text = str(spec.parameters.get("object_key_prefix") or "")
    try:
        template = parse_template(text)
    except Malformed:
        return ""
    fixed = ""
    for piece in template:
        if isinstance(piece, Placeholder) or "${" in piece:
            return fixed[: fixed.rfind("/") + 1]
        fixed += piece
    return fixed
