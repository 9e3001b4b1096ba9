"""Publishing to a topic: each subscriber asked, told and retried for itself (SES: SNS action; semantics.md §1 and §4).

What became of each subscriber stands in the outcome's data, so a dead one repeats nothing to the others: an attempt sends only
what is left. A pending subscriber is asked to confirm and its message waits; nothing is published past it, as SNS would.

*Trust.* A subscriber's URL is the operator's; where it leads is judged by the HTTP client. Its reply is not believed beyond status
and Retry-After.
*Failure.* 2xx is success; 4xx but 408 and 429 ends it for that subscriber (SNS: client-side errors); all else is tried again.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from actions.http_port import HttpClient, HttpReply
from actions.protocol import Context, Parked
from actions.sns_envelope import (
    CONFIRMATION,
    FAREWELL,
    NOTIFICATION,
    Signer,
    Urls,
    handshake_body,
    headers_of,
    message_id_of,
    notification_body,
)
from actions.topics import Publisher, Queues, Subscriber, Topic
from actions.webhook import host_and_port, retry_after
from mail.errors import Permanent, Temporary
from mail.outcome import Outcome, Result
from mail.ses_json import NOTIFICATION_SUBJECT
from spool.subscriptions import Subscription, Subscriptions, SubscriptionState

TIMEOUT_SECONDS = 15.0  # SNS: a subscriber must answer within 15 seconds
ASKED_APART = timedelta(seconds=60)
_AT_ONCE = 16
DELIVERED, RETRYING, DEAD, ENDED = "delivered", "retrying", "dead", "ended"
_PUBLISHED_AT, _SUBSCRIBERS, _MESSAGE_ID = "published_at", "subscribers", "sns_message_id"

# SQS takes XML's characters only; in JSON these two may stand as escapes, and stand nowhere but in its strings.
_NO_CHARACTER = re.compile("[\ufffe\uffff]")

Compose = Callable[[Context], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of one subscriber."""

    state: str
    to: str
    detail: str
    wait_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    id: str
    text: str
    at: datetime


class TopicPublishing:
    """`subscriptions` is called when they are first needed; `publisher` None: real topics have no target here;
    `queues` None: no queue can be reached.
    """

    def __init__(
        self,
        http: HttpClient,
        subscriptions: Callable[[], Subscriptions],
        signer: Signer,
        urls: Urls,
        publisher: Publisher | None = None,
        queues: Queues | None = None,
    ) -> None:
        self._http, self._subscriptions = http, subscriptions
        self._signer, self._urls = signer, urls
        self._publisher, self._queues = publisher, queues

    async def publish(self, context: Context, compose: Compose) -> Outcome:
        """`compose` gives the message: the same in every attempt, so it is made as of the first one, or as of a redrive."""
        earlier = context.earlier.data if context.earlier is not None else {}
        redriven = context.earlier is not None and context.earlier.result is Result.DEAD
        first = _PUBLISHED_AT not in earlier or redriven
        at = context.now if first else datetime.fromisoformat(earlier[_PUBLISHED_AT])
        text = compose(replace(context, now=at))
        if context.topic is None:
            return await self._publish_real(context.topic_arn, text)
        message = _Message(id=message_id_of(context.step.key), text=text, at=at)
        done = _settled(earlier, redriven=redriven)
        limit = asyncio.Semaphore(_AT_ONCE)

        async def deliver(topic: Topic, subscriber: Subscriber) -> Told:
            async with limit:
                return await self._deliver(topic, subscriber, message, context.now)

        left = [subscriber for subscriber in context.topic.subscribers if subscriber.id not in done]
        told = await asyncio.gather(*(deliver(context.topic, subscriber) for subscriber in left))
        states = {**done, **{subscriber.id: each for subscriber, each in zip(left, told, strict=True)}}
        return _outcome(message, states)

    async def ask(self, topic: Topic, subscriber: Subscriber, now: datetime) -> None:
        """Ask a subscriber that is pending and was not asked a moment ago. Raises `Temporary` or `Permanent`."""
        if not subscriber.confirmed:
            await self._asked(topic, self._subscriptions().of(topic.arn, subscriber.endpoint, now), now)

    async def say_farewell(self, subscription: Subscription, now: datetime) -> None:
        """Tell a subscriber that it was unsubscribed, and how to take that back. Raises `Temporary` or `Permanent`."""
        await self._hand_shake(FAREWELL, subscription, "1", now)

    async def _publish_real(self, topic_arn: str, text: str) -> Outcome:
        if self._publisher is None or not topic_arn.startswith("arn:"):
            return Outcome(result=Result.UNMAPPED, detail=f"no local topic stands for {topic_arn or 'an empty name'}")
        identifier = await self._publisher.publish(topic_arn, NOTIFICATION_SUBJECT, text)
        return Outcome(result=Result.DONE, detail=f"published to {topic_arn}", data={_MESSAGE_ID: identifier})

    async def _deliver(self, topic: Topic, subscriber: Subscriber, message: _Message, now: datetime) -> Told:
        place = _place(subscriber)
        try:
            subscription = self._subscriptions().of(topic.arn, subscriber.endpoint, now)
            if subscription.state is SubscriptionState.PENDING and not subscriber.confirmed:
                subscription = await self._asked(topic, subscription, now)
            if subscription.state is SubscriptionState.ENDED:
                return Told(state=ENDED, to=place, detail="unsubscribed")
            if subscription.state is SubscriptionState.PENDING and not subscriber.confirmed:
                return Told(state=RETRYING, to=place, detail="has not confirmed its subscription yet")
            return await self._send(topic, subscriber, subscription, message, now)
        except Temporary as error:
            return Told(state=RETRYING, to=place, detail=str(error))
        except (Permanent, Parked) as error:  # parking the step would forget who has the message
            return Told(state=DEAD, to=place, detail=str(error))

    async def _send(
        self, topic: Topic, subscriber: Subscriber, subscription: Subscription, message: _Message, now: datetime
    ) -> Told:
        if subscriber.raw:
            body = message.text.encode("utf-8", "replace")
        else:
            body = await self._enveloped(topic, subscription, message)
        if subscriber.queue:
            return await self._enqueue(subscriber, body)
        headers = headers_of(
            NOTIFICATION,
            message_id=message.id,
            topic_arn=topic.arn,
            subscription_arn=subscription.arn,
            raw=subscriber.raw,
        )
        reply = await self._http.post(subscriber.endpoint, headers, body, TIMEOUT_SECONDS)
        return _judged(reply, _place(subscriber), now)

    async def _enveloped(self, topic: Topic, subscription: Subscription, message: _Message) -> bytes:
        return await notification_body(
            self._signer,
            self._urls,
            fields={
                "TopicArn": topic.arn,
                "MessageId": message.id,
                "Subject": NOTIFICATION_SUBJECT,
                "Message": message.text,
            },
            at=message.at,
            version=topic.signature_version,
            subscription_arn=subscription.arn,
        )

    async def _enqueue(self, subscriber: Subscriber, body: bytes) -> Told:
        """SES publishes no message attributes, so a raw message has none either."""
        if self._queues is None:
            raise Permanent("no client for queues")
        text = _NO_CHARACTER.sub(lambda found: f"\\u{ord(found.group()):04x}", body.decode())
        identifier = await self._queues.send(subscriber.endpoint, text)
        return Told(state=DELIVERED, to=_place(subscriber), detail=f"queued as {identifier}")

    async def _asked(self, topic: Topic, subscription: Subscription, now: datetime) -> Subscription:
        """The subscription after its subscriber was asked; many confirm before they answer."""
        asked = self._subscriptions().ask(subscription, now, at_least_apart=ASKED_APART)
        if asked is not None:
            await self._hand_shake(CONFIRMATION, asked, topic.signature_version, now)
        return self._subscriptions().of(subscription.topic_arn, subscription.url, now)

    async def _hand_shake(self, kind: str, subscription: Subscription, version: str, now: datetime) -> None:
        identifier, body = await handshake_body(
            self._signer,
            self._urls,
            kind=kind,
            topic_arn=subscription.topic_arn,
            subscription_arn=subscription.arn,
            token=subscription.token,
            at=now,
            version=version,
        )
        arn = "" if kind == CONFIRMATION else subscription.arn
        headers = headers_of(kind, message_id=identifier, topic_arn=subscription.topic_arn, subscription_arn=arn)
        await self._http.post(subscription.url, headers, body, TIMEOUT_SECONDS)


