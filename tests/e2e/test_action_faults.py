"""What the world does to actions, over hours of simulated time: after the repair every action has run, and the ledger says how.

The runner, the spool on disk, the actions and the sockets are the real ones; only the clock is moved by the test.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_server import without_real_aws
from moto.server import ThreadedMotoServer

from actions import webhook as webhook_action
from actions.deliver import Deliver
from actions.disk import Disk
from actions.object_store import ObjectStore
from actions.protocol import Action
from actions.s3 import S3
from actions.sns import Sns
from actions.topic_notification import TYPE, TopicNotification
from actions.webhook import Webhook
from gatepost.aws_topics import AwsTopics
from gatepost.http_client import AiohttpClient
from gatepost.onward import onward_of
from gatepost.settings import Settings
from gatepost.storage import Storage, storage_of
from mail.address import parse_mailbox
from mail.outcome import Result
from rules.model import ActionSpec
from spool.database import open_spool
from spool.ports import JobState, MessageState
from tests.small_disk import small_disk

sys.path.append(str(Path(__file__).parents[1] / "actions"))
from acting import ID, NOW, RAW, House, Told, book_of, disk, listening, rule, webhook
from sns_world import LINKS, topics_over

REGION, HOUR = "eu-west-1", 3600
TOPIC = f"arn:aws:sns:{REGION}:123456789012:mail"
KEY = b"k" * 32


@asynccontextmanager
async def running(directory: Path, *specs: ActionSpec, **actions: Action) -> AsyncIterator[House]:
    house = House(
        book_of(rule("all", *specs)), actions, open=lambda: open_spool(directory, 0, ballast_octets=0)
    ).start()
    try:
        yield house
    finally:
        await house.stop()
        await house.spool.close()


async def for_hours(house: House, hours: float) -> None:
    """Let so much time pass, and every attempt happen that falls due in it; one may be due and wait for a paused destination."""
    end = house.clock.now.timestamp() + hours * HOUR
    while (due := await house.spool.next_due()) is not None and due.timestamp() <= end:
        await house.pass_time(max(5.0, (due - house.clock.now).total_seconds()))
    await house.pass_time(end - house.clock.now.timestamp())


async def outcome(house: House, action: str) -> tuple[Result, int, str]:
    (row,) = [row for row in await house.ledger() if row.action == action]
    return row.result, row.attempts, row.detail


def files(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.rglob("*") if each.is_file())


async def redrive(house: House) -> None:
    """`gatepost queue retry` for all that is dead."""
    dead = [job.id for job in await house.jobs() if job.state is JobState.DEAD]
    assert dead
    await house.spool.change_jobs(dead, JobState.READY, house.clock())
    await house.pass_time(0)


@pytest.fixture
def port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found: int = taken.getsockname()[1]
        return found


@pytest.fixture
def aws(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Starts a server that speaks AWS on that port and gives its clients; until then nobody is there."""
    without_real_aws(monkeypatch)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    started: list[ThreadedMotoServer] = []

    def start() -> Any:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
        started.append(server)
        return lambda service: boto3.client(service, endpoint_url=f"http://127.0.0.1:{port}", region_name=REGION)

    yield start
    for server in started:
        server.stop()


async def storage_at(url: str, directory: Path, **more: Any) -> Storage:
    return storage_of(Settings(data=directory, aws_endpoint=url, aws_region=REGION, s3_addressing="path", **more))


async def test_a_bucket_that_is_down_for_an_hour_has_every_message_afterwards(
    tmp_path: Path, port: int, aws: Callable[[], Any]
) -> None:
    storage = await storage_at(f"http://127.0.0.1:{port}", tmp_path)
    spec = ActionSpec(type="s3", parameters={"bucket_name": "faults"})
    behind = Told()
    async with running(tmp_path, spec, disk(), s3=S3(storage.buckets, storage.encryption), disk=behind) as house:
        await house.deliver()
        assert len(behind.seen) == 1, "nothing waits for the bucket"
        await for_hours(house, 1)
        result, attempts, detail = await outcome(house, "s3")
        assert (result, attempts >= 6, "connect" in detail) == (Result.RETRYING, True, True)
        assert await house.state() is MessageState.RETRYING
        s3 = aws()("s3")
        s3.create_bucket(Bucket="faults", CreateBucketConfiguration={"LocationConstraint": REGION})
        await for_hours(house, 0.5)
        result, later, _ = await outcome(house, "s3")
        assert (result, later) == (Result.DONE, attempts + 1)
        assert s3.get_object(Bucket="faults", Key=ID)["Body"].read() == RAW
        assert (await house.state(), await house.jobs()) == (MessageState.DONE, [])
    await storage.clients.close()


