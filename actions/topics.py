"""Topics of the rule book, and what publishing to one needs of the world (SES: SNS action; semantics.md §1).

A rule names a topic by its name in `topics` or by its ARN. A topic without an ARN of its own has one made of its name, in the
account that stands for no account, because subscribers expect an ARN.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

_LOCAL_ARN = "arn:aws:sns:us-east-1:000000000000:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """`endpoint` is a URL, or the URL or ARN of a `queue` of SQS.

    `raw`: it gets the message without SNS's envelope. `confirmed`: the operator vouches for it, nothing is asked of it; a queue is
    never asked.
    """

    endpoint: str
    queue: bool = False
    raw: bool = False
    confirmed: bool = False

    @property
    def id(self) -> str:
        """What the ledger calls it; a URL may hold a password."""
        return hashlib.sha256(self.endpoint.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic with its subscribers. `signature_version` is "1" (SHA-1) or "2" (SHA-256), as SNS's attribute of that name."""

    name: str
    arn: str
    subscribers: tuple[Subscriber, ...] = ()
    signature_version: str = "1"


class Publisher(Protocol):
    """Real topics, over AWS's API."""

    async def publish(self, topic_arn: str, subject: str, message: str) -> str:
        """The message id. Raises `Temporary` or `Permanent`."""


class Queues(Protocol):
    """SQS, over AWS's API or what speaks it."""

    async def send(self, queue: str, body: str) -> str:
        """Put one message into a queue, named by URL or ARN; its id. Raises `Temporary`, `Permanent` or `Parked`."""


def find_topic(topics: Mapping[str, Any], named: str) -> tuple[str, Mapping[str, Any]] | None:
    """A topic of the rule book, and its name, by name or ARN; None if there is none such."""
    if not named:
        return None
    if named in topics:
        return named, topics[named]
    return next(((name, topic) for name, topic in topics.items() if arn_of(name, topic) == named), None)


def arn_of(name: str, topic: Mapping[str, Any]) -> str:
    return str(topic.get("arn") or _LOCAL_ARN + name)


def topic_of(name: str, topic: Mapping[str, Any]) -> Topic:
    """The topic as a value; `${NAME}` in it is resolved already. A subscriber that is named twice counts once."""
    subscribers = {each.endpoint: each for each in map(_subscriber, topic.get("subscribers", ()))}
    return Topic(
        name=name,
        arn=arn_of(name, topic),
        subscribers=tuple(subscribers.values()),
        signature_version=str(topic.get("signature_version", "1")),
    )


def _subscriber(known: Mapping[str, Any]) -> Subscriber:
    queue = str(known.get("sqs", ""))
    return Subscriber(
        endpoint=queue or str(known["url"]),
        queue=bool(queue),
        raw=known.get("raw", False),
        confirmed=bool(queue) or known.get("confirmed", False),
    )
