"""sns: the message to a topic, in SES's notification with its content (SES: SNS action; semantics.md §1).

*Standards.* SES: at most 150 KB, measured over the message with its header before it is encoded.
*Failure.* As `actions.topic_publishing`. A message that is too large is published with a link in place of its content, or bounced
as SES does it.
"""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from actions.bounce import Bounce
from actions.content_links import ContentLinks
from actions.protocol import Context
from actions.ses_payload import compact_json, ses_objects
from actions.topic_publishing import TopicPublishing
from mail.octets import sha256, whole
from mail.outcome import Outcome
from mail.ses_json import notification
from mail.values import changed

LIMIT_OCTETS = 150 * 1024
# SES: the reply to a message that is too large for its topic.
_TOO_LARGE = {
    "smtp_reply_code": "552",
    "status_code": "5.2.3",
    "message": "Message length exceeds limit set by recipient",
}


class Sns:
    def __init__(self, publishing: TopicPublishing, bounce: Bounce, links: ContentLinks) -> None:
        self._publishing = publishing
        self._bounce = bounce
        self._links = links

    def destination(self, parameters: Mapping[str, Any]) -> str:
        return str(parameters.get("topic_arn") or "")

    async def run(self, context: Context) -> Outcome:
        octets = len(context.content)
        if octets <= LIMIT_OCTETS:
            return await self._publishing.publish(context, self._message)
        if context.parameters.get("oversize") == "bounce":
            # Note: the notice shows the header without our own fields, as SES's does here and nowhere else.
            outcome = await self._bounce.run(replace(context, parameters=dict(_TOO_LARGE), prepended=b""))
            return changed(
                outcome, detail=f"too large for a topic ({octets} octets), so not published: {outcome.detail}"
            )
        digest = await asyncio.to_thread(sha256, context.content)
        return await self._publishing.publish(context, lambda told: self._message(told, digest))

    def _message(self, context: Context, digest: str = "") -> str:
        """With `digest`, of the content, a link stands for it."""
        encoding = sns_encoding(context)
        mail, receipt = ses_objects(context, {"type": "SNS", "topicArn": context.topic_arn, "encoding": encoding})
        if not digest:
            return compact_json(notification(mail, receipt, _content(context, encoding))).decode()
        url = self._links.message(context.step, context.now)
        reference = {"url": url, "size": len(context.content), "sha256": digest}
        return compact_json({**notification(mail, receipt), "contentReference": reference}).decode()


def sns_encoding(context: Context) -> str:
    """SES's word for it."""
    return "BASE64" if str(context.parameters.get("encoding", "UTF-8")).upper() == "BASE64" else "UTF8"


def _content(context: Context, encoding: str) -> str:
    """As UTF-8, what is none replaced, or as base64 on one line."""
    content = whole(context.content)
    return base64.b64encode(content).decode("ascii") if encoding == "BASE64" else content.decode("utf-8", "replace")