def _place(subscriber: Subscriber) -> str:
    """What is shown of an endpoint: never a password, a path or an account."""
    if subscriber.queue:
        return f"queue {re.split('[:/]', subscriber.endpoint)[-1]}"
    return host_and_port(subscriber.endpoint)


def _settled(earlier: Mapping[str, str], *, redriven: bool) -> dict[str, Told]:
    """The subscribers that earlier attempts are through with; a redrive takes up the dead ones again."""
    final = (DELIVERED,) if redriven else (DELIVERED, DEAD)
    known = json.loads(earlier.get(_SUBSCRIBERS, "{}"))
    return {key: Told(**each) for key, each in known.items() if each["state"] in final}


def _judged(reply: HttpReply, place: str, now: datetime) -> Told:
    detail = f"HTTP {reply.status}"
    if 200 <= reply.status < 300:
        return Told(state=DELIVERED, to=place, detail=detail)
    if 400 <= reply.status < 500 and reply.status not in (408, 429):
        return Told(state=DEAD, to=place, detail=detail)
    wait = retry_after(reply.headers.get("retry-after", ""), now) if reply.status in (429, 503) else None
    return Told(state=RETRYING, to=place, detail=detail, wait_seconds=wait)


def _outcome(message: _Message, states: Mapping[str, Told]) -> Outcome:
    """Retried while anybody may still be reached; then dead if anybody was given up."""
    found = {told.state for told in states.values()}
    delivered = sum(told.state == DELIVERED for told in states.values())
    known = {key: {"state": told.state, "to": told.to, "detail": told.detail[:200]} for key, told in states.items()}
    data = {
        _MESSAGE_ID: message.id,
        _PUBLISHED_AT: message.at.isoformat(),
        _SUBSCRIBERS: json.dumps(known, separators=(",", ":")),
    }
    if not found - {ENDED}:
        return Outcome(result=Result.SKIPPED, detail="the topic has no subscriber", data=data)
    behind = [f"{told.to} {told.detail}" for told in states.values() if told.state != DELIVERED]
    detail = "; ".join([f"published to {delivered} of {len(states)} {_subscribers(len(states))}", *behind[:5]])
    waits = [told.wait_seconds for told in states.values() if told.wait_seconds is not None]
    if RETRYING in found:
        wait = min(waits) if waits else None
        return Outcome(result=Result.FAILED, detail=detail, data=data, retry_after_seconds=wait)
    return Outcome(result=Result.DEAD if DEAD in found else Result.DONE, detail=detail, data=data)


def _subscribers(count: int) -> str:
    return "subscriber" if count == 1 else "subscribers"
