"""SNS's own envelope: what a subscriber over HTTP gets, and the text that its signature is over. Pure.

*Standards.* SNS: HTTP/HTTPS notification, subscription confirmation and unsubscribe confirmation JSON formats; HTTP/HTTPS headers;
verifying the signatures of messages (SignatureVersion 1: SHA1withRSA, 2: SHA256withRSA, both over the same text).
"""

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from urllib.parse import quote

from mail.ses_json import timestamp

NOTIFICATION, CONFIRMATION, FAREWELL = "Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"
CONTENT_TYPE = "text/plain; charset=UTF-8"
USER_AGENT = "Amazon Simple Notification Service Agent"

_IDS = uuid.UUID("8e1f3b4d-96ab-5f0f-9a64-1c1f2f3b0c11")  # ours: names are keys of steps and tokens of subscriptions
_SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    FAREWELL: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


class Signer(Protocol):
    """The key that messages to subscribers are signed with, and where its certificate is found."""

    async def certificate_url(self) -> str: ...

    async def sign(self, text: bytes, version: str) -> bytes:
        """PKCS #1 v1.5, over SHA-1 for version "1" and SHA-256 for "2"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Urls:
    """Our own URLs that subscribers may visit. `base` has no slash at its end."""

    base: str

    def subscribe(self, topic_arn: str, token: str) -> str:
        return f"{self.base}/?Action=ConfirmSubscription&TopicArn={_quoted(topic_arn)}&Token={token}"

    def unsubscribe(self, subscription_arn: str) -> str:
        return f"{self.base}/?Action=Unsubscribe&SubscriptionArn={_quoted(subscription_arn)}"


def _quoted(arn: str) -> str:
    return quote(arn, safe=":")


def message_id_of(name: str) -> str:
    """A UUID that is the same for every attempt (SNS: a resent message keeps its id)."""
    return str(uuid.uuid5(_IDS, name))


async def notification_body(
    signer: Signer, urls: Urls, *, fields: Mapping[str, str], at: datetime, version: str, subscription_arn: str
) -> bytes:
    """`fields` are TopicArn, MessageId, Message and perhaps Subject."""
    known = {"Type": NOTIFICATION, **fields, "Timestamp": timestamp(at)}
    signed = await _signed(signer, known, version)
    order = ("Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp")
    return written(
        {
            **{name: signed[name] for name in order if name in signed},
            **{name: signed[name] for name in ("SignatureVersion", "Signature", "SigningCertURL")},
            "UnsubscribeURL": urls.unsubscribe(subscription_arn),
        }
    )


async def handshake_body(
    signer: Signer,
    urls: Urls,
    *,
    kind: str,
    topic_arn: str,
    subscription_arn: str,
    token: str,
    at: datetime,
    version: str,
) -> tuple[str, bytes]:
    """The message id and body of a SubscriptionConfirmation, or of an UnsubscribeConfirmation, whose token takes it back."""
    if kind == CONFIRMATION:
        text = (
            f"You have chosen to subscribe to the topic {topic_arn}.\n"
            "To confirm the subscription, visit the SubscribeURL included in this message."
        )
    else:
        text = (
            f"You have chosen to deactivate subscription {subscription_arn}.\n"
            "To cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
        )
    known = {
        "Type": kind,
        "MessageId": message_id_of(f"{kind} {token} {timestamp(at)}"),
        "Token": token,
        "TopicArn": topic_arn,
        "Message": text,
        "SubscribeURL": urls.subscribe(topic_arn, token),
        "Timestamp": timestamp(at),
    }
    return known["MessageId"], written(await _signed(signer, known, version))


async def _signed(signer: Signer, known: Mapping[str, str], version: str) -> dict[str, str]:
    signature = await signer.sign(text_to_sign(known), version)
    return {
        **known,
        "SignatureVersion": version,
        "Signature": base64.b64encode(signature).decode("ascii"),
        "SigningCertURL": await signer.certificate_url(),
    }


def text_to_sign(message: Mapping[str, str]) -> bytes:
    """Each signed name that is there and its value, a line each, in the order of the bytes."""
    lines = (f"{name}\n{message[name]}\n" for name in _SIGNED[message["Type"]] if name in message)
    return "".join(lines).encode("utf-8", "replace")


def written(message: Mapping[str, str]) -> bytes:
    """SNS's layout: two spaces, and one before each colon."""
    text = json.dumps(message, ensure_ascii=False, indent=2, separators=(",", " : "))
    return text.encode("utf-8", "replace")


def headers_of(
    kind: str, *, message_id: str, topic_arn: str, subscription_arn: str = "", raw: bool = False
) -> dict[str, str]:
    headers = {
        "x-amz-sns-message-type": kind,
        "x-amz-sns-message-id": message_id,
        "x-amz-sns-topic-arn": topic_arn,
        "content-type": CONTENT_TYPE,
        "user-agent": USER_AGENT,
    }
    if subscription_arn:
        headers["x-amz-sns-subscription-arn"] = subscription_arn
    if raw:
        headers["x-amz-sns-rawdelivery"] = "true"
    return headers
