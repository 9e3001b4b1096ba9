"""What subscribers of local topics may ask of us, in the form of SNS's own API (SNS: Query API, 2010-03-31).

ConfirmSubscription and Unsubscribe are what SubscribeURL and UnsubscribeURL lead to, and what an SDK calls; Subscribe begins the
handshake again for a subscriber that the active rule book names.

*Trust.* Anybody may ask. A token or a subscription's ARN is proof of itself; Subscribe takes no endpoint but those of the rule
book, so nobody can have mail sent to himself, and nothing that is asked for is ever fetched.
*Failure.* SNS's error document: 400, 403 or 404.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape

from actions.topics import Subscriber, Topic
from mail.errors import GatepostError
from spool.subscriptions import Subscription, Subscriptions

log = logging.getLogger("gatepost.topics")
_NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`body` is XML."""

    status: int
    body: bytes


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class TopicApi:
    """`topics` gives the active book's; `ask` and `say_farewell` are `TopicPublishing`'s.

    `on_confirmed` is told the topic's ARN: mail may wait for this subscriber.
    """

    def __init__(
        self,
        subscriptions: Callable[[], Subscriptions],
        *,
        topics: Callable[[], list[Topic]],
        ask: Callable[[Topic, Subscriber, datetime], Awaitable[None]],
        say_farewell: Callable[[Subscription, datetime], Awaitable[None]],
        on_confirmed: Callable[[str], Awaitable[None]],
        clock: Callable[[], datetime],
    ) -> None:
        self._on_confirmed = on_confirmed
        self._subscriptions, self._topics = subscriptions, topics
        self._ask, self._say_farewell, self._clock = ask, say_farewell, clock
        self._actions = {
            "ConfirmSubscription": self._confirm,
            "Unsubscribe": self._unsubscribe,
            "Subscribe": self._subscribe,
        }

    async def answer(self, parameters: Mapping[str, str]) -> Answer:
        action = parameters.get("Action", "")
        try:
            run = self._actions.get(action)
            if run is None:
                raise _Refused(400, "InvalidAction", "The action is not one of this endpoint.")
            arn = await run(parameters)
        except _Refused as refused:
            return Answer(status=refused.status, body=_error(refused.code, str(refused)))
        return Answer(status=200, body=_result(action, arn))

    async def _confirm(self, parameters: Mapping[str, str]) -> str:
        topic_arn, token = parameters.get("TopicArn", ""), parameters.get("Token", "")
        guarded = parameters.get("AuthenticateOnUnsubscribe", "").lower() == "true"
        found = self._subscriptions().confirm(topic_arn, token, self._clock(), guarded=guarded)
        if found is None:
            raise _Refused(400, "InvalidParameter", "Invalid parameter: Token")
        log.info("a subscription of %s is confirmed", found.topic_arn)
        await self._on_confirmed(found.topic_arn)
        return found.arn

    async def _unsubscribe(self, parameters: Mapping[str, str]) -> str:
        now = self._clock()
        found = self._subscriptions().end(parameters.get("SubscriptionArn", ""), now)
        if found is None:
            raise _Refused(404, "NotFound", "Subscription does not exist")
        if found.guarded:
            raise _Refused(
                403, "AuthorizationError", "It was confirmed with AuthenticateOnUnsubscribe: the rules end it"
            )
        log.warning("a subscription of %s has ended: its subscriber asked for that", found.topic_arn)
        if not self._is_queue(found):
            await _told(self._say_farewell(found, now))
        return ""

    def _is_queue(self, subscription: Subscription) -> bool:
        """SNS says no farewell to a queue: nobody there could visit a URL."""
        subscribers = (
            each for topic in self._topics() if topic.arn == subscription.topic_arn for each in topic.subscribers
        )
        return any(each.queue and each.endpoint == subscription.url for each in subscribers)

    async def _subscribe(self, parameters: Mapping[str, str]) -> str:
        named, endpoint = parameters.get("TopicArn", ""), parameters.get("Endpoint", "")
        topic = next((topic for topic in self._topics() if topic.arn == named), None)
        subscriber = next((each for each in topic.subscribers if each.endpoint == endpoint), None) if topic else None
        if topic is None or subscriber is None:
            raise _Refused(403, "AuthorizationError", "The endpoint is not a subscriber of this topic in the rules")
        now = self._clock()
        self._subscriptions().renew(topic.arn, subscriber.endpoint, now)
        await _told(self._ask(topic, subscriber, now))
        return "pending confirmation"


async def _told(telling: Awaitable[None]) -> None:
    """A subscriber that cannot be reached changes nothing of what was asked; it is asked again when there is mail for it."""
    try:
        await telling
    except GatepostError as error:
        log.warning("a subscriber could not be told: %s", error)


def _result(action: str, arn: str) -> bytes:
    inner = ""
    if action != "Unsubscribe":
        inner = f"<{action}Result><SubscriptionArn>{escape(arn)}</SubscriptionArn></{action}Result>"
    request = f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
    return f'<{action}Response xmlns="{_NAMESPACE}">{inner}{request}</{action}Response>'.encode()


def _error(code: str, message: str) -> bytes:
    what = f"<Error><Type>Sender</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    return f'<ErrorResponse xmlns="{_NAMESPACE}">{what}<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>'.encode()