async def test_a_bucket_that_is_down_all_day_is_redriven(tmp_path: Path, port: int, aws: Callable[[], Any]) -> None:
    storage = await storage_at(f"http://127.0.0.1:{port}", tmp_path)
    spec = ActionSpec(type="s3", parameters={"bucket_name": "redriven", "retry_for": 600})
    async with running(tmp_path, spec, s3=S3(storage.buckets, storage.encryption)) as house:
        await house.deliver()
        await for_hours(house, 24)
        assert ((await outcome(house, "s3"))[0], await house.state()) == (Result.DEAD, MessageState.DEAD)
        s3 = aws()("s3")
        s3.create_bucket(Bucket="redriven", CreateBucketConfiguration={"LocationConstraint": REGION})
        await redrive(house)
        assert ((await outcome(house, "s3"))[0], await house.state()) == (Result.DONE, MessageState.DONE)
        assert s3.get_object(Bucket="redriven", Key=ID)["Body"].read() == RAW
    await storage.clients.close()


async def test_kms_that_denies_keeps_the_object_from_being_written_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_real_aws(monkeypatch)
    granted: list[str] = []

    async def kms(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        asked = json.loads(await reader.readexactly(length))
        told, status = {"__type": "AccessDeniedException", "message": "not authorized: kms:GenerateDataKey"}, 400
        if granted:
            blob, plain = (base64.b64encode(each).decode() for each in (b"wrapped", KEY))
            told, status = {"CiphertextBlob": blob, "Plaintext": plain, "KeyId": asked["KeyId"]}, 200
        body = json.dumps(told).encode()
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body)
        await writer.drain()

    async with listening(kms) as kms_port:
        storage = await storage_at(f"http://127.0.0.1:{kms_port}", tmp_path, keys_provider="aws")
        action = Disk(ObjectStore(), tmp_path, storage.encryption)
        async with running(tmp_path, disk("mail", kms_key_arn="alias/mail"), disk=action) as house:
            await house.deliver()
            await for_hours(house, 5)
            result, attempts, detail = await outcome(house, "disk")
            assert (result, attempts > 10) == (Result.DEAD, True)
            assert "AccessDeniedException: not authorized: kms:GenerateDataKey" in detail
            assert files(tmp_path / "mail") == []
            granted.append("yes")
            await redrive(house)
            assert ((await outcome(house, "disk"))[0], await house.state()) == (Result.DONE, MessageState.DONE)
            assert RAW not in (tmp_path / "mail" / ID).read_bytes()
        await storage.clients.close()


async def test_a_topic_that_is_gone_gets_its_message_when_it_is_there_again(
    tmp_path: Path, port: int, aws: Callable[[], Any]
) -> None:
    client = aws()
    storage = await storage_at(f"http://127.0.0.1:{port}", tmp_path)
    publishing = topics_over(None, tmp_path, publisher=AwsTopics(storage.clients)).publishing
    spec = ActionSpec(type="sns", parameters={"topic_arn": TOPIC})
    actions: dict[str, Action] = {
        "sns": Sns(publishing, None, LINKS),  # type: ignore[arg-type]
        TYPE: TopicNotification(publishing),
        "disk": Disk(ObjectStore(), tmp_path, None),
    }
    async with running(tmp_path, spec, disk("mail", topic_arn=TOPIC), **actions) as house:
        await house.deliver()
        await for_hours(house, 1)
        assert (await outcome(house, "disk"))[0] is Result.DONE
        for action in ("sns", TYPE):
            result, attempts, detail = await outcome(house, action)
            assert (result, attempts >= 4, "NotFound" in detail) == (Result.RETRYING, True, True)
        sqs, sns = client("sqs"), client("sns")
        assert sns.create_topic(Name="mail")["TopicArn"] == TOPIC
        queue = sqs.create_queue(QueueName="faults")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=arn)
        await for_hours(house, 0.5)
        assert (await house.state(), await house.jobs()) == (MessageState.DONE, [])
        got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        kinds = [json.loads(json.loads(each["Body"])["Message"])["receipt"]["action"]["type"] for each in got]
        assert sorted(kinds) == ["S3", "SNS"]
    await storage.clients.close()


