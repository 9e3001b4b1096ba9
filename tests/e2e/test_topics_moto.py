"""Topics and queues against a server that speaks SNS and SQS: what comes out of a queue is what SES would have put there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_server import CREDENTIALS, aws_server, without_real_aws
from gateway_process import GatewayProcess, Start, until
from sample_gateway import ZONE
from sns_validator import Invalid, validate
from webhook_sink import Sink

from gatepost.aws import AwsClients, AwsSettings
from gatepost.aws_topics import AwsQueues, AwsTopics
from mail.errors import Permanent, Temporary

REGION, ELSEWHERE = "eu-west-1", "us-west-2"
RAW = "From: a@b.example\r\nTo: support@example.com\r\nSubject: Grüße\r\n\r\nGood day, \u2026 \ufffe.\r\n".encode()
RULES = """\
version: 1
domains: [example.com]
topics:
  local:
    arn: arn:aws:sns:eu-west-1:123456789012:local
    signature_version: VERSION
    subscribers:
      - {sqs: QUEUE}
      - {sqs: URL, raw: true}
      - {url: SINK}
rule_sets:
  default:
    - name: support
      recipients: [support@example.com]
      actions:
        - disk: {path: mail, object_key_prefix: in/, topic_arn: TOPIC}
        - sns: {topic_arn: TOPIC, encoding: Base64}
        - sns: {topic_arn: local}
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with aws_server() as found:
        yield found


class Aws:
    """A topic with a queue behind it, and two queues for ours, under names of their own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sns, self.sqs = self.client("sns"), self.client("sqs")
        name = f"t{uuid.uuid4().hex[:12]}"
        self.topic = self.sns.create_topic(Name=name)["TopicArn"]
        self.queues = {
            each: self.sqs.create_queue(QueueName=f"{name}-{each}")["QueueUrl"] for each in ("sns", "a", "b")
        }
        self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=self.arn("sns"))

    def client(self, service: str, region: str = REGION) -> Any:
        return boto3.client(service, endpoint_url=self.url, region_name=region)

    def arn(self, queue: str) -> str:
        found: str = self.sqs.get_queue_attributes(QueueUrl=self.queues[queue], AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]
        return found

    def received(self, queue: str) -> list[dict[str, Any]]:
        url = self.queues[queue]
        return self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get(
            "Messages", []
        )


@pytest.fixture
def aws(url: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    without_real_aws(monkeypatch)
    return Aws(url)


def started(gateway: Start, aws: Aws, sink: Sink, directory: Path, version: str) -> GatewayProcess:
    rules = RULES.replace("TOPIC", aws.topic).replace("QUEUE", f'"{aws.arn("a")}"').replace("SINK", f'"{sink.url}"')
    rules = rules.replace("URL", f'"{aws.queues["b"]}"').replace("VERSION", version)
    config = directory / "gatepost.yaml"
    config.write_text(
        f"data: {directory / 'var'}\nhttp: {{listen: [127.0.0.1:0]}}\naws: {{endpoint: '{aws.url}', region: {REGION}}}\n"
    )
    return gateway(rules=rules, dns=ZONE, config=config, variables=CREDENTIALS)


@pytest.mark.parametrize("version", ["1", "2"])
def test_what_comes_out_of_each_queue_is_a_notification_of_ses(
    gateway: Start, aws: Aws, sink: Sink, tmp_path: Path, version: str
) -> None:
    running = started(gateway, aws, sink, tmp_path, version)
    host = json.loads(running.ready_file.read_text())["http"][0]
    (asked,) = until(lambda: list(sink.calls), "the handshake")
    validate(json.loads(asked.body), host=host)

    message_id = running.deliver(RAW, rcpt_to=["support@example.com"])
    from_sns = [json.loads(each["Body"]) for each in until(lambda: aws.received("sns"), "two messages by SNS")]
    while len(from_sns) < 2:
        from_sns += [json.loads(each["Body"]) for each in until(lambda: aws.received("sns"), "the other message")]
    assert {each["TopicArn"] for each in from_sns} == {aws.topic}
    assert {each["Subject"] for each in from_sns} == {"Amazon SES Email Receipt Notification"}
    told = {(body := json.loads(each["Message"]))["receipt"]["action"]["type"]: body for each in from_sns}
    assert told["S3"]["receipt"]["action"]["objectKey"] == f"in/{message_id}"
    assert "content" not in told["S3"]
    assert told["SNS"]["receipt"]["action"] == {"type": "SNS", "topicArn": aws.topic, "encoding": "BASE64"}

    (enveloped,) = until(lambda: aws.received("a"), "the envelope")
    ours = json.loads(enveloped["Body"])
    validate(ours, host=host)
    # The very keys that SNS writes, and the notification that SES writes into them.
    assert set(ours) == set(from_sns[0])
    (raw,) = until(lambda: aws.received("b"), "the raw message")
    assert raw["Body"] == ours["Message"].replace("\ufffe", "\\ufffe")
    assert "MessageAttributes" not in raw
    notification = json.loads(ours["Message"])
    assert_is_of_ses(notification, message_id)
    assert list(notification) == list(told["SNS"])
    assert notification["content"].encode().endswith(RAW)

    # The one that has not confirmed gets its message when it does, not at the next attempt minutes later.
    confirming = boto3.client("sns", endpoint_url=f"http://{host}", region_name=REGION)
    token = json.loads(asked.body)["Token"]
    confirming.confirm_subscription(TopicArn=ours["TopicArn"], Token=token)
    (late,) = until(
        lambda: [call for call in sink.calls if call.headers["x-amz-sns-message-type"] == "Notification"], "the rest"
    )
    validate(json.loads(late.body), host=host)
    assert json.loads(late.body)["MessageId"] == ours["MessageId"]
    running.wait_done(message_id)
    assert aws.received("a") == [], "who has the message is not sent it again"
    for name in ("Message", "MessageId", "Subject", "Timestamp", "TopicArn"):
        with pytest.raises(Invalid):
            validate({**ours, name: ours[name] + " "}, host=host)
    with pytest.raises(Invalid):
        validate({**ours, "SigningCertURL": ours["SigningCertURL"].replace(host, "mallory.example")}, host=host)


def assert_is_of_ses(told: dict[str, Any], message_id: str) -> None:
    """Keys and types of the sheet's captured notifications (spec: JSON payloads)."""
    assert list(told) == ["notificationType", "mail", "receipt", "content"]
    assert told["notificationType"] == "Received"
    mail, receipt = told["mail"], told["receipt"]
    assert list(mail) == [
        *("timestamp", "source", "messageId", "destination", "headersTruncated", "headers", "commonHeaders")
    ]
    assert mail["messageId"] == message_id
    assert mail["headersTruncated"] is False
    assert mail["destination"] == ["support@example.com"]
    assert {"name": "Subject", "value": "Grüße"} in mail["headers"]
    assert list(mail["commonHeaders"]) == ["returnPath", "from", "to", "subject"]
    assert receipt["timestamp"] == mail["timestamp"]
    assert isinstance(receipt["processingTimeMillis"], int)
    assert receipt["recipients"] == ["support@example.com"]
    for name in ("spam", "virus", "spf", "dkim", "dmarc"):
        assert list(receipt[f"{name}Verdict"]) == ["status"]
    assert ("dmarcPolicy" in receipt) == (receipt["dmarcVerdict"]["status"] == "FAIL")


