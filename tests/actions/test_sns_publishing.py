"""sns to local topics: the envelope, its signature, the handshake, and each subscriber for itself."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from acting import ID, NOW, RAW, context_of
from cryptography.exceptions import InvalidSignature
from sns_world import ARN, BASE, LINKS, Fixed, Topics, client, receiving, topic, topics_over, verify

from actions.bounce import Bounce
from actions.http_port import HttpReply
from actions.protocol import Context
from actions.sns import LIMIT_OCTETS, Sns
from actions.topics import Topic
from gatepost.http_client import AiohttpClient
from mail.address import Mailbox
from mail.delivery import DeliveryStatus
from mail.errors import Permanent, Temporary
from mail.outcome import Outcome, Result
from mail.values import changed
from spool.subscriptions import SubscriptionState


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
async def http() -> AsyncIterator[AiohttpClient]:
    made = client()
    yield made
    await made.close()


class Relay:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send(self, mail_from: Mailbox | None, rcpt_to: Mailbox, raw: bytes) -> DeliveryStatus:
        self.sent.append(raw)
        return DeliveryStatus(
            recipient=str(rcpt_to), action="relayed", status="2.0.0", diagnostic="ok", attempted_at=NOW
        )


def action(topics: Topics, relay: Relay | None = None) -> Sns:
    bounce = Bounce(relay, hostname="mx.example.com", organizational_domain=str)
    return Sns(topics.publishing, bounce, LINKS)


def context(to: Topic | None, raw: bytes = RAW, earlier: Outcome | None = None, **parameters: Any) -> Context:
    return context_of("sns", {"topic_arn": "inbound", **parameters}, raw=raw, topic=to, earlier=earlier)


def states(outcome: Outcome) -> list[tuple[str, str]]:
    return [(each["to"], each["state"]) for each in json.loads(outcome.data["subscribers"]).values()]


async def test_a_subscriber_gets_the_genuine_envelope_with_the_notification_inside(
    http: AiohttpClient, keys: Path
) -> None:
    async with receiving() as subscriber:
        outcome = await action(topics_over(http, keys)).run(context(topic(subscriber.url)))
    assert (outcome.result, outcome.detail) == (Result.DONE, "published to 1 of 1 subscriber")
    (got,) = subscriber.got
    assert list(got.json) == [
        *("Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp"),
        *("SignatureVersion", "Signature", "SigningCertURL", "UnsubscribeURL"),
    ]
    assert got.json["Type"] == "Notification"
    assert got.json["TopicArn"] == ARN
    assert got.json["Subject"] == "Amazon SES Email Receipt Notification"
    assert got.json["Timestamp"] == "2026-01-13T21:02:46.873Z"
    assert got.json["SigningCertURL"].startswith(f"{BASE}/SimpleNotificationService-")
    assert got.json["SigningCertURL"].endswith(".pem")
    assert got.json["UnsubscribeURL"].startswith(f"{BASE}/?Action=Unsubscribe&SubscriptionArn={ARN}:")
    assert got.body.startswith(b'{\n  "Type" : "Notification",\n  "MessageId" : "')
    assert str(uuid.UUID(got.json["MessageId"])) == got.json["MessageId"]
    message = got.message
    assert got.json["Message"].startswith('{"notificationType":"Received","mail":{"timestamp":"')
    assert list(message) == ["notificationType", "mail", "receipt", "content"]
    assert message["content"] == "X-Ours: yes\r\n" + RAW.decode()
    assert message["receipt"]["action"] == {"type": "SNS", "topicArn": ARN, "encoding": "UTF8"}


async def test_the_headers_are_those_of_sns(http: AiohttpClient, keys: Path) -> None:
    async with receiving() as subscriber:
        await action(topics_over(http, keys)).run(context(topic(subscriber.url)))
    headers = subscriber.got[0].headers
    assert headers["x-amz-sns-message-type"] == "Notification"
    assert headers["x-amz-sns-message-id"] == subscriber.got[0].json["MessageId"]
    assert headers["x-amz-sns-topic-arn"] == ARN
    assert headers["x-amz-sns-subscription-arn"].startswith(f"{ARN}:")
    assert headers["content-type"] == "text/plain; charset=UTF-8"
    assert headers["user-agent"] == "Amazon Simple Notification Service Agent"
    assert "x-amz-sns-rawdelivery" not in headers


@pytest.mark.parametrize("version", ["1", "2"])
async def test_the_signature_is_verified_with_the_certificate_that_we_serve(keys: Path, version: str) -> None:
    http = Fixed()
    topics = topics_over(http, keys)
    await action(topics).run(context(topic("https://h.example/a", signature_version=version)))
    ((_, _, body),) = http.to("a")
    message = json.loads(body)
    assert message["SignatureVersion"] == version
    certificate = await topics.signer.served(message["SigningCertURL"].rpartition("/")[2])
    assert certificate is not None
    verify(message, certificate)
    for name in ("Message", "Subject", "TopicArn", "Timestamp", "MessageId"):
        with pytest.raises(InvalidSignature):
            verify({**message, name: message[name] + "x"}, certificate)


async def test_raw_delivery_is_the_message_alone(keys: Path) -> None:
    http = Fixed()
    await action(topics_over(http, keys)).run(
        context(topic({"url": "https://h.example/a", "raw": True, "confirmed": True}))
    )
    ((_, headers, body),) = http.to("a")
    assert headers["x-amz-sns-rawdelivery"] == "true"
    assert json.loads(body)["notificationType"] == "Received"


async def test_base64_is_on_one_line_and_says_so(keys: Path) -> None:
    http = Fixed()
    raw = RAW + b"\xff\xfe\r\n" * 100
    await action(topics_over(http, keys)).run(context(topic("https://h.example/a"), raw, encoding="Base64"))
    message = json.loads(json.loads(http.to("a")[0][2])["Message"])
    assert message["receipt"]["action"]["encoding"] == "BASE64"
    assert base64.b64decode(message["content"], validate=True) == b"X-Ours: yes\r\n" + raw


async def test_utf8_replaces_what_it_cannot_hold_as_ses_does(keys: Path) -> None:
    http = Fixed()
    await action(topics_over(http, keys)).run(context(topic("https://h.example/a"), RAW + b"\xff\r\n"))
    message = json.loads(json.loads(http.to("a")[0][2])["Message"])
    assert message["receipt"]["action"]["encoding"] == "UTF8"
    assert message["content"].endswith("\ufffd\r\n")


async def test_a_repeated_attempt_is_recognised_by_its_id_and_says_the_same(keys: Path) -> None:
    http = Fixed(a=HttpReply(status=500))
    sns = action(topics_over(http, keys))
    first = await sns.run(context(topic("https://h.example/a")))
    assert first.result is Result.FAILED
    later = replace(context(topic("https://h.example/a"), earlier=first), now=NOW + timedelta(hours=1))
    await sns.run(later)
    bodies = [body for _, _, body in http.to("a")]
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]


async def test_one_dead_subscriber_repeats_nothing_to_the_others(keys: Path) -> None:
    http = Fixed(bad=HttpReply(status=500), gone=HttpReply(status=404))
    sns = action(topics_over(http, keys))
    to = topic("https://a.example/good", "https://b.example/bad", "https://c.example/gone")
    outcome = await sns.run(context(to))
    assert outcome.result is Result.FAILED
    assert states(outcome) == [("a.example:443", "delivered"), ("b.example:443", "retrying"), ("c.example:443", "dead")]
    assert outcome.detail == "published to 1 of 3 subscribers; b.example:443 HTTP 500; c.example:443 HTTP 404"
    http.answers["bad"] = HttpReply(status=200)
    outcome = await sns.run(context(to, earlier=changed(outcome, result=Result.RETRYING)))
    assert outcome.result is Result.DEAD, "one was given up, which nobody may overlook"
    assert [len(http.to(name)) for name in ("good", "bad", "gone")] == [1, 2, 1]
    http.answers["gone"] = HttpReply(status=200)
    outcome = await sns.run(context(to, earlier=outcome))
    assert outcome.result is Result.DONE, "a redrive takes up what was given up"
    assert [len(http.to(name)) for name in ("good", "bad", "gone")] == [1, 2, 2]


@pytest.mark.parametrize(
    ("reply", "result", "wait"),
    [
        (HttpReply(status=204), Result.DONE, None),
        (HttpReply(status=302), Result.FAILED, None),
        (HttpReply(status=400), Result.DEAD, None),
        (HttpReply(status=408), Result.FAILED, None),
        (HttpReply(status=429, headers={"retry-after": "30"}), Result.FAILED, 30.0),
        (HttpReply(status=503, headers={"retry-after": "7"}), Result.FAILED, 7.0),
        (Temporary("no complete reply within 15 s"), Result.FAILED, None),
        (Permanent("10.0.0.1 is private"), Result.DEAD, None),
    ],
)
async def test_a_reply_decides_as_it_does_for_sns(
    keys: Path, reply: HttpReply | Temporary, result: Result, wait: float | None
) -> None:
    outcome = await action(topics_over(Fixed(a=reply), keys)).run(context(topic("https://h.example/a")))
    assert (outcome.result, outcome.retry_after_seconds) == (result, wait)


async def test_a_topic_without_subscribers_has_handled_nothing(keys: Path) -> None:
    outcome = await action(topics_over(Fixed(), keys)).run(context(topic()))
    assert (outcome.result, outcome.detail) == (Result.SKIPPED, "the topic has no subscriber")


async def test_a_name_that_no_topic_stands_for_is_unmapped(keys: Path) -> None:
    outcome = await action(topics_over(Fixed(), keys)).run(context(None, topic_arn=ARN))
    assert outcome.result is Result.UNMAPPED


async def test_a_real_topic_goes_to_the_publisher(keys: Path) -> None:
    published: list[tuple[str, str, str]] = []

    class Aws:
        async def publish(self, topic_arn: str, subject: str, message: str) -> str:
            published.append((topic_arn, subject, message))
            return "id-of-aws"

    outcome = await action(topics_over(Fixed(), keys, publisher=Aws())).run(context(None, topic_arn=ARN))
    assert (outcome.result, outcome.data["sns_message_id"]) == (Result.DONE, "id-of-aws")
    ((arn, subject, message),) = published
    assert (arn, subject) == (ARN, "Amazon SES Email Receipt Notification")
    assert json.loads(message)["receipt"]["action"]["topicArn"] == ARN


async def test_a_pending_subscriber_is_asked_and_its_mail_waits(keys: Path) -> None:
    http = Fixed()
    topics = topics_over(http, keys)
    to = topic({"url": "https://h.example/a"})
    outcome = await action(topics).run(context(to))
    assert outcome.result is Result.FAILED
    assert outcome.detail == "published to 0 of 1 subscriber; h.example:443 has not confirmed its subscription yet"
    assert http.to("a") == []
    ((_, headers, body),) = http.to("a", "SubscriptionConfirmation")
    asked = json.loads(body)
    assert list(asked) == [
        *("Type", "MessageId", "Token", "TopicArn", "Message", "SubscribeURL", "Timestamp"),
        *("SignatureVersion", "Signature", "SigningCertURL"),
    ]
    assert "x-amz-sns-subscription-arn" not in headers
    assert asked["SubscribeURL"] == f"{BASE}/?Action=ConfirmSubscription&TopicArn={ARN}&Token={asked['Token']}"
    assert len(asked["Token"]) == 128
    certificate = await topics.signer.served(asked["SigningCertURL"].rpartition("/")[2])
    verify(asked, certificate or b"")
    assert topics.subscriptions.confirm(ARN, asked["Token"], NOW) is not None
    outcome = await action(topics).run(context(to, earlier=outcome))
    assert outcome.result is Result.DONE
    assert len(http.to("a")) == 1


async def test_a_subscriber_that_confirms_before_it_answers_gets_its_mail_at_once(
    http: AiohttpClient, keys: Path
) -> None:
    topics = topics_over(http, keys)

    async def confirm(got: Any) -> int:
        if got.kind == "SubscriptionConfirmation":
            topics.subscriptions.confirm(got.json["TopicArn"], got.json["Token"], NOW)
        return 200

    async with receiving(confirm) as subscriber:
        outcome = await action(topics).run(context(topic({"url": subscriber.url})))
    assert outcome.result is Result.DONE
    assert subscriber.kinds() == ["SubscriptionConfirmation", "Notification"]


async def test_waiting_mail_does_not_ask_again_and_again(keys: Path) -> None:
    http = Fixed()
    topics = topics_over(http, keys)
    to = topic({"url": "https://h.example/a"})
    for _ in range(5):
        await action(topics).run(context(to))
    assert len(http.to("a", "SubscriptionConfirmation")) == 1
    await action(topics).run(replace(context(to), now=NOW + timedelta(minutes=2)))
    assert len(http.to("a", "SubscriptionConfirmation")) == 2


async def test_who_has_unsubscribed_gets_nothing_and_holds_up_nobody(keys: Path) -> None:
    http = Fixed()
    topics = topics_over(http, keys)
    topics.subscriptions.end(topics.subscriptions.of(ARN, "https://h.example/a", NOW).arn, NOW)
    outcome = await action(topics).run(context(topic("https://h.example/a", "https://h.example/b")))
    assert outcome.result is Result.DONE
    assert (len(http.to("a")), len(http.to("b"))) == (0, 1)
    outcome = await action(topics).run(context(topic("https://h.example/a")))
    assert outcome.result is Result.SKIPPED


def large(octets: int) -> bytes:
    """A message whose content, our own field included, has so many octets."""
    ours = len(b"X-Ours: yes\r\n")
    return RAW + b"x" * (octets - ours - len(RAW) - 2) + b"\r\n"


async def test_exactly_150_kb_is_published_whole(keys: Path) -> None:
    http = Fixed()
    await action(topics_over(http, keys)).run(context(topic("https://h.example/a"), large(LIMIT_OCTETS)))
    assert len(json.loads(json.loads(http.to("a")[0][2])["Message"])["content"]) == LIMIT_OCTETS


async def test_above_150_kb_a_link_stands_in_place_of_the_content(keys: Path) -> None:
    http = Fixed()
    given = context(topic("https://h.example/a"), large(LIMIT_OCTETS + 1))
    outcome = await action(topics_over(http, keys)).run(given)
    assert outcome.result is Result.DONE
    message = json.loads(json.loads(http.to("a")[0][2])["Message"])
    assert "content" not in message
    assert message["contentReference"]["size"] == LIMIT_OCTETS + 1
    assert message["contentReference"]["url"].startswith(f"{BASE}/messages/{ID}/0/support/0?expires=")


async def test_or_it_is_bounced_as_ses_does(keys: Path) -> None:
    http, relay = Fixed(), Relay()
    given = context(topic("https://h.example/a"), large(LIMIT_OCTETS + 1), oversize="bounce")
    outcome = await action(topics_over(http, keys), relay).run(given)
    assert outcome.result is Result.DONE
    assert http.sent == []
    (notice,) = relay.sent
    assert b"Diagnostic-Code: smtp; 552 5.2.3 Message length exceeds limit set by recipient" in notice
    assert b"Status: 5.2.3" in notice
    assert b"X-Ours" not in notice, "the notice shows the header as it came"
    assert b"Subject: Hello" in notice


async def test_hostile_mail_cannot_write_into_the_headers_of_the_request(http: AiohttpClient, keys: Path) -> None:
    raw = RAW.replace(b"Hello", b"=?utf-8?q?x=0D=0Ax-amz-sns-topic-arn:_forged?=")
    async with receiving() as subscriber:
        await action(topics_over(http, keys)).run(context(topic(subscriber.url), raw))
    assert subscriber.got[0].headers["x-amz-sns-topic-arn"] == ARN
    assert "\r" not in subscriber.got[0].message["mail"]["commonHeaders"]["subject"]


async def test_a_subscribers_password_is_in_no_outcome(keys: Path) -> None:
    outcome = await action(topics_over(Fixed(a=HttpReply(status=500)), keys)).run(
        context(topic("https://user:hunter2@h.example/a"))
    )
    assert "hunter2" not in repr(outcome)


def test_a_token_confirms_its_own_topic_only_and_for_three_days(keys: Path) -> None:
    subscriptions = topics_over(Fixed(), keys).subscriptions
    made = subscriptions.of(ARN, "https://h.example/a", NOW)
    assert subscriptions.confirm(f"{ARN}2", made.token, NOW) is None
    assert subscriptions.confirm(ARN, "", NOW) is None
    assert subscriptions.confirm(ARN, made.token[:-1], NOW) is None
    assert subscriptions.confirm(ARN, made.token, NOW + timedelta(days=3)) is None
    assert subscriptions.of(ARN, "https://h.example/a", NOW).state is SubscriptionState.PENDING
    asked = subscriptions.ask(made, NOW + timedelta(days=3), at_least_apart=timedelta(minutes=1))
    assert asked is not None
    assert asked.token != made.token
    assert subscriptions.confirm(ARN, asked.token, NOW + timedelta(days=3)) is not None
