"""SES's notification with `content`, as an SNS action publishes it (SES: SNS action)."""

import base64

from actions.content_links import ContentLinks
from actions.protocol import Context
from actions.ses_payload import compact_json, ses_objects
from mail.octets import whole
from mail.ses_json import notification


def body(context: Context, links: ContentLinks | None) -> tuple[str, bytes]:  # noqa: ARG001
    encoding, content = _content(context)
    action = {"type": "SNS", "topicArn": context.topic_arn, "encoding": encoding}
    mail, receipt = ses_objects(context, action)
    return "application/json", compact_json(notification(mail, receipt, content))


def _content(context: Context) -> tuple[str, str]:
    """Bytes that are no UTF-8 are sent as BASE64, losslessly."""
    if str(context.parameters.get("encoding", "UTF-8")).upper() != "BASE64":
        try:
            return "UTF8", whole(context.content).decode()
        except UnicodeDecodeError:
            pass  # SES replaces what it cannot decode; nobody could tell then what was sent
    return "BASE64", base64.b64encode(whole(context.content)).decode("ascii")
