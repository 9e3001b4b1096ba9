"""The forms in which a webhook carries a message, by the word in the rules; adding one touches its file and one line here."""

from collections.abc import Callable

from actions.content_links import ContentLinks
from actions.protocol import Context
from actions.webhook_formats import gatepost_json, mailgun, postmark, sendgrid, ses
from mail.octets import whole

Format = Callable[[Context, ContentLinks | None], tuple[str, bytes]]
"""Content type and body for one attempt; the same for the same key and time."""


def raw_message(context: Context, links: ContentLinks | None) -> tuple[str, bytes]:  # noqa: ARG001
    """The message itself, our fields on top."""
    return "message/rfc822", whole(context.content)


FORMATS: dict[str, Format] = {
    "gatepost": gatepost_json.body,
    "mailgun": mailgun.body,
    "postmark": postmark.body,
    "raw": raw_message,
    "sendgrid": sendgrid.body,
    "ses": ses.body,
}