async def test_a_webhook_that_does_everything_wrong_is_tried_until_it_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_action, "TIMEOUT_SECONDS", 0.3)
    ids: list[str] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        ids.append(head.partition("webhook-id: ")[2].partition("\r\n")[0])
        match len(ids):
            case 1:  # it hangs
                await reader.read(-1)
            case 2:
                writer.write(b"HTTP/1.1 500 Broken\r\nContent-Length: 4\r\nConnection: close\r\n\r\nouch")
            case 3:  # it dribbles
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while True:
                    writer.write(b".")
                    await writer.drain()
                    await asyncio.sleep(0.02)
            case 4:  # 20 MB
                writer.write(b"HTTP/1.1 503 Later\r\nRetry-After: 1200\r\nContent-Length: 20000000\r\n\r\n")
                for _ in range(20):
                    writer.write(b"x" * 1_000_000)
                    await writer.drain()
            case 5:
                writer.write(b"HTTP/1.1 302 There\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
            case 6:
                writer.write(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            case _:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()

    http = AiohttpClient()
    async with listening(receive) as at:
        hook = webhook(f"http://127.0.0.1:{at}/in")
        async with running(tmp_path, hook, webhook=Webhook(http)) as house:
            await house.deliver()
            said = [(await outcome(house, "webhook"))[2]]
            began = house.clock.now
            for _ in range(5):
                due = await house.spool.next_due()
                assert due is not None
                await house.pass_time((due - house.clock.now).total_seconds())
                said.append((await outcome(house, "webhook"))[2])
            assert (house.clock.now - began).total_seconds() > 1200, "Retry-After was honoured"
            assert [each[:30] for each in said] == [
                "no complete reply within 0.3 s",
                "HTTP 500: ouch",
                "no complete reply within 0.3 s",
                "HTTP 503: xxxxxxxxxxxxxxxxxxxx",
                "HTTP 302, redirects are not fo",
                "HTTP 410",
            ]
            assert (await outcome(house, "webhook"))[:2] == (Result.DEAD, 6)
            await redrive(house)
            assert ((await outcome(house, "webhook"))[0], await house.state()) == (Result.DONE, MessageState.DONE)
    await http.close()
    assert len(ids) == 7
    assert set(ids) == {f"{ID}/0/all/0"}, "it is the same message each time"


async def test_lmtp_that_takes_two_of_three_gets_the_third_alone(tmp_path: Path) -> None:
    three = tuple(parse_mailbox(f"{name}@example.com") for name in ("anna", "bert", "carl"))
    answers = {"bert": b"452 4.2.2 full\r\n"}
    asked: list[list[str]] = []

    async def lmtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        recipients: list[str] = []
        while line := await reader.readline():
            command = line.upper()
            if command.startswith(b"RCPT"):
                recipients.append(line.decode().partition("<")[2].partition("@")[0])
            if command.startswith(b"DATA"):
                asked.append(recipients)
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"".join(answers.get(each, b"250 2.0.0 stored\r\n") for each in recipients))
                recipients = []
            else:
                writer.write(b"221 bye\r\n" if command.startswith(b"QUIT") else b"250 ok\r\n")
            await writer.drain()

    async with listening(lmtp) as at:
        spec = ActionSpec(type="deliver", parameters={"lmtp": f"127.0.0.1:{at}", "retry_for": 600})
        action = Deliver(onward_of(Settings(), None, "mx.example.com", lambda: NOW), tmp_path)
        async with running(tmp_path, spec, deliver=action) as house:
            await house.deliver(recipients=three)
            assert (await outcome(house, "deliver"))[0] is Result.RETRYING
            await for_hours(house, 1)
            result, attempts, detail = await outcome(house, "deliver")
            assert (result, attempts > 3, "bert@example.com" in detail) == (Result.DEAD, True, True)
            assert asked == [["anna", "bert", "carl"], *[["bert"]] * (attempts - 1)]
            answers.clear()
            await redrive(house)
            assert ((await outcome(house, "deliver"))[0], await house.state()) == (Result.DONE, MessageState.DONE)
            (row,) = await house.ledger()
            assert [key for key in row.data if key.startswith("to:")] == [f"to:{each}" for each in three]
    assert asked[-1] == ["bert"]


@pytest.fixture
def small_store(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "store", megabytes=2) as where:
        yield where


async def test_a_store_whose_disk_is_full_has_the_whole_object_when_there_is_room(
    tmp_path: Path, small_store: Path
) -> None:
    raw = RAW + b"x" * 70 + b"\r\n"
    raw += (b"y" * 70 + b"\r\n") * 4000
    filler = small_store / "filler"
    room = os.statvfs(small_store)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - 64 * 1024)
    store = ObjectStore()
    async with running(tmp_path / "var", disk(str(small_store)), disk=Disk(store, tmp_path, None)) as house:
        await house.deliver(raw)
        await for_hours(house, 0.2)
        result, attempts, detail = await outcome(house, "disk")
        assert (result, attempts > 3, "No space left" in detail) == (Result.RETRYING, True, True)
        assert files(small_store) == ["filler"]
        filler.unlink()
        await for_hours(house, 0.5)
        assert ((await outcome(house, "disk"))[0], await house.state()) == (Result.DONE, MessageState.DONE)
        assert (small_store / ID).read_bytes() == raw
    await store.close()