async def test_a_topic_and_a_queue_are_reached_in_their_own_region(aws: Aws) -> None:
    sqs = aws.client("sqs", ELSEWHERE)
    queue = sqs.create_queue(QueueName=f"q{uuid.uuid4().hex[:12]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns = aws.client("sns", ELSEWHERE)
    topic = sns.create_topic(Name=f"t{uuid.uuid4().hex[:12]}")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    clients = AwsClients(AwsSettings(region=REGION, endpoints={"": aws.url}))
    try:
        await AwsQueues(clients).send(arn, "one")
        await AwsTopics(clients).publish(topic, "Subject", "two")
    finally:
        await clients.close()
    got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert sorted("two" if '"Message"' in each["Body"] else each["Body"] for each in got) == ["one", "two"]


@pytest.mark.parametrize(
    "queue",
    ["arn:aws:sqs:eu-west-1:123456789012:nobody", "https://sqs.eu-west-1.amazonaws.com/123456789012/nobody"],
)
async def test_a_queue_that_is_gone_is_tried_again(aws: Aws, queue: str) -> None:
    clients = AwsClients(AwsSettings(region=REGION, endpoints={"": aws.url}))
    with pytest.raises(Temporary, match=r"NonExistentQueue|QueueDoesNotExist"):
        await AwsQueues(clients).send(queue, "x")
    await clients.close()


async def test_what_sqs_never_takes_is_given_up(aws: Aws) -> None:
    clients = AwsClients(AwsSettings(region=REGION, endpoints={"": aws.url}))
    with pytest.raises(Permanent):
        await AwsQueues(clients).send(aws.arn("a"), "x" * (2 << 20))
    await clients.close()


async def test_a_topic_that_is_gone_is_tried_again(aws: Aws) -> None:
    clients = AwsClients(AwsSettings(region=REGION, endpoints={"": aws.url}))
    aws.sns.delete_topic(TopicArn=aws.topic)
    with pytest.raises(Temporary, match="NotFound"):
        await AwsTopics(clients).publish(aws.topic, "Subject", "x")
    await clients.close()
