"""Real topics and queues, over AWS's API: `actions.topics.Publisher` and `actions.topics.Queues`.

The region is the one that the ARN or URL names, as SNS and SQS are asked nowhere else for what is in it.
"""

import re
from typing import Any

from gatepost.aws import AwsClients, region_of

_HOST = re.compile(r"https://(?:sqs\.([a-z0-9-]+)\.amazonaws\.com|([a-z0-9-]+)\.queue\.amazonaws\.com)[./]")


class AwsTopics:
    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    async def publish(self, topic_arn: str, subject: str, message: str) -> str:
        answer = await self._clients.call(
            "sns", "publish", region=_region(topic_arn), TopicArn=topic_arn, Subject=subject, Message=message
        )
        return str(answer["MessageId"])


class AwsQueues:
    """An ARN's queue is asked for its URL each time: one that was deleted and made anew is found."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    async def send(self, queue: str, body: str) -> str:
        def put(client: Any) -> str:
            answer = client.send_message(QueueUrl=_url(client, queue), MessageBody=body)
            return str(answer["MessageId"])

        return await self._clients.run("sqs", put, region=_region(queue))


def _url(client: Any, queue: str) -> str:
    if not queue.startswith("arn:"):
        return queue
    *_, account, name = queue.split(":")
    return str(client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"])


def _region(named: str) -> str:
    """ "" where neither ARN nor URL says."""
    if named.startswith("arn:"):
        return region_of(named)
    found = _HOST.match(named)
    return (found.group(1) or found.group(2)) if found else ""
