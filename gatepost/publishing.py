"""Settings become what topics and signed links need: our URLs, keys, subscriptions, and who is told to confirm them."""

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from actions.content_links import ContentLinks
from actions.http_port import HttpClient
from actions.placeholders import resolve
from actions.sns_envelope import Urls
from actions.topic_publishing import TopicPublishing
from actions.topics import Publisher, Queues, Topic, topic_of
from gatepost.kept_file import kept
from gatepost.settings import Settings
from gatepost.sns_signer import SnsSigner
from mail.errors import GatepostError, Permanent
from rules.model import RuleBook
from spool.ports import Job, JobChange, JobKind, JobQuery, JobState, NotFound, Recorded, Spool
from spool.subscriptions import Subscriptions, SubscriptionState, open_subscriptions

log = logging.getLogger("gatepost.topics")
DEFAULT_LISTEN = ("127.0.0.1", 2580)
_SUBSCRIPTIONS, _SECRET = "topics.db", "link-secret"
_LOOK_SECONDS = 5.0
_DUE_AT_ONCE = 10_000
_SECRET_OCTETS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """What is opened or made in the state directory is so when it is first used."""

    topics: TopicPublishing
    links: ContentLinks
    signer: SnsSigner
    subscriptions: Callable[[], Subscriptions]
    close: Callable[[], None]


def publishing_of(
    settings: Settings,
    http: HttpClient,
    *,
    base_url: str,
    hostname: str,
    clock: Callable[[], datetime],
    publisher: Publisher | None = None,
    queues: Queues | None = None,
) -> Publishing:
    """`base_url` is where our listener is reached, without a slash at its end."""
    certificates = settings.sns_certificate_url.rstrip("/") or base_url
    signer = SnsSigner(settings.data, certificates, hostname, clock)
    opened: list[Subscriptions] = []

    def subscriptions() -> Subscriptions:
        if not opened:
            opened.append(open_subscriptions(settings.data / _SUBSCRIPTIONS))
        return opened[0]

    def close() -> None:
        while opened:
            opened.pop().close()

    links = ContentLinks(
        base=base_url,
        secret=cache(lambda: _secret(settings.data / _SECRET)),
        lifetime_seconds=settings.http_link_lifetime,
    )
    topics = TopicPublishing(http, subscriptions, signer, Urls(base=base_url), publisher, queues)
    return Publishing(topics=topics, links=links, signer=signer, subscriptions=subscriptions, close=close)


def base_url_of(settings: Settings, addresses: Sequence[str], hostname: str) -> str:
    """The setting, else the first listener's address, else the one that would be the default."""
    if settings.http_public_url:
        return settings.http_public_url.rstrip("/")
    if not addresses:
        return f"http://{DEFAULT_LISTEN[0]}:{DEFAULT_LISTEN[1]}"
    host, _, port = addresses[0].rpartition(":")
    return f"http://{hostname if host in ('0.0.0.0', '[::]') else host}:{port}"  # noqa: S104 - it is compared, not bound


def needs_listener(book: RuleBook) -> bool:
    """Whether somebody will come to us: a subscriber to confirm, or a receiver for what is too large to send along."""
    return any(_comes_to_us(each) for topic in book.topics.values() for each in topic.get("subscribers", ())) or any(
        spec.type == "sns" or (spec.type == "webhook" and spec.parameters.get("format") == "gatepost")
        for rule in book.rule_set.rules
        if rule.enabled
        for spec in rule.actions
    )


def _comes_to_us(subscriber: Mapping[str, Any]) -> bool:
    """For the certificate, or to confirm."""
    return not (subscriber.get("raw") and (subscriber.get("confirmed") or subscriber.get("sqs")))


def topics_of(book: RuleBook) -> list[Topic]:
    """The book's topics with `${NAME}` resolved; one whose name is not set is left out until it is."""
    found = []
    for name, topic in book.topics.items():
        try:
            found.append(topic_of(name, resolve(topic, os.environ)))
        except GatepostError as error:
            log.warning("topic %s: %s", name, error)
    return found


async def keep_asking(publishing: Publishing, active: Callable[[], RuleBook], clock: Callable[[], datetime]) -> None:
    """Ask each subscriber of the active book once when it is new; later its mail asks (`actions.topic_publishing`)."""
    seen = ""
    while True:
        book = active()
        if book.digest != seen:
            seen = book.digest
            for topic in topics_of(book):
                await _ask(publishing, topic, clock())
        await asyncio.sleep(_LOOK_SECONDS)


async def keep_noticing(
    publishing: Publishing,
    active: Callable[[], RuleBook],
    confirmed: Callable[[str], Awaitable[None]],
    clock: Callable[[], datetime],
    *,
    look_seconds: float = _LOOK_SECONDS,
) -> None:
    """Tell `confirmed` the ARN of each topic whose pending subscriber has confirmed, whichever of our processes was told."""
    pending: set[tuple[str, str]] = set()
    seen = ""
    watched: tuple[tuple[str, str], ...] = ()
    while True:
        book = active()
        if book.digest != seen:
            seen, watched = book.digest, tuple(_to_be_asked(topics_of(book)))
        try:
            states = {each: publishing.subscriptions().of(*each, clock()).state for each in watched}
            done = {arn for arn, endpoint in pending if states.get((arn, endpoint)) is SubscriptionState.CONFIRMED}
            pending = {each for each, state in states.items() if state is SubscriptionState.PENDING}
            for topic_arn in sorted(done):
                await confirmed(topic_arn)
        except GatepostError as error:
            log.warning("whether subscribers have confirmed is not known: %s", error)
        await asyncio.sleep(look_seconds)


def _to_be_asked(topics: Sequence[Topic]) -> Iterator[tuple[str, str]]:
    """ARN and endpoint of each subscriber that has to confirm."""
    for topic in topics:
        for subscriber in topic.subscribers:
            if not subscriber.confirmed:
                yield topic.arn, subscriber.endpoint


async def make_due(spool: Spool, topics: Sequence[Topic], topic_arn: str, now: datetime) -> None:
    """Let the steps that wait for a subscriber of this topic be tried now; how long they may last stays as it was."""
    for place in dict.fromkeys((topic_arn, *(topic.name for topic in topics if topic.arn == topic_arn))):
        waiting = await spool.jobs(JobQuery(state=JobState.READY, destination=place, limit=_DUE_AT_ONCE))
        later = [job for job in waiting if job.kind is JobKind.STEP and job.not_before > now]
        await asyncio.gather(*(_due(spool, job, now) for job in later))


async def _due(spool: Spool, job: Job, now: datetime) -> None:
    change = JobChange(id=job.id, state=JobState.READY, not_before=now, last=job.last, was=JobState.READY)
    with contextlib.suppress(NotFound):  # it became due by itself meanwhile
        await spool.record(Recorded(message_id=job.message_id, job=change))


async def _ask(publishing: Publishing, topic: Topic, now: datetime) -> None:
    for subscriber in topic.subscribers:
        if subscriber.confirmed:
            continue
        try:
            if publishing.subscriptions().of(topic.arn, subscriber.endpoint, now).state is SubscriptionState.PENDING:
                await publishing.topics.ask(topic, subscriber, now)
        except GatepostError as error:
            log.warning("topic %s: a subscriber could not be asked to confirm: %s", topic.name, error)


def _secret(path: Path) -> bytes:
    """The key of signed links. `Permanent`: the file holds something else."""
    secret = kept(path, lambda: secrets.token_bytes(_SECRET_OCTETS))
    if len(secret) != _SECRET_OCTETS:
        raise Permanent(f"{path} is no key of {_SECRET_OCTETS} octets")
    return secret
