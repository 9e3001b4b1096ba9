"""A disk store with mail in it, the S3 endpoint in front of it, and boto3 clients with what was issued to a function's process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from acting import ID, RAW, context_of
from botocore.config import Config

from actions.disk import Disk
from actions.object_store import ObjectStore
from actions.reach import Reach
from gatepost.s3_endpoint_objects import StoredObjects
from gatepost.s3_endpoint_server import S3Endpoint
from gatepost.settings import Settings
from gatepost.storage import Storage, storage_of
from rules.model import ActionSpec

OTHER = ID[:-2] + "91"
CONTENT = b"X-Ours: yes\r\n" + RAW


@dataclass
class World:
    """`base` holds the stores; `rules` are (rule, disk or s3 action), as a rule set has them."""

    base: Path
    storage: Storage
    endpoint: S3Endpoint
    now: list[datetime]
    rules: list[tuple[str, ActionSpec]] = field(default_factory=list)

    async def store(self, rule: str, raw: bytes = RAW, **parameters: Any) -> None:
        """What the disk action of `rule` does with one message."""
        store = ObjectStore("each")
        await Disk(store, self.base, self.storage.encryption).run(context_of("disk", parameters, raw=raw))
        await store.close()
        self.rule(rule, **parameters)

    def rule(self, rule: str, **parameters: Any) -> None:
        kind = "disk" if "path" in parameters else "s3"
        if not any(name == rule and spec.parameters == parameters for name, spec in self.rules):
            self.rules.append((rule, ActionSpec(type=kind, parameters=parameters)))

    def reach(self, rule: str, message_id: str = ID) -> Reach:
        return Reach(message_id=message_id, rule=rule, actions=lambda: self.rules, base=self.base)

    async def environment(self, rule: str | None = "own", message_id: str = ID) -> Mapping[str, str]:
        """That of a new process, in which a call of `rule` is under way; None: no call."""
        credentials = await self.endpoint.issue()
        self.endpoint.lend(credentials.key_id, None if rule is None else self.reach(rule, message_id))
        return credentials.environment

    async def client(self, rule: str | None = "own", message_id: str = ID, **config: Any) -> Ask:
        return Ask(s3_client(await self.environment(rule, message_id), **config))


@dataclass
class Ask:
    """boto3's client, called in a thread: the endpoint is in this loop."""

    client: Any

    async def __call__(self, operation: str, **parameters: Any) -> Any:
        def call() -> Any:
            answer = getattr(self.client, operation)(**parameters)
            if "Body" in answer:
                answer["Body"] = answer["Body"].read()
            return answer

        return await asyncio.to_thread(call)

    async def code(self, operation: str, **parameters: Any) -> str:
        """The error's code; "" where there is none."""
        try:
            await self(operation, **parameters)
        except self.client.exceptions.ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""


def s3_client(environment: Mapping[str, str], **config: Any) -> Any:
    # No second attempts: each answer is what it is.
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=environment["AWS_SESSION_TOKEN"],
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


def world_of(base: Path, **settings: Any) -> World:
    storage = storage_of(Settings(data=base, **settings))
    now: list[datetime] = []
    clock: Callable[[], datetime] = lambda: now[0] if now else datetime.now(UTC)  # noqa: E731
    endpoint = S3Endpoint(StoredObjects(storage.clients, storage.keys), clock, "eu-west-1")
    return World(base=base, storage=storage, endpoint=endpoint, now=now)


def put_file(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (1_700_000_000, 1_700_000_000))
