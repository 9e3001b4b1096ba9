"""sns to queues of SQS: the same envelope without a handshake, raw delivery, and each queue for itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from acting import RAW, context_of
from sns_world import ARN, LINKS, Fixed, topic, topics_over, verify

from actions.bounce import Bounce
from actions.http_port import HttpReply
from actions.protocol import Parked
from actions.sns import Sns
from mail.errors import GatepostError, Permanent, Temporary
from mail.outcome import Outcome, Result

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:mail"
OTHER = "https://sqs.eu-west-1.amazonaws.com/123456789012/other"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


class Queues:
    def __init__(self, **answers: GatepostError) -> None:
        self.answers = answers
        self.sent: list[tuple[str, str]] = []

    async def send(self, queue: str, body: str) -> str:
        error = self.answers.get(queue.replace(":", "/").rpartition("/")[2])
        if error is not None:
            raise error
        self.sent.append((queue, body))
        return "6b6ad7ac"


async def published(
    keys: Path, queues: Queues | None, *subscribers: Any, raw: bytes = RAW, earlier: Outcome | None = None
) -> tuple[Outcome, Fixed]:
    http = Fixed(a=HttpReply(status=200))
    topics = topics_over(http, keys, queues=queues)
    action = Sns(topics.publishing, Bounce(None, hostname="mx.example.com", organizational_domain=str), LINKS)
    context = context_of("sns", {"topic_arn": "inbound"}, raw=raw, topic=topic(*subscribers), earlier=earlier)
    outcome = await action.run(context)
    if queues is not None and earlier is None:
        for _, body in queues.sent:
            if '"SigningCertURL"' in body:
                message = json.loads(body)
                certificate = await topics.signer.served(message["SigningCertURL"].rpartition("/")[2])
                assert certificate is not None
                verify(message, certificate)
    return outcome, http


async def test_a_queue_gets_the_signed_envelope_without_being_asked(keys: Path) -> None:
    queues = Queues()
    outcome, http = await published(keys, queues, {"sqs": QUEUE})
    assert (outcome.result, outcome.detail) == (Result.DONE, "published to 1 of 1 subscriber")
    ((queue, body),) = queues.sent
    message = json.loads(body)
    assert (queue, message["Type"], message["TopicArn"]) == (QUEUE, "Notification", ARN)
    assert json.loads(message["Message"])["content"] == "X-Ours: yes\r\n" + RAW.decode()
    assert message["UnsubscribeURL"].startswith("http://mx.example.com/?Action=Unsubscribe&SubscriptionArn=")
    assert http.sent == []


async def test_raw_delivery_is_the_notification_alone(keys: Path) -> None:
    queues = Queues()
    await published(keys, queues, {"sqs": QUEUE, "raw": True})
    ((_, body),) = queues.sent
    assert list(json.loads(body)) == ["notificationType", "mail", "receipt", "content"]


@pytest.mark.parametrize("is_raw", [False, True])
async def test_characters_that_sqs_refuses_stand_as_escapes(keys: Path, is_raw: bool) -> None:
    raw = RAW + "\ufffe\uffff\x00\x08\x1b \ud7ff \U0010ffff\r\n".encode()
    queues = Queues()
    await published(keys, queues, {"sqs": QUEUE, "raw": is_raw}, raw=raw)
    ((_, body),) = queues.sent
    allowed = [*"\t\n\r"]
    assert [
        c for c in body if not (c in allowed or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff")
    ] == []
    message = json.loads(body) if is_raw else json.loads(json.loads(body)["Message"])
    assert message["content"].encode().endswith(raw)


async def test_each_queue_is_retried_for_itself(keys: Path) -> None:
    queues = Queues(mail=Temporary("SendMessage: AWS.SimpleQueueService.NonExistentQueue: gone"))
    first, http = await published(keys, queues, {"sqs": QUEUE}, {"sqs": OTHER}, "https://h.example/a")
    assert first.result is Result.FAILED
    assert first.detail == (
        "published to 2 of 3 subscribers; queue mail SendMessage: AWS.SimpleQueueService.NonExistentQueue: gone"
    )
    assert "123456789012" not in first.data["subscribers"]
    queues.answers.clear()
    second, _ = await published(keys, queues, {"sqs": QUEUE}, {"sqs": OTHER}, "https://h.example/a", earlier=first)
    assert second.result is Result.DONE
    assert [queue for queue, _ in queues.sent] == [OTHER, QUEUE]
    assert len({json.loads(body)["MessageId"] for _, body in queues.sent}) == 1
    assert len(http.sent) == 1


@pytest.mark.parametrize("error", [Permanent("too long"), Parked("no AWS credentials are found")])
async def test_what_cannot_go_right_by_itself_is_given_up_and_redriven(keys: Path, error: GatepostError) -> None:
    queues = Queues(mail=error)
    first, http = await published(keys, queues, {"sqs": QUEUE}, "https://h.example/a")
    assert first.result is Result.DEAD
    assert str(error) in first.detail
    assert len(http.sent) == 1, "nobody else is held up"
    queues.answers.clear()
    second, again = await published(keys, queues, {"sqs": QUEUE}, "https://h.example/a", earlier=first)
    assert (second.result, len(queues.sent), len(again.sent)) == (Result.DONE, 1, 0)


async def test_a_queue_that_was_unsubscribed_gets_nothing(keys: Path) -> None:
    queues = Queues()
    topics = topics_over(Fixed(), keys, queues=queues)
    to = topic({"sqs": QUEUE})
    subscription = topics.subscriptions.of(ARN, QUEUE, context_of("sns", {}).now)
    topics.subscriptions.end(subscription.arn, context_of("sns", {}).now)
    action = Sns(topics.publishing, Bounce(None, hostname="mx.example.com", organizational_domain=str), LINKS)
    outcome = await action.run(context_of("sns", {"topic_arn": "inbound"}, topic=to))
    assert (outcome.result, queues.sent) == (Result.SKIPPED, [])
