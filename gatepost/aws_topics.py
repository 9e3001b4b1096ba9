"""Real topics, over AWS's API: `actions.topics.Publisher`."""

from gatepost.aws import AwsClients


class AwsTopics:
    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    async def publish(self, topic_arn: str, subject: str, message: str) -> str:
        answer = await self._clients.call("sns", "publish", TopicArn=topic_arn, Subject=subject, Message=message)
        return str(answer["MessageId"])
